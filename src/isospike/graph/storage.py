"""Saving and loading graphs: safetensors, with the structure as JSON in the header."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from isospike.errors import GraphError
from isospike.files import read_tensors, write_tensors
from isospike.graph.decoding import LONGEST_STRUCTURE, decode_graph, show
from isospike.graph.nodes import Node, Synapses
from isospike.graph.packing import is_packable, pack
from isospike.graph.spiking_graph import SpikingGraph

FORMAT = "isospike.graph"
VERSION = 2
_READABLE = (1, VERSION)  # version 1 had no packed weights


def save_graph(graph: SpikingGraph, path: str | Path) -> None:
    """Write ``graph`` whole: tensors as ``<node>.<field>``, structure under the header's key ``graph``.

    Ternary weights take two bits each: such a tensor is uint8, and the shape stands in the structure, as ``packed``.

    Raises:
        FileError: the file cannot be written; an earlier one stays.
    """
    structure: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "t_max": graph.t_max,
        "tau": graph.tau,
        "nodes": [
            {"kind": type(node).__name__, "name": node.name, "inputs": node.inputs, **_encode(node.settings)}
            for node in graph
        ],
    }
    tensors = {f"{node.name}.{field}": array for node in graph for field, array in node.arrays.items()}
    for node, entry in zip(graph, structure["nodes"], strict=True):
        if isinstance(node, Synapses) and is_packable(node.weight):
            entry["packed"] = {"weight": node.weight.shape}
            tensors[f"{node.name}.weight"] = pack(node.weight)
    write_tensors(Path(path), tensors, {"graph": json.dumps(structure)})


def load_graph(path: str | Path) -> SpikingGraph:
    """Read a graph that :func:`save_graph` wrote. The model it came from is not needed.

    Raises:
        FileError: the file is missing, truncated, or not safetensors.
        GraphError: it is safetensors, but not a graph of this version, or not a consistent one.
    """
    tensors, metadata = read_tensors(Path(path))
    text = metadata.get("graph", "")
    if len(text) > LONGEST_STRUCTURE:
        raise GraphError(f"{path}: expected a structure of at most {LONGEST_STRUCTURE} characters, got {len(text)}")
    try:
        structure = json.loads(text)
    except RecursionError:
        raise GraphError(f"{path}: the graph's structure is malformed: it is nested too deeply") from None
    except ValueError:
        raise GraphError(f"{path}: expected a spiking graph, got other safetensors: give an snn.safetensors") from None
    if not isinstance(structure, dict) or structure.get("format") != FORMAT:
        raise GraphError(f"{path}: expected the format {FORMAT!r}: give an snn.safetensors that isospike wrote")
    if structure.get("version") not in _READABLE:
        raise GraphError(
            f"{path}: expected version {' or '.join(map(str, _READABLE))}, got {show(structure.get('version'))}: "
            "convert the network anew, or install the version of isospike that wrote it"
        )
    try:
        return decode_graph(structure, tensors)
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, LookupError, RecursionError) as error:
        raise GraphError(
            f"{path}: the graph's structure is malformed ({show(error)}): convert the network anew"
        ) from error


def compare_graphs(one: SpikingGraph, other: SpikingGraph) -> list[str]:
    """The names of the nodes that are not the same in both graphs, bit for bit, in the order of ``one``."""
    names = list(dict.fromkeys([node.name for node in one] + [node.name for node in other]))
    differing = [name for name in names if not _same(_find(one, name), _find(other, name))]
    settings = [("T_max", one.t_max, other.t_max), ("tau", one.tau, other.tau)]
    return [name for name, value, expected in settings if value != expected] + differing


def _find(graph: SpikingGraph, name: str) -> Node | None:
    return next((node for node in graph if node.name == name), None)


def _same(one: Node | None, other: Node | None) -> bool:
    if one is None or other is None or type(one) is not type(other):
        return False
    if one.inputs != other.inputs or one.settings != other.settings or one.arrays.keys() != other.arrays.keys():
        return False
    pairs = [(one.arrays[field], other.arrays[field]) for field in one.arrays]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def _encode(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Fraction) else value for name, value in settings.items()}
