"""Measuring a network under faults."""

import sys
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from isospike.cli.options import Data, Device, Limit, make_options, read_numbers
from isospike.cli.progress import show_progress
from isospike.data import ImageSet, hold_images
from isospike.errors import RecipeError
from isospike.experiment import Options, RunFolder
from isospike.experiment.measuring import read_conditions
from isospike.experiment.own_data import load_own_data
from isospike.experiment.own_run import OwnRun
from isospike.experiment.provenance import read_versions
from isospike.experiment.robustness import list_possible, make_plan, measure_robustness
from isospike.experiment.sections import NoiseSection, SimulateSection
from isospike.experiment.stresses import STRESSES
from isospike.files import read_bytes
from isospike.graph import SpikingGraph
from isospike.training import check_device

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder of a converted network.")]
Faults = Annotated[str, typer.Option("--faults", help=f"all, or some of: {', '.join(STRESSES)}.")]
Severities = Annotated[
    str | None, typer.Option("--severities", help="Numbers with commas; each fault's own by default.")
]
Seeds = Annotated[int, typer.Option("--seeds", help="How often each fault is drawn.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Time steps; those of the run by default.")]
Target = Annotated[Path | None, typer.Option("--out", "-o", help="Where the files go; RUN by default.")]


def stress(
    run: Run,
    data: Data = None,
    faults: Faults = "all",
    severities: Severities = None,
    seeds: Seeds = 5,
    steps: Steps = None,
    limit: Limit = None,
    out: Target = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images simulated together.")] = 250,
    device: Device = "cpu",
) -> None:
    """Measure accuracy under noise, damaged numbers and misbehaving spikes: robustness.json and robustness.csv."""
    check_device(device)
    if batch_size < 1:
        raise RecipeError(f"--batch-size: expected at least 1 image, got {batch_size}")
    folder = RunFolder(run)
    options = make_options(data, device, limit)
    graph = folder.read_graph()
    facts, test, settings = _open(folder, graph, options)
    names = [name.strip() for name in faults.split(",") if name.strip()]
    if not names:
        raise RecipeError(f"--faults: expected all, or names with commas between them, got {faults!r}")
    if names == ["all"]:
        names, impossible = list_possible(graph)
        for line in impossible:
            typer.echo(f"left out: {line}")
    numbers = None if severities is None else read_numbers("--severities", severities)
    plan = make_plan(
        names,
        numbers,
        seeds,
        settings.steps if steps is None else steps,
        batch_size=batch_size,
        device=device,
        propagation=settings.propagation,
    )
    facts["command"] = ["isospike", *sys.argv[1:]]
    facts["graph"] = sha256(read_bytes(run / "snn.safetensors")).hexdigest()
    facts["versions"] = read_versions()
    target = out or run
    with show_progress() as display:
        found = measure_robustness(graph, test, plan, target, facts, display.advance)
    _show(found)
    typer.echo(f"written: {target / 'robustness.json'}, {target / 'robustness.csv'}")


def _open(folder: RunFolder, graph: SpikingGraph, options: Options) -> tuple[dict[str, Any], ImageSet, SimulateSection]:
    """What is known of the run, its test images, and how it is simulated."""
    if OwnRun.is_there(folder.path):
        metrics = folder.read_metrics()
        dataset = (metrics.get("conversion") or {}).get("dataset")
        _, test = load_own_data(dataset, options, graph.input.shape, graph.shapes[graph.readout.name][0])
        said = read_conditions(folder.path, metrics, SimulateSection(steps=1), NoiseSection(), 0)[0]
        settings = said.model_copy(update={"steps": graph.t_max or 1})
        return {"recipe": None, "dataset": metrics.get("dataset")}, hold_images(test), settings
    recipe = folder.read_recipe()
    _, test = recipe.load_data(options.data, options.limit)
    return {"recipe": recipe.name, "dataset": recipe.data.name}, hold_images(test), recipe.simulate


def _show(found: dict[str, Any]) -> None:
    """One row for each cell."""
    rows = [("none", "", "", f"{found['baseline']['accuracy']:.2%}", "")]
    for fault in found["faults"]:
        for cell in fault["cells"]:
            interval = "" if cell["low"] is None else f"{cell['low']:.2%} to {cell['high']:.2%}"
            severity = f"{cell['severity']:g}"
            rows.append((fault["name"], severity, str(len(cell["seeds"])), f"{cell['mean']:.2%}", interval))
    names = ("fault", "severity", "seeds", "accuracy", "95 % interval")
    if not sys.stdout.isatty():
        for row in (names, *rows):
            typer.echo("\t".join(row))
        return
    table = Table(*names)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
