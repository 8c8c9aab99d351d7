"""Recipes from files, with settings applied, checked as a whole."""

import dataclasses
import difflib
import tomllib
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from isospike.conversion import METHODS
from isospike.data import SOURCES
from isospike.errors import IsospikeError, RecipeError
from isospike.experiment.keys import apply_setting, explain_error
from isospike.experiment.recipe import Recipe, dump_recipe
from isospike.files import read_bytes

FOLDER = Path(__file__).parent / "recipes"
_SUFFIX = ".toml"
_LATER_SECTIONS = ("convert", "simulate", "noise", "energy")


def list_recipes() -> list[str]:
    """The names of the built-in recipes."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in FOLDER.glob(f"*{_SUFFIX}"))


def load_recipe(name: str, settings: list[str] | None = None) -> Recipe:
    """The built-in recipe ``name``, or the file if ``name`` ends in .toml, with ``a.b=value`` settings applied.

    Raises:
        RecipeError: no such recipe, or a key or value that it cannot have.
    """
    if name.endswith(_SUFFIX):
        return read_recipe(Path(name), settings)
    if name not in list_recipes():
        nearest = difflib.get_close_matches(name, list_recipes(), n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise RecipeError(f"recipe: unknown recipe {name!r}; {hint}'isospike recipes' lists them")
    return read_recipe(FOLDER / f"{name}{_SUFFIX}", settings)


def read_recipe(path: Path, settings: list[str] | None = None) -> Recipe:
    """Read a recipe file, apply settings, and check it.

    Raises:
        FileError: the file cannot be read.
        RecipeError: it is not TOML, or not a recipe; the message names the key and the nearest one.
    """
    try:
        content = tomllib.loads(read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: expected a recipe in TOML, but it does not parse ({error})") from error
    for setting in settings or []:
        apply_setting(content, setting)
    return check_recipe(path.name, content)


def check_recipe(name: str, content: dict[str, Any]) -> Recipe:
    """The recipe that the tables of a TOML file make; ``name`` is the file's, for errors.

    Raises:
        RecipeError: not a recipe; the message names the key and the nearest one.
    """
    if isinstance(content.get("train"), dict) and "seed" in content["train"]:
        raise RecipeError(f"{name}: train.seed: a recipe has one seed for everything: set 'seed' instead")
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{name}: {explain_error(error)}") from error
    except IsospikeError as error:
        raise RecipeError(f"{name}: {error}") from error
    _check_names(recipe)
    return recipe


def _check_names(recipe: Recipe) -> None:
    for key, value, known in (
        ("data.name", recipe.data.name, list(SOURCES)),
        ("convert.method", recipe.convert.method, list(METHODS)),
    ):
        if value not in known:
            raise RecipeError(f"{key}: expected one of {', '.join(known)}, got {value!r}")
    options = [field.name for field in dataclasses.fields(METHODS[recipe.convert.method].config)]
    for name in recipe.convert.given:
        if name not in options:
            raise RecipeError(
                f"convert.{name}: {recipe.convert.method} has no such option; it has {', '.join(options)}: leave it out"
            )
    if recipe.simulate.steps > recipe.convert.t_max:
        raise RecipeError(
            f"simulate.steps: expected at most convert.t_max = {recipe.convert.t_max}, got {recipe.simulate.steps}: "
            "raise convert.t_max too"
        )
    if (recipe.network.notation is None) == (recipe.network.architecture is None):
        raise RecipeError("network: expected either a notation or an architecture: give one of them")
    crop = recipe.data.crop
    if SOURCES[recipe.data.name].shape is not None:
        for key in ("resize", "smallest_area", "classes", "workers"):
            if getattr(recipe.data, key) is not None:
                raise RecipeError(f"data.{key}: is for images of many sizes, unlike {recipe.data.name}: leave it out")
    if recipe.augment.crop != crop:
        raise RecipeError(f"augment.crop: expected data.crop = {crop}, got {recipe.augment.crop}: set both")
    with torch.device("meta"):  # shapes only: no memory is taken
        recipe.build()


def change_recipe(recipe: Recipe, settings: list[str]) -> Recipe:
    """A trained run's recipe with settings applied that do not concern its training.

    Raises:
        RecipeError: a setting of data, network, quantisation or training; or one that the recipe cannot have.
    """
    for setting in settings:
        section = setting.partition("=")[0].split(".")[0]
        if section not in _LATER_SECTIONS:
            raise RecipeError(
                f"--set {setting}: a trained network keeps its {section}: settings of {', '.join(_LATER_SECTIONS)} can "
                "still be changed; for another network 'isospike train' into another --out"
            )
        if setting.partition("=")[0] == "noise.training_drop":
            raise RecipeError(
                f"--set {setting}: a trained network keeps the spikes that it lost: 'isospike train' into another --out"
            )
    content = dump_recipe(recipe)
    for setting in settings:
        apply_setting(content, setting)
    return check_recipe("recipe.toml", _without_none(content))


def _without_none(content: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in content.items()
        if value is not None
    }
