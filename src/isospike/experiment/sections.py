"""The sections of a recipe, each checked strictly."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from isospike.data.noise import MOST_NOISE
from isospike.metrics import INT8, TABLES, EnergyTable


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
        resize: of images of many sizes: the shorter side before cropping; 8/7 of ``crop`` by default, as 256 for 224.
        smallest_area: of images of many sizes, while training: a window of this share of the image or more is drawn and
            resized; None crops the resized image.
        classes: of a folder of images with other classes than the dataset's; None for the dataset's own.
        workers: processes that decode images of many sizes; None for one a core, at most 8.
    """

    name: str
    crop: int | None = Field(default=None, ge=1)
    held_out: int = Field(default=0, ge=0)
    train_images: int | None = Field(default=None, ge=1)
    resize: int | None = Field(default=None, ge=1)
    smallest_area: float | None = Field(default=None, gt=0, le=1)
    classes: int | None = Field(default=None, ge=1)
    workers: int | None = Field(default=None, ge=0)


class NetworkSection(Section):
    """The network: ``notation`` of the papers, or ``architecture``, one of the named networks.

    Attributes:
        notation: e.g. ``32C5-P2-64C5-P2-1000``; ``padding`` is for it alone.
        architecture: e.g. ``resnet20`` (a key of ``isospike.networks.ARCHITECTURES``).
        pool: "conv" (of the notation only), "avg" or "max"; by default "conv" for a notation, the network's own
            choice for an architecture.
        batch_norm: whether BatchNorm follows each layer; by default as the network has it.
        offset: the pixel value per channel that counts as zero (the rounded mean).
        divisor: pixels are worth ``1 / divisor``.
        deviation: standard deviation per channel, in pixel steps; it folds into the encoder's weights.
        dropout: while training, the probability of dropping activations; after pooling and dense layers in a notation.
        initial: whose weights the training begins with: a model.safetensors of the same network, trained with other
            quantisation (such as none), an snn.safetensors that a lossless method made of it, or ``zoo:NAME``.
        teacher: the run folder of a trained network, such as a full-precision twin, whose answers the training learns
            from as well (``train.distil``).
    """

    notation: str | None = None
    architecture: str | None = None
    padding: str | None = None
    pool: str | None = None
    batch_norm: bool | None = None
    offset: tuple[int, ...] | None = None
    divisor: int = 255
    deviation: tuple[float, ...] | None = None
    dropout: float | None = None
    initial: str | None = None
    teacher: str | None = None

    @property
    def label(self) -> str:
        """What the network is called in tables."""
        return self.notation or self.architecture or "none"


class ConvertSection(Section):
    """The method and its options; those of other methods stay out.

    Attributes:
        method: a key of ``isospike.conversion.METHODS``.
        t_max: the most time steps that the graph may run.
        limit: the most spikes of a neuron in a step (counting); "none" for as many as there are levels.
        percentile: of activations, for thresholds (percentile, opi).
        norm: how many training images are measured (percentile, opi, calibrated).
        tau: steps before those that count (srp).
        margin: below 0, in thresholds, where a spike is taken back (signed-if).
        target_steps: time steps that the conversion is calibrated for (calibrated).
        per_channel: whether each channel has a threshold of its own (calibrated).
        correct_bias: whether biases are corrected (calibrated).
        integer_bits: 8 or 16 for a graph of integers, with weights of so many bits (rate-coded methods).
    """

    method: str
    t_max: int = Field(ge=1)
    limit: Annotated[int, Field(ge=1)] | Literal["none"] | None = None
    percentile: float | None = Field(default=None, ge=0, le=100)
    norm: int | None = Field(default=None, ge=1)
    tau: int | None = Field(default=None, ge=1)
    margin: float | None = Field(default=None, ge=0)
    target_steps: int | None = Field(default=None, ge=1)
    per_channel: bool | None = None
    correct_bias: bool | None = None
    integer_bits: Literal[8, 16] | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that are given, by name; the method has defaults for the others."""
        given = {name: value for name, value in self.model_dump(exclude={"method"}).items() if value is not None}
        return {name: None if value == "none" else value for name, value in given.items()}


class SimulateSection(Section):
    """How many time steps are recorded, how many images run together, how spikes propagate, and what is counted.

    ``sops`` is "hidden" (layers 2 to the last hidden one), "scatter-gather" (times 2 N, as that paper counts) or
    "negative-spike" (the classifier's added, as that paper counts); ``count_encoder`` adds the encoder's spikes.
    ``engine`` says what runs: "cpp" (the integer engine), "torch", or "auto" (the engine where it serves).
    """

    steps: int = Field(ge=1)
    batch_size: int = Field(default=250, ge=1)
    propagation: Literal["within-step", "layer-per-step"] = "within-step"
    sops: Literal["hidden", "scatter-gather", "negative-spike"] = "hidden"
    count_encoder: bool = False
    engine: Literal["auto", "cpp", "torch"] = "auto"


class NoiseSection(Section):
    """Noise, as the papers add it.

    Attributes:
        input: R; pixels times ``1 + R * (U - 0.5)``, of the test images.
        encoder_drop: probability that a spike of the encoder is lost, while simulating.
        training_drop: the same while training, drawn for each batch from 0 to this.
        seeds: how many seeds are tried, ``seed``, ``seed + 1`` and so on; the metrics hold mean and spread.
    """

    input: float = Field(default=0.0, ge=0, le=MOST_NOISE)
    encoder_drop: float = Field(default=0.0, ge=0, le=1)
    training_drop: float = Field(default=0.0, ge=0, le=1)
    seeds: int = Field(default=1, ge=1)


_TAKEN = (*(table.name for table in TABLES), "macs", "sops", "encoder_macs")  # keys beside it in metrics.json


class EnergySection(Section):
    """A table of what operations cost, in picojoules, beside the three that are there already.

    What is left out is as in :data:`isospike.metrics.INT8`.

    Attributes:
        name: what it is called in metrics, tables and reports.
        mac: a multiply-accumulate.
        ac: an accumulate.
        memory: one access to memory.
        accesses_per_mac: accesses of a multiply-accumulate.
        accesses_per_ac: accesses of an accumulate.
    """

    name: str = Field(default="own", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    mac: float = Field(default=INT8.mac, ge=0, allow_inf_nan=False)
    ac: float = Field(default=INT8.ac, ge=0, allow_inf_nan=False)
    memory: float = Field(default=INT8.memory, ge=0, allow_inf_nan=False)
    accesses_per_mac: int = Field(default=INT8.accesses_per_mac, ge=0)
    accesses_per_ac: int = Field(default=INT8.accesses_per_ac, ge=0)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name in _TAKEN:
            raise ValueError(f"expected another name than {', '.join(_TAKEN)}")
        return name


def list_tables(energy: EnergySection | None) -> tuple[EnergyTable, ...]:
    """The tables that are there already, and that of the section, if there is one."""
    return TABLES if energy is None else (*TABLES, EnergyTable(**energy.model_dump(), source="the recipe's own"))
