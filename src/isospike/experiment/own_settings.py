"""What a network of the user's own is converted with, as the command line says it and ``metrics.json`` keeps it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from isospike.conversion import METHODS
from isospike.errors import ConversionError, RecipeError
from isospike.experiment.keys import apply_setting, explain_error
from isospike.experiment.run_folder import RunFolder
from isospike.experiment.sections import EnergySection, NoiseSection, Section, SimulateSection, list_tables
from isospike.files import read_json
from isospike.metrics import EnergyTable


@dataclass(frozen=True)
class PixelScale:
    """How the float images that a network takes come from raw pixels p.

    Attributes:
        mean: with ``deviation``, ``(p / 255 - mean) / deviation`` per channel; else None.
        deviation: per channel.
        offset: whole numbers: ``(p - offset) / divisor``, which is exact from the pixel on.
        divisor: as above.
    """

    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    offset: tuple[int, ...] = (0,)
    divisor: int = 255


@dataclass(frozen=True)
class Calibration:
    """How a network gets its levels (see :func:`isospike.calibrate`).

    Attributes:
        levels: N; None for 32 where the method needs levels, and none where it does not.
        criterion: "percentile" or "mean-square-error".
        percentile: of the activations.
        per: "layer" or "channel".
        correct_bias: whether means are corrected.
        images: how many training images, drawn by the seed.
    """

    levels: int | None = None
    criterion: str = "percentile"
    percentile: float = 99.9
    per: str = "layer"
    correct_bias: bool = False
    images: int = 256


@dataclass(frozen=True)
class OwnNetwork:
    """What ``isospike convert --model`` is told.

    Attributes:
        model: ``FILE.py:function``, or ``FILE.onnx``, of which nothing is run.
        weights: a file of tensors; None keeps what the function gives.
        in_shape: (channel, height, width) of the images.
        pixels: how they enter the network; None for ``p / 255``, or as its own ``Pixels`` or an ONNX file of uint8
            images say.
        method: a key of ``METHODS``.
        options: of the method.
        calibration: of the levels.
        dataset: one of the known datasets; None for a folder of the user's own.
        seed: of the calibration images.
    """

    model: str
    weights: Path | None
    in_shape: tuple[int, int, int]
    pixels: PixelScale | None
    method: str
    options: dict[str, Any]
    calibration: Calibration = Calibration()
    dataset: str | None = None
    seed: int = 0


def read_own_network(folder: RunFolder) -> OwnNetwork:
    """What ``isospike convert --model`` was told, as the metrics keep it.

    Raises:
        ConversionError: the metrics say nothing of it.
    """
    content: Any = read_json(folder.path / "metrics.json").get("conversion")
    try:
        pixels: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in (content["pixels"] or {}).items()
        }
        return OwnNetwork(
            **{
                **content,
                "weights": None if content["weights"] is None else Path(content["weights"]),
                "in_shape": tuple(content["in_shape"]),
                "pixels": PixelScale(**pixels) if pixels else None,
                "calibration": Calibration(**(content["calibration"] or {})),
            }
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConversionError(
            f"{folder.path / 'metrics.json'}: says nothing of a conversion ({error!r}): run 'isospike convert --model' "
            "again"
        ) from error


class _Later(Section):
    """The sections of a recipe that concern a converted network."""

    simulate: SimulateSection
    noise: NoiseSection = NoiseSection()
    energy: EnergySection | None = None


def read_later_sections(settings: list[str], steps: int) -> tuple[SimulateSection, NoiseSection]:
    """The settings ``simulate.KEY=VALUE`` and ``noise.KEY=VALUE``.

    Args:
        settings: as after ``--set``.
        steps: time steps, where no setting says how many.

    Raises:
        RecipeError: an unknown key or a value that it cannot have.
    """
    later = _read_later(settings, steps)
    return later.simulate, later.noise


def read_energy(settings: list[str]) -> tuple[EnergyTable, ...]:
    """The tables of what operations cost: those that are there, and that of the settings ``energy.KEY=VALUE``.

    Raises:
        RecipeError: an unknown key or a value that it cannot have.
    """
    return list_tables(_read_later(settings, 1).energy)


def _read_later(settings: list[str], steps: int) -> _Later:
    content: dict[str, Any] = {"simulate": {"steps": steps}}
    for setting in settings:
        apply_setting(content, setting)
    try:
        return _Later.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"--set: {explain_error(error)}") from error


def check_options(method: str, options: dict[str, Any], seed: int) -> dict[str, Any]:
    """A method's options, those that were given, and with the seed where it draws images.

    Raises:
        ConversionError: an unknown method, an unknown option, or a value that it cannot have.
    """
    if method not in METHODS:
        raise ConversionError(f"--method: unknown method {method!r}; expected one of {', '.join(METHODS)}")
    config = METHODS[method].config
    known = [field.name for field in fields(config)]
    for name in options:
        if name not in known:
            raise ConversionError(f"--set {name}: {method} has no such option; expected one of {', '.join(known)}")
    options = {name: None if value == "none" else value for name, value in options.items()}
    try:
        checked = TypeAdapter(config).validate_python(options)
    except ValidationError as error:
        raise ConversionError(f"--set {explain_error(error)}") from error
    taken = {name: getattr(checked, name) for name in options}
    return {**({"seed": seed} if "seed" in known else {}), **taken}
