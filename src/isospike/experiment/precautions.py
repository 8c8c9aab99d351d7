"""What a run folder holds already, before a command adds to it."""

import json
from collections.abc import Mapping
from typing import Any

from isospike.errors import FileError, RecipeError
from isospike.experiment.recipe import Recipe
from isospike.experiment.run_folder import RunFolder
from isospike.files import read_json
from isospike.training.checkpoints import INDEX


def check_training(folder: RunFolder, recipe: Recipe) -> None:
    """A training may begin in this folder, or go on: no network of one's own is lost, and no other recipe's training
    goes on under this one's name.

    Raises:
        FileError: the folder holds a network of one's own.
        RecipeError: a training that began with other weights or quantisation, of which a checkpoint does not tell.
    """
    if not (folder.path / "recipe.toml").is_file():
        if (folder.path / "ann.safetensors").is_file():
            raise FileError(f"{folder.path}: it holds a network of one's own: choose another --out")
        return
    if not (folder.training / INDEX).is_file():
        return
    before = folder.read_recipe()
    for key, old, new in (
        *((f"quantise.{name}", old, getattr(recipe.quantise, name)) for name, old in vars(before.quantise).items()),
        ("network.initial", before.network.initial, recipe.network.initial),
    ):
        if old != new:
            raise RecipeError(
                f"{key}: got {new}, but the training in {folder.training} began with {old}: give the same, or another "
                "--out, or delete that folder"
            )


def check_conversion(folder: RunFolder, recipe: Recipe) -> None:
    """What is measured of the network that is there goes by the name of no other conversion.

    Raises:
        RecipeError: an option of the method that it was not converted with.
    """
    for name, old, new in _compare_conversions(folder, recipe):
        raise RecipeError(
            f"convert.{name}: got {new}, but the network in {folder.path} was converted with {old}: run 'isospike "
            "convert' with that setting first"
        )


def forget_conversion(folder: RunFolder, recipe: Recipe) -> None:
    """Remove the spiking network of a run, and what was measured of it, where this recipe converts otherwise: an
    interruption before the next conversion leaves none that its recipe does not describe."""
    if _compare_conversions(folder, recipe):
        folder.clear_conversion()


def forget_own_conversion(folder: RunFolder, section: Mapping[str, Any]) -> None:
    """The same for a network of one's own, where another one, or another method, takes its place.

    Arguments:
        folder: of the run.
        section: ``conversion`` of the metrics, as it will be.
    """
    path = folder.path / "metrics.json"
    if path.is_file() and read_json(path).get("conversion") != json.loads(json.dumps(section)):
        folder.clear_conversion()


def _compare_conversions(folder: RunFolder, recipe: Recipe) -> list[tuple[str, object, object]]:
    """The options of the method in which the recipe in a folder differs from this one: name, there, here."""
    if not (folder.path / "recipe.toml").is_file():
        return []
    before = folder.read_recipe().convert.model_dump(exclude={"t_max"})
    pairs = ((name, old, getattr(recipe.convert, name)) for name, old in before.items())
    return [(name, old, new) for name, old, new in pairs if old != new]
