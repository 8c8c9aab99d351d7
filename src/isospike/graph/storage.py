"""Saving and loading graphs: safetensors, with the structure as JSON in the header."""

import json
from dataclasses import MISSING, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from isospike.errors import GraphError
from isospike.files import read_tensors, write_tensors
from isospike.graph.nodes import KINDS, Node
from isospike.graph.spiking_graph import SpikingGraph

FORMAT = "isospike.graph"
VERSION = 1


def save_graph(graph: SpikingGraph, path: str | Path) -> None:
    """Write ``graph`` whole: tensors as ``<node>.<field>``, structure under the header's key ``graph``.

    Raises:
        FileError: the file cannot be written; an earlier one stays.
    """
    structure = {
        "format": FORMAT,
        "version": VERSION,
        "t_max": graph.t_max,
        "nodes": [
            {"kind": type(node).__name__, "name": node.name, "inputs": node.inputs, **_encode(node.settings)}
            for node in graph
        ],
    }
    tensors = {f"{node.name}.{field}": array for node in graph for field, array in node.arrays.items()}
    write_tensors(Path(path), tensors, {"graph": json.dumps(structure)})


def load_graph(path: str | Path) -> SpikingGraph:
    """Read a graph that :func:`save_graph` wrote. The model it came from is not needed.

    Raises:
        FileError: the file is missing, truncated, or not safetensors.
        GraphError: it is safetensors, but not a graph of this version, or not a consistent one.
    """
    tensors, metadata = read_tensors(Path(path))
    try:
        structure = json.loads(metadata.get("graph", ""))
    except ValueError:
        raise GraphError(f"{path}: expected a spiking graph, got other safetensors: give an snn.safetensors") from None
    if not isinstance(structure, dict) or structure.get("format") != FORMAT:
        raise GraphError(f"{path}: expected the format {FORMAT!r}: give an snn.safetensors that isospike wrote")
    if structure.get("version") != VERSION:
        raise GraphError(
            f"{path}: expected version {VERSION}, got {structure.get('version')!r}: convert the network anew, or "
            "install the version of isospike that wrote it"
        )
    try:
        unclaimed = dict(tensors)
        nodes = tuple(_decode(entry, unclaimed) for entry in structure["nodes"])
        if unclaimed:
            raise GraphError(f"the tensor {next(iter(unclaimed))!r} belongs to no node")
        return SpikingGraph(nodes, structure["t_max"])
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        raise GraphError(f"{path}: the graph's structure is malformed ({error!r}): convert the network anew") from error


def compare_graphs(one: SpikingGraph, other: SpikingGraph) -> list[str]:
    """The names of the nodes that are not the same in both graphs, bit for bit, in the order of ``one``."""
    names = list(dict.fromkeys([node.name for node in one] + [node.name for node in other]))
    differing = [name for name in names if not _same(_find(one, name), _find(other, name))]
    return differing if one.t_max == other.t_max else ["T_max", *differing]


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


def _decode(entry: dict[str, Any], tensors: dict[str, np.ndarray]) -> Node:
    kind = KINDS.get(entry["kind"])
    if kind is None:
        raise GraphError(f"{entry['name']}: unknown kind {entry['kind']!r}; this version knows {', '.join(KINDS)}")
    values: dict[str, Any] = {"name": str(entry["name"]), "inputs": tuple(entry["inputs"])}
    plain = {key: value for key, value in entry.items() if key not in ("kind", "name", "inputs")}
    for field in fields(kind):
        if field.name in values:
            continue
        if "ndarray" in str(field.type):
            array = tensors.pop(f"{values['name']}.{field.name}", None)
            if array is None and "None" not in str(field.type):
                raise GraphError(f"{values['name']}: the tensor {values['name']}.{field.name} is missing")
            values[field.name] = array
        elif field.name in plain:
            values[field.name] = _convert(field.type, plain.pop(field.name))
        elif field.default is MISSING:
            raise GraphError(f"{values['name']}: the setting {field.name!r} is missing")
    if plain:
        raise GraphError(f"{values['name']}: unknown setting {next(iter(plain))!r}")
    return kind(**values)


def _convert(annotation: Any, value: Any) -> Any:
    if annotation is Fraction:
        return Fraction(value)
    return tuple(value) if isinstance(value, list) else value
