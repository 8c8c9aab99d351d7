"""Comparing methods on one trained network."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from isospike.cli.options import Data, Dataset, Device, Limit, Set, make_options, read_shape, read_whole_numbers
from isospike.cli.own_network import (
    CorrectBias,
    Criterion,
    Images,
    InShape,
    Levels,
    Mean,
    Model,
    Per,
    Percentile,
    Pixels,
    Seed,
    Std,
    Weights,
    gather_calibration,
    read_pixels,
    refuse_without_model,
)
from isospike.cli.progress import Display, show_progress
from isospike.conversion import METHODS
from isospike.errors import ConversionError, FileError, RecipeError
from isospike.experiment import Experiment, Options, RunFolder, load_recipe
from isospike.experiment.compared import Subject, measure_comparison, open_own, open_run
from isospike.experiment.comparison import Choice, Scope, describe_ann, list_cells, parse_choice
from isospike.experiment.own_settings import Calibration, OwnNetwork
from isospike.training import check_device

EVERY = "all"
_WIDE = 160

Run = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", help="The run folder of a trained network; or --model; or --recipe.")
]
RecipeName = Annotated[
    str | None, typer.Option("--recipe", help="Train this recipe into --out first, or go on with its training.")
]
Names = Annotated[str, typer.Option("--methods", help="all, or some with commas: qcfs,srp:tau=8,counting:limit=2.")]
Steps = Annotated[str, typer.Option("--steps", help="The time steps that the table shows.")]
TMax = Annotated[int, typer.Option("--t-max", help="The most time steps of each graph.")]
Target = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Where the tables go; RUN/comparison by default. With --recipe, the run folder."),
]


def compare_methods(
    run: Run = None,
    methods: Names = EVERY,
    steps: Steps = "1,2,4,8,16,32",
    data: Data = None,
    out: Target = None,
    recipe: RecipeName = None,
    settings: Set = None,
    model: Model = None,
    weights: Weights = None,
    in_shape: InShape = None,
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
    t_max: TMax = 64,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images simulated together.")] = 250,
    device: Device = "cpu",
    limit: Limit = None,
) -> None:
    """Convert one network by several methods: accuracy, latency, spikes, energy, memory and proof in one table.

    The network is that of RUN, of a file of one's own (--model, as for convert), or of a recipe (--recipe).
    """
    check_device(device)
    choices = split_choices(methods)
    chosen = read_whole_numbers("--steps", steps)
    Scope(chosen, t_max, batch_size, device)  # what is wrong is said before anything is trained
    options = make_options(data, device, limit)
    given = gather_calibration(levels, criterion, percentile, per, correct_bias, images)
    own = {"--weights": weights, "--in-shape": in_shape, "--dataset": dataset, "--mean": mean, "--std": std}
    _check_source(run, recipe, model, out, {**own, "--pixels": pixels, "--seed": seed or None}, settings)
    with show_progress() as display:
        if model is not None:
            if in_shape is None:
                raise ConversionError("--model: expected --in-shape (such as 3,32,32) too")
            scale, calibration = read_pixels(mean, std, pixels), Calibration(**given)
            shape = read_shape(in_shape)
            network = OwnNetwork(model, weights, shape, scale, "counting", {}, calibration, dataset, seed)
            subject, folder = open_own(network, options, display.advance, settings), out or Path("comparison")
        else:
            place = run if recipe is None else _train(recipe, settings, out, options, display)
            changed = settings if recipe is None else None  # with --recipe they are in its run folder by now
            subject = open_run(RunFolder(place or Path()), options, given, display.advance, changed)
            folder = out if out is not None and recipe is None else (place or Path()) / "comparison"
        scope = Scope(chosen, t_max, batch_size, device, subject.seed, subject.tables)
        _compare(subject, choices, scope, folder, display)


def _check_source(
    run: Path | None,
    recipe: str | None,
    model: str | None,
    out: Path | None,
    own: dict[str, Any],
    settings: list[str] | None,
) -> None:
    """One network, and no option that belongs to another kind.

    Raises:
        RecipeError, ConversionError: none or several of them, or an option that would go unheard.
        FileError: a recipe without a folder.
    """
    named = [name for name, value in (("RUN", run), ("--model", model), ("--recipe", recipe)) if value is not None]
    if len(named) != 1:
        got = " and ".join(named) or "none"
        raise RecipeError(f"compare: expected RUN, --model FILE.py:function or --recipe NAME, got {got}: give one")
    if recipe is not None and out is None:
        raise FileError("--recipe: expected --out DIR too, the run folder that it is trained into")
    if recipe is None and any(not setting.startswith(("energy.", "energy=")) for setting in settings or []):
        raise RecipeError(
            "--set: belongs to --recipe, but for energy.KEY=VALUE: options of methods stand in --methods: srp:tau=4"
        )
    if model is None:
        refuse_without_model(own)


def _train(recipe: str, settings: list[str] | None, out: Path | None, options: Options, display: Display) -> Path:
    """Train a recipe, or go on where its training stopped; gives the run folder."""
    folder = RunFolder(out or Path())
    loaded = load_recipe(recipe, settings)
    Experiment(loaded, folder, options, display.advance).train(display.follow_training(loaded.train))
    return folder.path


def _compare(subject: Subject, choices: list[Choice], scope: Scope, folder: Path, display: Display) -> None:
    """Measure, draw, and show the table."""
    command = ["isospike", *sys.argv[1:]]
    found, paths = measure_comparison(subject, choices, scope, folder, command, display.advance)
    from isospike.report import draw_comparison, parse_comparison  # matplotlib is slow to load

    figures = draw_comparison(parse_comparison(folder / "comparison.json"), folder)
    typer.echo(describe_ann(found))
    _show(list_cells(found), len(scope.steps))
    typer.echo(f"written: {', '.join(map(str, [*paths, *figures]))}")


def split_choices(text: str) -> list[Choice]:
    """``all``, or ``a,b:key=value,c``: a pair after a comma belongs to the method before it.

    Raises:
        RecipeError: nothing there, an unknown method or option, or a method twice.
    """
    parts: list[str] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if part == EVERY:
            parts += [name for name in METHODS if name not in parts]
        elif parts and "=" in part and ":" not in part:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    if not parts:
        raise RecipeError(f"--methods: expected all, or names with commas between them, got {text!r}")
    choices = [parse_choice(part) for part in parts]
    labels = [choice.label for choice in choices]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise RecipeError(f"--methods: {twice} stands there twice: give it once, or with other options")
    return choices


def _show(cells: list[list[str]], steps: int) -> None:
    """The table; in two halves, accuracy and costs, where the terminal is narrow."""
    if not sys.stdout.isatty():
        for row in cells:
            typer.echo("\t".join(row))
        return
    console = Console()
    halves = [cells]
    if console.width < _WIDE:
        halves = [[row[: steps + 2] for row in cells], [[row[0], *row[steps + 2 :]] for row in cells]]
    for half in halves:
        table = Table(*half[0])
        for row in half[1:]:
            table.add_row(*row)
        console.print(table)
