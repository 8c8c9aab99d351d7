"""Converting a network of the user's own, and simulating any graph."""

from pathlib import Path
from typing import Annotated, Any

import typer

from isospike.cli.options import (
    Data,
    Dataset,
    Device,
    Limit,
    Out,
    Set,
    make_options,
    read_numbers,
    read_shape,
    read_whole_numbers,
)
from isospike.cli.progress import show_progress
from isospike.conversion import METHODS
from isospike.errors import ConversionError, DataError
from isospike.experiment import Experiment, RunFolder
from isospike.experiment.keys import apply_setting
from isospike.experiment.own_run import OwnRun
from isospike.experiment.own_settings import Calibration, OwnNetwork, PixelScale
from isospike.training import is_main_process

Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="FILE.py:FUNCTION", help="A network of your own: the function that builds it, or FILE.onnx."
    ),
]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="Its weights: .safetensors, or a state dict of torch.save.")
]
InShape = Annotated[str | None, typer.Option("--in-shape", metavar="C,H,W", help="The images that it takes: 3,32,32.")]
MethodName = Annotated[str | None, typer.Option("--method", help="The method: counting, percentile, srp ...")]
Levels = Annotated[
    int | None, typer.Option("--levels", help="Give each ReLU this many levels (32 where the method needs some).")
]
Criterion = Annotated[
    str | None,
    typer.Option(
        "--criterion",
        help="percentile or mean-square-error: how thresholds are found.",
        show_default=Calibration().criterion,
    ),
]
Percentile = Annotated[
    float | None,
    typer.Option(
        "--percentile",
        help="Of the activations; for --criterion percentile.",
        show_default=f"{Calibration().percentile}",
    ),
]
Per = Annotated[
    str | None,
    typer.Option("--per", help="layer or channel: what has a threshold of its own.", show_default=Calibration().per),
]
CorrectBias = Annotated[
    bool | None, typer.Option("--correct-bias", help="Give back the mean that levels take away.", show_default="no")
]
Images = Annotated[
    int | None,
    typer.Option(
        "--images", help="How many training images are measured.", show_default=f"{Calibration().images}", min=1
    ),
]
Mean = Annotated[str | None, typer.Option("--mean", metavar="M,M,M", help="The network takes (p / 255 - mean) / std.")]
Std = Annotated[str | None, typer.Option("--std", metavar="S,S,S", help="See --mean.")]
Pixels = Annotated[
    str | None,
    typer.Option("--pixels", metavar="OFFSET/DIVISOR", help="Or it takes (p - offset) / divisor, whole numbers."),
]
Seed = Annotated[int, typer.Option("--seed", help="Draws the images that are measured.")]


def convert(
    out: Out,
    data: Data = None,
    settings: Set = None,
    device: Device = "cpu",
    limit: Limit = None,
    model: Model = None,
    weights: Weights = None,
    in_shape: InShape = None,
    method: MethodName = None,
    dataset: Dataset = None,
    levels: Levels = None,
    criterion: Criterion = None,
    percentile: Percentile = None,
    per: Per = None,
    correct_bias: CorrectBias = None,
    images: Images = None,
    mean: Mean = None,
    std: Std = None,
    pixels: Pixels = None,
    seed: Seed = 0,
) -> None:
    """Convert the trained network of a run, or one of your own (--model); writes snn.safetensors.

    With --model, --set changes options of the method: --set t_max=64.
    """
    options = make_options(data, device, limit)
    if model is None:
        given = gather_calibration(levels, criterion, percentile, per, correct_bias, images)
        theirs = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
        theirs |= {"--weights": weights, "--in-shape": in_shape, "--method": method, "--dataset": dataset}
        theirs |= {"--mean": mean, "--std": std, "--pixels": pixels, "--seed": seed or None}
        refuse_without_model(theirs)
        with show_progress() as display:
            folder = RunFolder(out)
            Experiment(folder.read_recipe(settings), folder, options, display.advance).convert()
        _print(f"converted: {out / 'snn.safetensors'}")
        return
    if in_shape is None or method is None:
        raise ConversionError("--model: expected --in-shape (such as 3,32,32) and --method (such as counting) too")
    chosen: dict[str, Any] = {}
    for setting in settings or []:
        apply_setting(chosen, setting)
    calibration = Calibration(**gather_calibration(levels, criterion, percentile, per, correct_bias, images))
    scale = read_pixels(mean, std, pixels)
    own = OwnNetwork(model, weights, read_shape(in_shape), scale, method, chosen, calibration, dataset, seed)
    with show_progress() as display:
        metrics = OwnRun(RunFolder(out), options, display.advance).convert(own)
    _report(out, data, own, metrics)


def refuse_without_model(options: dict[str, Any]) -> None:
    """Where no network of one's own is given, no option may be that belongs to one.

    Args:
        options: what the command line gives, by option; None where it does not.

    Raises:
        ConversionError: one is given, which would go unheard.
    """
    for name, value in options.items():
        if value is not None:
            raise ConversionError(f"{name}: belongs to a network of your own: give --model FILE.py:function too")


def gather_calibration(
    levels: int | None,
    criterion: str | None,
    percentile: float | None,
    per: str | None,
    correct_bias: bool | None,
    images: int | None,
) -> dict[str, Any]:
    """The fields of :class:`Calibration` that the command line gives."""
    fields = {
        "levels": levels,
        "criterion": criterion,
        "percentile": percentile,
        "per": per,
        "correct_bias": correct_bias,
        "images": images,
    }
    return {name: value for name, value in fields.items() if value is not None}


def read_pixels(mean: str | None, std: str | None, pixels: str | None) -> PixelScale | None:
    """What --mean, --std and --pixels say; None where they are not given.

    Raises:
        DataError: values that do not parse, or both ways at once.
    """
    if pixels is None:
        if mean is None and std is None:
            return None
        return PixelScale(
            None if mean is None else read_numbers("--mean", mean), None if std is None else read_numbers("--std", std)
        )
    if mean is not None or std is not None:
        raise DataError("--pixels: expected either it or --mean and --std, got both: leave one out")
    offset, separator, divisor = pixels.partition("/")
    numbers = read_whole_numbers("--pixels", divisor if separator else "")
    return PixelScale(offset=read_whole_numbers("--pixels", offset), divisor=numbers[0])


def _report(out: Path, data: Path | None, own: OwnNetwork, metrics: dict[str, Any]) -> None:
    """What was done, and the commands that come next."""
    done = metrics["conversion"]["calibration"]
    if done is not None:
        how = f"the {done['percentile']:g}th percentile" if done["criterion"] == "percentile" else "mean-square error"
        _print(f"calibrated: {done['levels']} levels by {how} per {done['per']}, on {done['images']} training images")
    if own.pixels is None:
        _print("pixels: as the network's own Pixels say, or p / 255 (else give --mean and --std, or --pixels)")
    _print(f"converted: {out / 'snn.safetensors'}")
    given = f" --data {data}" if data is not None else ""
    proof = ("verify",) if METHODS[own.method].lossless else ()
    for command in ("evaluate", "simulate", *proof):
        _print(f"next: isospike {command} --out {out}{given}")


def _print(line: str) -> None:
    if is_main_process():
        typer.echo(line)
