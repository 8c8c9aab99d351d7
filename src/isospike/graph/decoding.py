"""From what a graph file says to nodes. Nothing in it is believed: sizes, kinds and numbers are checked before they are
used, so that a hostile file is one line of error and costs no memory to speak of. See docs/format.md."""

import math
import re
from dataclasses import MISSING, fields
from fractions import Fraction
from typing import Any

import numpy as np

from isospike.errors import GraphError
from isospike.graph.nodes import KINDS, Node, Pair, Synapses
from isospike.graph.packing import unpack
from isospike.graph.spiking_graph import SpikingGraph

LONGEST_STRUCTURE = 4 << 20
LONGEST_NAME = 200
LARGEST_INTEGER = 2**31 - 1
_LARGEST_FRACTION = Fraction(10**300)
MOST_NEURONS = 1 << 28
_KEYS = ("format", "version", "t_max", "tau", "nodes")
_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float64")
_FROM_ZERO = ("padding", "fraction_bits")
_FRACTION = re.compile(r"-?[0-9]{1,400}(/[0-9]{1,400})?")


def decode_graph(structure: dict[str, Any], tensors: dict[str, np.ndarray]) -> SpikingGraph:
    """The graph that a file's ``structure`` and ``tensors`` say.

    Raises:
        GraphError: anything that docs/format.md does not allow; the message names it, in one line.
    """
    unknown = [key for key in structure if key not in _KEYS]
    if unknown:
        raise GraphError(f"unknown field {show(unknown[0])}; this version knows {', '.join(_KEYS)}")
    entries = structure.get("nodes")
    if not isinstance(entries, list):
        raise _malformed("nodes", "a list", entries)
    unclaimed = dict(tensors)
    nodes = tuple(_decode_node(entry, unclaimed) for entry in entries)
    if unclaimed:
        raise GraphError(f"the tensor {show(next(iter(unclaimed)))} belongs to no node")
    t_max, tau = structure.get("t_max"), structure.get("tau", 0)
    for name, value in (("T_max", t_max), ("tau", tau)):
        if type(value) is bool or (type(value) is int and value > LARGEST_INTEGER):
            raise GraphError(f"{name}: expected at most {LARGEST_INTEGER} steps, got {show(value)}")
    graph = SpikingGraph(nodes, t_max, tau)
    for name, shape in graph.shapes.items():
        if math.prod(shape) > MOST_NEURONS:
            raise GraphError(
                f"{name}: its signal would have the shape {show(shape)}, more than {MOST_NEURONS} numbers an image: "
                "convert the network anew"
            )
    return graph


def show(value: object) -> str:
    """A value as it stands in a message: short, and in one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _decode_node(entry: Any, tensors: dict[str, np.ndarray]) -> Node:
    if not isinstance(entry, dict):
        raise _malformed("nodes", "an object for each node", entry)
    name, inputs = entry.get("name"), entry.get("inputs")
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise _malformed("nodes", f"names of 1 to {LONGEST_NAME} printable characters", name)
    if not isinstance(inputs, list) or not all(isinstance(source, str) for source in inputs):
        raise _malformed(f"{name}.inputs", "a list of names", inputs)
    kind = KINDS.get(entry["kind"]) if isinstance(entry.get("kind"), str) else None
    if kind is None:
        raise GraphError(f"{name}: unknown kind {show(entry.get('kind'))}; this version knows {', '.join(KINDS)}")
    values: dict[str, Any] = {"name": name, "inputs": tuple(inputs)}
    plain = {key: value for key, value in entry.items() if key not in ("kind", "name", "inputs")}
    shapes = plain.pop("packed", {}) if issubclass(kind, Synapses) else {}
    if not isinstance(shapes, dict):
        raise _malformed(f"{name}.packed", "an object with the shape of 'weight'", shapes)
    plain |= {key: shape for key, shape in shapes.items() if key != "weight"}  # nothing else is packed
    for field in fields(kind):
        if field.name in values:
            continue
        if "ndarray" in str(field.type):
            values[field.name] = _take(f"{name}.{field.name}", tensors, shapes)
            if values[field.name] is None and "None" not in str(field.type):
                raise GraphError(f"{name}: the tensor {name}.{field.name} is missing")
        elif field.name in plain:
            values[field.name] = _read(f"{name}.{field.name}", field.type, plain.pop(field.name))
        elif field.default is MISSING:
            raise GraphError(f"{name}: the setting {field.name!r} is missing")
    if plain:
        raise GraphError(f"{name}: unknown setting {show(next(iter(plain)))}")
    return kind(**values)


def _take(name: str, tensors: dict[str, np.ndarray], packed: dict[str, Any]) -> np.ndarray | None:
    """Take a tensor out, unpacked where its shape stands in ``packed``; None where it is not there."""
    array = tensors.pop(name, None)
    if array is None:
        return None
    if str(array.dtype) not in _DTYPES:
        raise GraphError(f"{name}: expected integers or float64, got {array.dtype}: convert the network anew")
    if not array.size or array.ndim > 4:
        raise GraphError(f"{name}: expected numbers in 1 to 4 dimensions, got the shape {show(array.shape)}")
    field = name.rsplit(".", 1)[1]
    if field not in packed:
        return array
    try:
        return unpack(array, packed[field])
    except GraphError as error:
        raise GraphError(f"{name}: {error}") from None


def _read(where: str, annotation: Any, value: Any) -> Any:
    """A plain setting as its field wants it."""
    least = 0 if where.rsplit(".", 1)[1] in _FROM_ZERO else 1
    if "None" in str(annotation) and value is None:
        return None
    if annotation in (int, int | None):
        return _read_integer(where, value, least)
    if annotation in (Pair, tuple[int, int, int]):
        length = len(annotation.__args__)
        if not isinstance(value, list) or len(value) != length:
            raise _malformed(where, f"{length} whole numbers", value)
        return tuple(_read_integer(where, each, least) for each in value)
    if annotation in (float, float | None):
        if type(value) not in (int, float) or not math.isfinite(value):
            raise _malformed(where, "a finite number", value)
        return float(value)
    if annotation is bool and type(value) is bool:
        return value
    if annotation is Fraction and isinstance(value, str) and _FRACTION.fullmatch(value):
        fraction = Fraction(value)
        if not fraction or not 1 / _LARGEST_FRACTION <= abs(fraction) <= _LARGEST_FRACTION:
            raise _malformed(where, "a fraction that a float can hold", value)
        return fraction
    raise _malformed(where, "true or false" if annotation is bool else "a fraction like '1/2'", value)


def _read_integer(where: str, value: Any, least: int) -> int:
    if type(value) is not int or not least <= value <= LARGEST_INTEGER:
        raise _malformed(where, f"whole numbers from {least} to {LARGEST_INTEGER}", value)
    return value


def _malformed(where: str, expected: str, got: object) -> GraphError:
    return GraphError(
        f"the graph's structure is malformed: {where}: expected {expected}, got {show(got)}: convert the network anew"
    )
