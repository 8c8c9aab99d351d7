"""A recipe: everything that a run depends on, checked strictly."""

import dataclasses
import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isospike.conversion import METHODS
from isospike.data import SOURCES, Augmentation, ImageSet, crop_centre, load
from isospike.errors import IsospikeError, RecipeError
from isospike.files import read_bytes
from isospike.networks import Network, Quantisation, build_network
from isospike.training import TrainingConfig

FOLDER = Path(__file__).parent / "recipes"
_SUFFIX = ".toml"
_LATER_SECTIONS = ("convert", "simulate", "noise")
_ELSEWHERE = ("train", "seed")  # the recipe has one seed for everything


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class About(Section):
    """Where the recipe comes from, and what was published for it (percent), for the list of recipes."""

    source: str
    published: str = "nothing published"


class DataSection(Section):
    """The dataset, and which of it to use.

    Attributes:
        name: of the dataset.
        crop: side in pixels of the central square of each image; None for the whole.
        held_out: with a number above zero, that many training images, drawn by the seed, take the place of the test
            split: for choices that must not look at it.
        train_images: how many training images, from the first; None for all.
    """

    name: str
    crop: int | None = Field(default=None, ge=1)
    held_out: int = Field(default=0, ge=0)
    train_images: int | None = Field(default=None, ge=1)


class NetworkSection(Section):
    """The network in the papers' notation, with its options; ``offset`` is the pixel value per channel that counts as
    zero (the rounded mean), ``dropout`` the probability of dropping activations after pooling and dense layers while
    training."""

    notation: str
    padding: str = "valid"
    pool: str = "conv"
    batch_norm: bool = True
    offset: tuple[int, ...] | None = None
    divisor: int = 255
    dropout: float = 0.0


class ConvertSection(Section):
    """The method and its options; ``t_max`` is the most time steps that the graph may run."""

    method: str
    t_max: int = Field(ge=1)


class SimulateSection(Section):
    """How many time steps are recorded, how many images run together, how spikes propagate, and what is counted.

    ``sops`` is "hidden" (layers 2 to the last hidden one), "scatter-gather" (times 2 N, as that paper counts) or
    "negative-spike" (the classifier's added, as that paper counts); ``count_encoder`` adds the encoder's spikes.
    """

    steps: int = Field(ge=1)
    batch_size: int = Field(default=250, ge=1)
    propagation: Literal["within-step", "layer-per-step"] = "within-step"
    sops: Literal["hidden", "scatter-gather", "negative-spike"] = "hidden"
    count_encoder: bool = False


class NoiseSection(Section):
    """Noise, as the papers add it.

    Attributes:
        input: R; pixels times ``1 + R * (U - 0.5)``, of the test images.
        encoder_drop: probability that a spike of the encoder is lost, while simulating.
        training_drop: the same while training, drawn for each batch from 0 to this.
        seeds: how many seeds are tried, ``seed``, ``seed + 1`` and so on; the metrics hold mean and spread.
    """

    input: float = Field(default=0.0, ge=0)
    encoder_drop: float = Field(default=0.0, ge=0, le=1)
    training_drop: float = Field(default=0.0, ge=0, le=1)
    seeds: int = Field(default=1, ge=1)


