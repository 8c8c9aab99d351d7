"""Options that several commands share, and values that they are made of."""

import math
from pathlib import Path
from typing import Annotated

import typer

from isospike.errors import DataError
from isospike.experiment import Options

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of the dataset: parquet files as on the hub, or folders of images."),
]
Out = Annotated[Path, typer.Option("--out", help="The run folder.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Limit = Annotated[int | None, typer.Option("--limit", help="Use this many test images.")]
Dataset = Annotated[
    str | None, typer.Option("--dataset", help="mnist, cifar10 ...; by default --data is a folder of one's own.")
]


def make_options(data: Path | None, device: str, limit: int | None) -> Options:
    """What a command line says beside the recipe.

    Raises:
        DataError: a limit below one image.
    """
    if limit is not None and limit < 1:
        raise DataError(f"--limit: expected at least 1 test image, got {limit}")
    return Options(data, device, limit)


def read_numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers with commas between them.

    Raises:
        DataError: something else.
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(math.isfinite(number) for number in numbers):
        raise DataError(f"{option}: expected numbers with commas between them, got {text!r}")
    return numbers


def read_whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them.

    Raises:
        DataError: something else.
    """
    numbers = read_numbers(option, text)
    if any(number != int(number) for number in numbers):
        raise DataError(f"{option}: expected whole numbers, got {text!r}")
    return tuple(int(number) for number in numbers)


def read_shape(text: str) -> tuple[int, int, int]:
    """The shape of an image, as ``channel,height,width``.

    Raises:
        DataError: something else.
    """
    shape = read_whole_numbers("--in-shape", text)
    if len(shape) != 3 or min(shape) < 1:
        raise DataError(f"--in-shape: expected channel,height,width such as 3,32,32, got {text!r}")
    return shape[0], shape[1], shape[2]
