"""Comparing methods on one trained network."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from isospike.cli.options import Data, Device, Limit, make_options, read_whole_numbers
from isospike.cli.progress import show_progress
from isospike.conversion import calibrate
from isospike.data import crop_centre, hold_images
from isospike.errors import RecipeError
from isospike.experiment import RunFolder
from isospike.experiment.comparison import Choice, compare, describe_ann, list_cells, parse_choice, write_comparison
from isospike.experiment.run_folder import read_versions
from isospike.graph import Rectifier
from isospike.networks import capture

DEFAULT = "qcfs,srp,counting,signed-if,opi,percentile"
_CALIBRATION_IMAGES = 512

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder of a trained network.")]
Names = Annotated[str, typer.Option("--methods", help="Methods, each with options if wanted: srp:tau=4 percentile:...")]
Steps = Annotated[str, typer.Option("--steps", help="The time steps that the table shows.")]
Levels = Annotated[int | None, typer.Option("--levels", help="Calibrate ReLUs to this many levels first.")]
TMax = Annotated[int, typer.Option("--t-max", help="The most time steps of each graph.")]
Target = Annotated[Path | None, typer.Option("--out", "-o", help="Where the tables go; RUN/comparison by default.")]


def compare_methods(
    run: Run,
    methods: Names = DEFAULT,
    steps: Steps = "1,2,4,8,16,32",
    data: Data = None,
    out: Target = None,
    levels: Levels = None,
    t_max: TMax = 64,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images simulated together.")] = 250,
    device: Device = "cpu",
    limit: Limit = None,
) -> None:
    """Convert one trained network by several methods; accuracy over time, spikes, SOPs and mismatches in one table."""
    choices = split_choices(methods)
    folder = RunFolder(run)
    if not (run / "recipe.toml").is_file() and (run / "ann.safetensors").is_file():
        raise RecipeError(f"{run}: expected the run of a recipe, got a network of your own: convert it by each method")
    recipe = folder.read_recipe()
    options = make_options(data, device, limit)
    train, test = recipe.load_data(options.data, options.limit)
    ann = capture(folder.read_model(recipe))
    images = hold_images(train.first(min(len(train), 4096))).images
    images = images if recipe.data.crop is None else crop_centre(images, recipe.data.crop)
    if any(isinstance(node, Rectifier) for node in ann) and levels is None:
        lacking = ", ".join(choice.method for choice in choices if choice.method not in ("percentile", "opi"))
        if lacking:
            typer.echo(f"note: the network has ReLUs; {lacking} may need --levels 32", err=True)
    with show_progress() as display:
        levelled = None
        if levels is not None:
            levelled = calibrate(ann, images[:_CALIBRATION_IMAGES], levels=levels, criterion="mean-square-error")
        found = compare(
            ann,
            hold_images(test),
            choices,
            read_whole_numbers("--steps", steps),
            levelled=levelled,
            calibration=images,
            t_max=t_max,
            batch_size=batch_size,
            device=device,
            advance=display.advance,
        )
    facts = {"command": ["isospike", *sys.argv[1:]], "recipe": recipe.name, "versions": read_versions()}
    paths = write_comparison(found, out or run / "comparison", facts)
    typer.echo(describe_ann(found))
    _show(list_cells(found))
    typer.echo(f"written: {', '.join(map(str, paths))}")


def split_choices(text: str) -> list[Choice]:
    """``a,b:key=value,c``: a pair after a comma belongs to the method before it.

    Raises:
        RecipeError: nothing there, or an unknown method.
    """
    parts: list[str] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if parts and "=" in part and ":" not in part:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    if not parts:
        raise RecipeError(f"--methods: expected names with commas between them, such as {DEFAULT}, got {text!r}")
    return [parse_choice(part) for part in parts]


def _show(cells: list[list[str]]) -> None:
    if not sys.stdout.isatty():
        for row in cells:
            typer.echo("\t".join(row))
        return
    table = Table(*cells[0])
    for row in cells[1:]:
        table.add_row(*row)
    Console().print(table)
