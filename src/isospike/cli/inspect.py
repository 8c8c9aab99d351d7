"""Looking into a graph: layers, sizes, thresholds, bits."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from isospike.cli.options import read_shape
from isospike.cli.own_network import InShape, Mean, Model, Pixels, Std, Weights, read_pixels, refuse_without_model
from isospike.errors import FileError
from isospike.experiment import RunFolder
from isospike.experiment.own_network import capture_own
from isospike.experiment.own_settings import OwnNetwork
from isospike.graph import SpikingGraph, load_graph
from isospike.metrics import Description, NodeDescription, describe
from isospike.networks import capture

COLUMNS = (
    "name",
    "kind",
    "shape",
    "neurons",
    "synapses",
    "weights",
    "type",
    "range",
    "threshold",
    "step",
    "levels",
    "limit",
    "bits",
    "fraction",
)


def inspect(
    place: Annotated[
        Path | None, typer.Argument(metavar="[GRAPH|RUN]", help="An snn.safetensors, or a folder that has one.")
    ] = None,
    ann: Annotated[bool, typer.Option("--ann", help="Of a run: the ANN that was converted instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts; keys are those of isospike.describe.")] = False,
    model: Model = None,
    weights: Weights = None,
    in_shape: InShape = None,
    mean: Mean = None,
    std: Std = None,
    pixels: Pixels = None,
) -> None:
    """Show layers, shapes, neurons, synapses, weights, thresholds, levels and bits of a graph, or of a network."""
    if (place is None) == (model is None):
        raise FileError("inspect: expected either an snn.safetensors, a run folder, or --model FILE.py:function")
    if model is not None:
        if in_shape is None:
            raise FileError("--model: expected --in-shape too, such as 3,32,32")
        own = OwnNetwork(model, weights, read_shape(in_shape), read_pixels(mean, std, pixels), "", {})
        graph = capture_own(own)
    else:
        theirs = {"--weights": weights, "--in-shape": in_shape, "--mean": mean, "--std": std, "--pixels": pixels}
        refuse_without_model(theirs)
        graph = _read(place or Path(), ann)
    found = describe(graph)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    elif sys.stdout.isatty():
        _draw(found)
    else:
        for row in (COLUMNS, *map(_list_cells, found.nodes), _list_totals(found)):
            typer.echo("\t".join(row))


def _read(place: Path, ann: bool) -> SpikingGraph:
    """The graph in a file or in a folder; else, in the run of a recipe, the network as it was trained."""
    if place.is_file():
        if ann:
            raise FileError(f"--ann: expected a run folder, got the file {place}: leave --ann out, or give the folder")
        return load_graph(place)
    folder = RunFolder(place)
    if not place.is_dir():
        raise FileError(f"{place}: there is no such file or folder: give an snn.safetensors or a run folder")
    if ann and (place / "ann.safetensors").is_file():
        return load_graph(place / "ann.safetensors")
    if ann or not (place / "snn.safetensors").is_file():
        return capture(folder.read_model(folder.read_recipe()))
    return folder.read_graph()


def _draw(found: Description) -> None:
    table = Table(*COLUMNS, show_footer=False)
    for column in table.columns[3:6]:
        column.justify = "right"
    for node in found.nodes:
        table.add_row(*_list_cells(node))
    table.add_section()
    table.add_row(*_list_totals(found))
    steps = "" if found.t_max is None else f", at most {found.t_max} steps"
    console = Console()
    console.print(f"{found.kind}{' in integers' if found.integer else ''}{steps}", highlight=False)
    console.print(table)


def _list_cells(node: NodeDescription) -> tuple[str, ...]:
    return (
        node.name,
        node.kind,
        "x".join(map(str, node.shape)),
        _show(node.neurons),
        _show(node.synapses),
        _show(node.weights),
        node.weight_type or "",
        _show_range(node.weight_range),
        _show_range(node.threshold),
        _show_range(node.step),
        _show(node.levels),
        _show(node.limit),
        _show(node.membrane_bits),
        _show(node.fraction_bits),
    )


def _list_totals(found: Description) -> tuple[str, ...]:
    totals = map(_show, (found.neurons, found.synapses, found.weights))
    return ("total", found.kind, "x".join(map(str, found.in_shape)), *totals, *[""] * 6, _show(found.membrane_bits), "")


def _show(value: Any) -> str:
    return "" if value is None else str(value)


def _show_range(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return ""
    low, high = (f"{end:.4g}" for end in ends)
    return low if low == high else f"{low}..{high}"