class Recipe(Section):
    """A resolved recipe.

    Attributes:
        name: of the recipe it came from.
        seed: of weights, order, augmentation and noise.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    about: About
    data: DataSection
    network: NetworkSection
    quantise: Quantisation
    train: TrainingConfig
    augment: Augmentation = Augmentation()
    convert: ConvertSection
    simulate: SimulateSection
    noise: NoiseSection = NoiseSection()

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """(channel, height, width) of what enters the network."""
        shape = SOURCES[self.data.name].shape
        if shape is None:
            raise RecipeError(f"data.name: {self.data.name} has images of many sizes: give data.crop")
        crop = self.data.crop
        return shape if crop is None else (shape[0], crop, crop)

    @property
    def train_config(self) -> TrainingConfig:
        """The training's settings, with the recipe's seed."""
        return dataclasses.replace(self.train, seed=self.seed)

    @property
    def noise_seeds(self) -> list[int]:
        """The seeds of the noise."""
        return [self.seed + number for number in range(self.noise.seeds)]

    @property
    def is_convertible(self) -> bool:
        """Whether the network has level activations; a full-precision twin has none."""
        return self.quantise.levels != "none"

    def build(self) -> Network:
        """A fresh network of this recipe."""
        net = self.network
        return build_network(
            net.notation,
            self.in_shape,
            SOURCES[self.data.name].classes,
            self.quantise,
            padding=net.padding,
            pool=net.pool,
            batch_norm=net.batch_norm,
            offset=net.offset,
            divisor=net.divisor,
            encoder_drop=self.noise.training_drop if self.is_convertible else 0.0,  # a twin has no spikes to lose
            dropout=net.dropout,
        )

    def load_data(self, folder: Path | None, limit: int | None = None) -> tuple[ImageSet, ImageSet]:
        """Training images as they are, to be cropped by augmentation, and test images cropped to the centre.

        Args:
            folder: of the dataset; None for the hub.
            limit: number of test images; None for all.
        """
        data = load(self.data.name, folder)
        train, test = data.train, data.test
        if self.data.held_out:
            train, test = train.split(self.data.held_out, self.seed)
        if self.data.train_images is not None:
            train = train.first(self.data.train_images)
        if limit is not None:
            test = test.first(limit)
        if self.data.crop is not None:
            test = ImageSet(crop_centre(test.images, self.data.crop), test.labels)
        return train, test


def dump_recipe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the tables of its TOML file."""
    content = recipe.model_dump(mode="json")
    del content["train"]["seed"]
    return content


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
        _apply(content, setting)
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
        raise RecipeError(f"{name}: {_explain(error)}") from error
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
    if recipe.simulate.steps > recipe.convert.t_max:
        raise RecipeError(
            f"simulate.steps: expected at most convert.t_max = {recipe.convert.t_max}, got {recipe.simulate.steps}: "
            "raise convert.t_max too"
        )
    crop = recipe.data.crop
    if recipe.augment.crop != crop:
        raise RecipeError(f"augment.crop: expected data.crop = {crop}, got {recipe.augment.crop}: set both")
    with torch.device("meta"):  # shapes only: no memory is taken
        recipe.build()


def _apply(content: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator or not key:
        raise RecipeError(f"--set {setting}: expected key=value, such as train.epochs=5")
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise RecipeError(f"--set {setting}: {section!r} is a value, not a section")
    if text == "none" and not _is_text(key):
        place.pop(last, None)  # TOML has no null: an absent key means none
        return
    try:
        place[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        place[last] = text


def _is_text(key: str) -> bool:
    """Whether "none" is a word that this key may hold."""
    return key in ("quantise.levels",)


def _explain(error: ValidationError) -> str:
    """One line for the first thing that is wrong."""
    unknown = ("extra_forbidden", "unexpected_keyword_argument")
    first = min(error.errors(), key=lambda found: found["type"] not in unknown)  # a typo explains what is missing
    place = [str(part) for part in first["loc"]]
    key = ".".join(place)
    if first["type"] in unknown:
        known = list_keys()
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.3)
        return f"unknown key {key!r}; " + (f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}")
    if first["type"] in ("missing", "missing_argument"):
        return f"the key {key!r} is missing"
    got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}{got}"


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
    content = dump_recipe(recipe)
    for setting in settings:
        _apply(content, setting)
    return check_recipe("recipe.toml", _without_none(content))


def _without_none(content: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in content.items()
        if value is not None
    }


def list_keys() -> list[str]:
    """Every key that a recipe may have, in dotted form."""
    keys = []
    for name, info in Recipe.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += [f"{name}.{inner}" for inner in kind.model_fields]
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            keys += [f"{name}.{field.name}" for field in dataclasses.fields(kind) if (name, field.name) != _ELSEWHERE]
        else:
            keys.append(name)
    return keys
