"""Files that mean harm: each asks for memory, time, or belief that it must not get."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isospike.conversion import convert
from isospike.files import read_tensors, write_tensors
from isospike.graph import save_graph
from tests.problems import PROBLEMS

Structure = dict[str, Any]
_GRAPH = convert(next(each.ann for each in PROBLEMS if each.name == "max pool"), "all-integer", t_max=8)


@dataclass(frozen=True)
class Hostile:
    """What it tries, how its file is written, and what the one line of error says."""

    name: str
    write: Callable[[Path], None]
    message: str


def _edit(change: Callable[[Structure, dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    """A good file, changed."""

    def write(path: Path) -> None:
        save_graph(_GRAPH, path)
        tensors, metadata = read_tensors(path)
        structure = json.loads(metadata["graph"])
        change(structure, tensors)
        write_tensors(path, tensors, {"graph": json.dumps(structure)})

    return write


def _set(node: str, **values: object) -> Callable[[Path], None]:
    return _edit(lambda structure, _: _find(structure, node).update(values))


def _find(structure: Structure, name: str) -> Structure:
    return next(node for node in structure["nodes"] if node["name"] == name)


def _write_header(header: object, length: int | None = None, data: bytes = b"") -> Callable[[Path], None]:
    """A safetensors file with a header of our own."""

    def write(path: Path) -> None:
        text = (header if isinstance(header, str) else json.dumps(header)).encode()
        path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)

    return write


def _describe(**tensor: object) -> Structure:
    return {"__metadata__": {"graph": "{}"}, "encoder.weight": tensor}


def _grow(structure: Structure, _: object) -> None:
    """A padding without end, and a pool whose stride brings the map back to its size."""
    _find(structure, "encoder")["padding"] = [2**29, 2**29]
    _find(structure, "pool")["stride"] = [2**30 + 2, 2**30 + 2]


def _rename(structure: Structure, name: str) -> None:
    _find(structure, "readout")["name"] = name


HOSTILE = (
    Hostile(
        "huge tensor",
        _write_header(_describe(dtype="F64", shape=[1 << 40, 1 << 20], data_offsets=[0, 8]), data=bytes(8)),
        "does not parse",
    ),
    Hostile("huge header", _write_header("{}", length=1 << 62), "its header would have 4611686018427387904"),
    Hostile("shape that overflows", _write_header(_describe(dtype="I8", shape=[1 << 63, 2], data_offsets=[0, 0])), ""),
    Hostile(
        "empty tensor of a huge shape",
        _edit(lambda _, t: t.update({"encoder.weight": np.zeros((1 << 40, 0, 1, 1), np.int8)})),
        "encoder.weight: expected numbers in 1 to 4 dimensions, got the shape (1099511627776, 0, 1, 1)",
    ),
    Hostile(
        "packed weights of a huge shape",
        _set("encoder", packed={"weight": [1 << 40, 1 << 40, 1, 1]}),
        "encoder.weight: expected packed weights of shape",
    ),
    Hostile(
        "huge signal",
        _edit(_grow),
        "encoder: its signal would have the shape (1, 1073741828, 1073741828), more than 268435456 numbers",
    ),
    Hostile(
        "wrong dtype",
        _edit(lambda _, t: t.update({"encoder.weight": np.ones((1, 1, 1, 1), np.uint64)})),
        "encoder.weight: expected integers or float64, got uint64",
    ),
    Hostile(
        "cycle",
        _set("encoder", inputs=["hidden.neuron"]),
        "encoder: its input 'hidden.neuron' does not come before it",
    ),
    Hostile("node that is its own input", _set("pool", inputs=["pool"]), "pool: its input 'pool' does not come before"),
    Hostile(
        "negative count",
        _set("hidden.neuron", levels=-4),
        "hidden.neuron.levels: expected whole numbers from 1 to 2147483647, got -4",
    ),
    Hostile("negative padding", _set("encoder", padding=[-1, 0]), "encoder.padding: expected whole numbers from 0"),
    Hostile("endless steps", _edit(lambda s, _: s.update(t_max=10**30)), "T_max: expected at most 2147483647 steps"),
    Hostile(
        "deep JSON",
        lambda path: write_tensors(path, {"a": np.ones(1)}, {"graph": "[" * 100_000}),
        "the graph's structure is malformed: it is nested too deeply",
    ),
    Hostile(
        "long JSON",
        lambda path: write_tensors(path, {"a": np.ones(1)}, {"graph": "[" + "[]," * 2_000_000 + "[]]"}),
        "expected a structure of at most 4194304 characters",
    ),
    Hostile(
        "overlong name",
        _edit(lambda s, _: _rename(s, "x" * 1_000_000)),
        "expected names of 1 to 200 printable characters, got 'xxxx",
    ),
    Hostile("name of two lines", _edit(lambda s, _: _rename(s, "a\nb")), "printable characters, got 'a\\nb'"),
    Hostile(
        "number of 5000 digits",
        lambda path: write_tensors(path, {"a": np.ones(1)}, {"graph": '{"version": ' + "9" * 5000 + "}"}),
        "expected a spiking graph",
    ),
    Hostile("unknown field", _edit(lambda s, _: s.update(run="rm -rf")), "unknown field 'run'; this version knows"),
    Hostile("unknown version", _edit(lambda s, _: s.update(version=[1] * 99)), "got [1, 1, 1"),
    Hostile("NaN", _set("readout", scale=float("nan")), "readout.scale: expected a finite number, got nan"),
    Hostile("kind of a kind", _set("pool", kind={"Input": 1}), "pool: unknown kind {'Input': 1}"),
)
