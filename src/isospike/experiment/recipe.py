"""A recipe: everything that a run depends on."""

import dataclasses
from pathlib import Path
from typing import Any

from pydantic import Field

from isospike.conversion import METHODS
from isospike.data import (
    SOURCES,
    Augmentation,
    Framing,
    Images,
    ImageSet,
    crop_centre,
    limit_images,
    load,
    open_stream,
)
from isospike.errors import RecipeError
from isospike.experiment.sections import (
    About,
    ConvertSection,
    DataSection,
    EnergySection,
    NetworkSection,
    NoiseSection,
    Section,
    SimulateSection,
)
from isospike.networks import Network, Quantisation, build_architecture, build_network
from isospike.training import TrainingConfig


class Recipe(Section):
    """A resolved recipe.

    Attributes:
        name: of the recipe it came from.
        seed: of weights, order, augmentation and noise.
        energy: constants of one's own; None for the tables that are there alone.
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
    energy: EnergySection | None = None

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """(channel, height, width) of what enters the network."""
        shape, crop = SOURCES[self.data.name].shape, self.data.crop
        if shape is None and crop is None:
            raise RecipeError(f"data.name: {self.data.name} has images of many sizes: give data.crop")
        channels, height, width = shape or (3, 0, 0)
        return (channels, height, width) if crop is None else (channels, crop, crop)

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        return self.data.classes or SOURCES[self.data.name].classes

    @property
    def train_config(self) -> TrainingConfig:
        """The training's settings, with the recipe's seed."""
        return dataclasses.replace(self.train, seed=self.seed)

    @property
    def noise_seeds(self) -> list[int]:
        """The seeds of the noise."""
        return [self.seed + number for number in range(self.noise.seeds)]

    @property
    def has_levels(self) -> bool:
        """Whether the network has level activations; a full-precision twin has none."""
        return self.quantise.levels != "none"

    @property
    def is_convertible(self) -> bool:
        """Whether the method takes the network: without levels, only rate-coded methods do."""
        return self.has_levels or not METHODS[self.convert.method].lossless

    @property
    def convert_options(self) -> dict[str, Any]:
        """The options of the method, with the recipe's seed where it draws images."""
        known = {field.name for field in dataclasses.fields(METHODS[self.convert.method].config)}
        return {**self.convert.given, **({"seed": self.seed} if "seed" in known else {})}

    def build(self) -> Network:
        """A fresh network of this recipe."""
        net = self.network
        classes = self.classes
        drop = self.noise.training_drop if self.has_levels else 0.0  # a twin has no spikes to lose
        if net.architecture is not None:
            if drop:
                raise RecipeError("noise.training_drop: only networks of a notation lose spikes while training: set 0")
            return build_architecture(
                net.architecture,
                self.in_shape,
                classes,
                self.quantise,
                offset=net.offset,
                divisor=net.divisor,
                deviation=net.deviation,
                padding=net.padding,
                pool=net.pool,
                norm=net.batch_norm,
                dropout=net.dropout,
            )
        if net.notation is None:
            raise RecipeError("network: expected a notation or an architecture: give one of them")
        return build_network(
            net.notation,
            self.in_shape,
            classes,
            self.quantise,
            padding=net.padding or "valid",
            pool=net.pool or "conv",
            batch_norm=net.batch_norm is not False,
            offset=net.offset,
            divisor=net.divisor,
            deviation=net.deviation,
            encoder_drop=drop,
            dropout=net.dropout or 0.0,
        )

    def load_data(self, folder: Path | None, limit: int | None = None) -> tuple[Images, Images]:
        """Training images as they are, to be cropped by augmentation, and test images cropped to the centre.

        Args:
            folder: of the dataset; None for the hub.
            limit: number of test images; None for all.
        """
        if SOURCES[self.data.name].shape is None:
            return self._open_stream(folder, limit)
        data = load(self.data.name, folder)
        train, test = data.train, data.test
        if self.data.held_out:
            train, test = train.split(self.data.held_out, self.seed)
        if self.data.train_images is not None:
            train = train.first(self.data.train_images)
        if self.data.crop is not None:
            test = ImageSet(crop_centre(test.images, self.data.crop), test.labels)
        return train, limit_images(test, limit)

    def _open_stream(self, folder: Path | None, limit: int | None) -> tuple[Images, Images]:
        """The same of images that do not fit in memory."""
        data, size = self.data, self.in_shape[1]
        if data.held_out:
            raise RecipeError(f"data.held_out: {data.name} is read as a stream, which is not split: set 0")
        resize = data.resize or round(size * 8 / 7)
        varied = Framing(resize if data.smallest_area is None else size, resize, data.smallest_area)
        still = Framing(size, resize)
        classes, workers = self.classes, data.workers
        train, test = open_stream(data.name, folder, classes=classes, train=varied, test=still, workers=workers)
        if data.train_images is not None:
            train = train.first(data.train_images)
        return train, limit_images(test, limit)


def dump_recipe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the tables of its TOML file."""
    content = recipe.model_dump(mode="json")
    del content["train"]["seed"]
    if content["energy"] is None:
        del content["energy"]
    return content
