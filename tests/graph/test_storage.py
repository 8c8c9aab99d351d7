"""Saving and loading: bit for bit, and one line about anything else."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from isospike.conversion import convert
from isospike.conversion.base import CountingConversion
from isospike.errors import FileError, GraphError, IsospikeError
from isospike.files import read_tensors, write_tensors
from isospike.graph import SpikingGraph, compare_graphs, load_graph, save_graph
from isospike.networks import Network, capture
from isospike.simulator import simulate
from tests.branched_graphs import branched_graphs
from tests.problems import LOSSLESS, PROBLEMS
from tests.random_networks import integer_graphs, networks

GRAPH = convert(next(each.ann for each in PROBLEMS if each.name == "max pool"), "all-integer", t_max=8)


def _assert_same(one: SpikingGraph, other: SpikingGraph) -> None:
    assert compare_graphs(one, other) == []
    assert one.t_max == other.t_max
    for first, second in zip(one, other, strict=True):
        assert type(first) is type(second)
        assert (first.name, first.inputs, first.settings) == (second.name, second.inputs, second.settings)
        assert first.arrays.keys() == second.arrays.keys()
        for field, array in first.arrays.items():
            assert array.dtype == second.arrays[field].dtype
            assert array.shape == second.arrays[field].shape
            assert array.tobytes() == second.arrays[field].tobytes()


@pytest.mark.parametrize("method", LOSSLESS)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda each: each.name)
def test_problems_come_back_bit_for_bit(tmp_path: Path, method: str, problem: Any) -> None:
    graph = convert(problem.ann, method)
    for number, each in enumerate((graph, problem.ann)):
        save_graph(each, tmp_path / f"{number}.safetensors")
        _assert_same(each, load_graph(tmp_path / f"{number}.safetensors"))
    found = simulate(load_graph(tmp_path / "0.safetensors"), problem.image)
    assert found.logits[-1, 0].tolist() == simulate(graph, problem.image).logits[-1, 0].tolist()


@given(networks())
@settings(max_examples=15)
def test_networks_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, model: Network) -> None:
    path = tmp_path_factory.mktemp("graphs") / "snn.safetensors"
    for graph in (capture(model), convert(model, "negative-spike", t_max=5)):
        save_graph(graph, path)
        _assert_same(graph, load_graph(path))


@given(st.one_of(integer_graphs(), branched_graphs(), branched_graphs(weights=("float",))))
@settings(max_examples=40)
def test_any_geometry_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, ann: SpikingGraph) -> None:
    path = tmp_path_factory.mktemp("graphs") / "snn.safetensors"
    for graph in (ann, CountingConversion(ann, 4, 2).run()):
        save_graph(graph, path)
        _assert_same(graph, load_graph(path))


def test_tensors_have_the_names_of_the_interface(tmp_path: Path) -> None:
    save_graph(GRAPH, tmp_path / "snn.safetensors")
    tensors, _ = read_tensors(tmp_path / "snn.safetensors")
    assert {"encoder.weight", "encoder.neuron.threshold", "encoder.neuron.step", "readout.bias"} <= tensors.keys()


def test_a_table_of_thresholds_comes_back(tmp_path: Path) -> None:
    table = np.array([[1, 2, 3, 4], [0, 2, 4, 5]])
    nodes = tuple(
        replace(node, threshold=table, step=None, fraction_bits=0) if node.name == "hidden.neuron" else node  # type: ignore[call-arg]
        for node in GRAPH
    )
    graph = SpikingGraph(nodes, 8)
    save_graph(graph, tmp_path / "snn.safetensors")
    _assert_same(graph, load_graph(tmp_path / "snn.safetensors"))


def test_comparison_names_what_differs() -> None:
    def change(name: str, **changes: object) -> SpikingGraph:
        nodes = tuple(replace(node, **changes) if node.name == name else node for node in GRAPH)  # type: ignore[arg-type]
        return SpikingGraph(nodes, GRAPH.t_max)

    assert compare_graphs(GRAPH, GRAPH) == []
    weight = GRAPH["hidden"].arrays["weight"]
    assert compare_graphs(GRAPH, change("hidden", weight=-weight)) == ["hidden"]
    assert compare_graphs(GRAPH, change("hidden", weight=weight.astype(np.int8))) == ["hidden"]
    assert compare_graphs(GRAPH, change("pool", limit=2)) == ["pool"]
    assert compare_graphs(GRAPH, change("readout", scale=2.0)) == ["readout"]
    assert compare_graphs(GRAPH, SpikingGraph(GRAPH.nodes, 9)) == ["T_max"]
    assert compare_graphs(GRAPH, convert(PROBLEMS[0].ann, "all-integer", t_max=8))[:2] == ["pixels", "encoder"]


def _edit(change: Callable[[dict[str, Any], dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    """A file as :func:`save_graph` writes it, but for ``change`` to its structure and tensors."""

    def write(path: Path) -> None:
        save_graph(GRAPH, path)
        tensors, metadata = read_tensors(path)
        structure = json.loads(metadata["graph"])
        change(structure, tensors)
        write_tensors(path, tensors, {"graph": json.dumps(structure)})

    return write


def _node(structure: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in structure["nodes"] if entry["name"] == name)


def _set(name: str, **values: object) -> Callable[[Path], None]:
    return _edit(lambda structure, _: _node(structure, name).update(values))


def _truncate(path: Path) -> None:
    save_graph(GRAPH, path)
    path.write_bytes(path.read_bytes()[:-9])


BROKEN: list[tuple[str, Callable[[Path], None], type[IsospikeError], str]] = [
    ("truncated", _truncate, FileError, "may be truncated"),
    ("truncated header", lambda path: path.write_bytes(struct.pack("<Q", 999) + b"{"), FileError, "may be truncated"),
    ("empty", lambda path: path.write_bytes(b""), FileError, "file of 0 bytes"),
    ("text", lambda path: path.write_text("this is no safetensors file"), FileError, "does not parse"),
    ("missing", lambda _: None, FileError, "cannot be read"),
    ("folder", lambda path: path.mkdir(), FileError, "cannot be read"),
    ("other", lambda path: save_file({"a": np.ones(3)}, path), GraphError, "expected a spiking graph, got other"),
    (
        "model",
        lambda path: save_file({"a": np.ones(3)}, path, {"graph": json.dumps({"format": "isospike.model"})}),
        GraphError,
        "expected the format 'isospike.graph'",
    ),
    ("no object", lambda path: save_file({"a": np.ones(1)}, path, {"graph": "[1]"}), GraphError, "expected the format"),
    ("version", _edit(lambda s, _: s.update(version=99)), GraphError, "expected version 1 or 2, got 99"),
    ("no nodes", _edit(lambda s, _: s.pop("nodes")), GraphError, "malformed"),
    ("nodes a number", _edit(lambda s, _: s.update(nodes=3)), GraphError, "malformed"),
    ("node a number", _edit(lambda s, _: s["nodes"].append(3)), GraphError, "malformed"),
    ("kind", _set("pool", kind="MedianPool"), GraphError, "pool: unknown kind 'MedianPool'; this version knows Input"),
    ("setting", _set("pool", shape=3), GraphError, "pool: unknown setting 'shape'"),
    (
        "setting missing",
        _edit(lambda s, _: _node(s, "pool").pop("kernel")),
        GraphError,
        "pool: the setting 'kernel' is missing",
    ),
    ("stride", _set("encoder", stride=[0, 1]), GraphError, "malformed"),
    ("stride a word", _set("encoder", stride="same"), GraphError, "malformed"),
    ("levels a word", _set("hidden.neuron", levels="many"), GraphError, "malformed"),
    ("inputs", _set("pool", inputs=["nowhere"]), GraphError, "pool: its input 'nowhere' does not come before it"),
    ("T_max", _edit(lambda s, _: s.update(t_max=0)), GraphError, "T_max: expected at least 1"),
    ("T_max a word", _edit(lambda s, _: s.update(t_max="8")), GraphError, "T_max: expected at least 1"),
    (
        "tensor missing",
        _edit(lambda _, t: t.pop("encoder.weight")),
        GraphError,
        "encoder: the tensor encoder.weight is missing",
    ),
    (
        "tensor unclaimed",
        _edit(lambda _, t: t.update({"ghost.weight": np.ones(2)})),
        GraphError,
        "the tensor 'ghost.weight' belongs to no node",
    ),
    (
        "NaN",
        _edit(lambda _, t: t.update({"encoder.weight": np.full((1, 1, 1, 1), np.nan)})),
        GraphError,
        "encoder.weight: holds NaN or infinity",
    ),
    (
        "float16",
        _edit(lambda _, t: t.update({"encoder.weight": np.ones((1, 1, 1, 1), np.float16)})),
        GraphError,
        "encoder.weight: expected integers or float64, got float16",
    ),
    (
        "shape",
        _edit(lambda _, t: t.update({"hidden.neuron.step": np.ones(5, np.int64)})),
        GraphError,
        "hidden.neuron.step: expected one entry for each of 2 channels",
    ),
]


@pytest.mark.parametrize(("write", "kind", "message"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_broken_files_are_one_line_that_names_the_thing(
    tmp_path: Path, write: Callable[[Path], None], kind: type[IsospikeError], message: str
) -> None:
    path = tmp_path / "snn.safetensors"
    write(path)
    with pytest.raises(kind) as caught:
        load_graph(path)
    shown = str(caught.value)
    assert shown.startswith(f"{path}: ")
    assert message in shown
    assert "\n" not in shown
