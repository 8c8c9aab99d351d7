"""The zoo's commands."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from isospike.cli.options import Data, Device, Limit, make_options
from isospike.cli.progress import show_progress
from isospike.zoo.catalogue import find, names

if TYPE_CHECKING:
    from isospike.zoo.running import Rerun

app = typer.Typer(help="Trained spiking networks that come with isospike.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A network of the zoo ('isospike zoo list' shows them).")]

COLUMNS = ("name", "data", "method", "ANN (%)", "SNN (%)", "weights", "bytes", "source", "licence")


@app.command("list")
def list_networks(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: a list of objects.")] = False,
) -> None:
    """List the networks: data, method, accuracies, size, where each comes from."""
    rows = [find(name).describe() for name in names()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not sys.stdout.isatty():
        for line in (COLUMNS, *map(_describe, rows)):
            typer.echo("\t".join(line))
        return
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*_describe(row))
    Console().print(table)


@app.command("path")
def show_path(name: Name) -> None:
    """Print the absolute path of a network's snn.safetensors, and nothing else."""
    typer.echo(str(find(name).graph_path.resolve()))


@app.command("run")
def run_network(
    name: Name,
    data: Data = None,
    limit: Limit = None,
    device: Device = "cpu",
    engine: Annotated[str, typer.Option("--engine", help="auto, cpp or torch: what simulates.")] = "auto",
) -> None:
    """Simulate a network on its test set; exit code 1 if its answers are not those of its metrics.json."""
    from isospike.training import check_device
    from isospike.zoo.running import BLOCK, run  # PyTorch is slow to load, and the other commands need none

    check_device(device)
    entry = find(name)
    options = make_options(data, device, limit)
    with show_progress() as display:
        found = run(entry, options.data, options.limit, engine=engine, device=device, advance=display.advance)
    _print_steps(entry.name, found, entry.metrics)
    if found.is_equal is None:
        typer.echo(f"not compared with metrics.json: that takes the first {BLOCK:,} images or more")
        return
    what = f"{found.answers.of} of {found.compared:,} images at every step"
    if found.is_equal:
        typer.echo(f"equal to metrics.json: {what}")
        return
    hint = "" if found.answers.of == "logits" else " (with float weights another processor may round otherwise)"
    for line in found.differing:
        typer.echo(f"differs from metrics.json: {line}{hint}")
    raise typer.Exit(1)


def _print_steps(name: str, found: "Rerun", metrics: dict[str, Any]) -> None:
    """Accuracy and settled images step by step, beside the recorded accuracy where all images were run."""
    snn = found.snn
    columns = {"accuracy": snn["accuracy"]}
    if found.images == metrics["snn"]["images"]:
        columns["recorded"] = metrics["snn"]["accuracy"]
    if snn["settled"] is not None:
        columns["settled"] = snn["settled"]
    typer.echo(f"{name} on {found.images:,} test images of {metrics['dataset']}:")
    typer.echo("step" + "".join(f"{column:>10}" for column in columns))
    for step, row in enumerate(zip(*columns.values(), strict=True), start=1):
        typer.echo(f"{step:4d}" + "".join(f"{value:10.2%}" for value in row))


def _describe(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        row["data"],
        row["method"],
        f"{100 * row['ann_accuracy']:.2f}",
        f"{100 * row['snn_accuracy']:.2f} at T={row['step']}",
        row["weights"],
        f"{row['bytes']:,}",
        row["source"],
        row["licence"],
    )
