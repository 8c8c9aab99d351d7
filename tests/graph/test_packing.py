"""Packed weights: two bits each, bit for bit, and nothing else taken for them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isospike.errors import GraphError
from isospike.files import read_tensors, write_tensors
from isospike.graph import Dense, Flatten, Input, Readout, SpikingGraph, compare_graphs, load_graph, save_graph
from isospike.graph.packing import is_packable, pack, unpack


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_what_is_packed_comes_back(shape: list[int], seed: int) -> None:
    array = np.random.default_rng(seed).integers(-2, 2, shape, dtype=np.int8)
    packed = pack(array)
    assert packed.dtype == np.uint8
    assert packed.nbytes == -(-array.size // 4)
    back = unpack(packed, shape)
    assert back.dtype == np.int8
    np.testing.assert_array_equal(back, array)


def test_the_first_value_lies_in_the_lowest_bits() -> None:
    assert pack(np.array([1, -1, 0, 1, -1], dtype=np.int8)).tolist() == [0b01_00_11_01, 0b11]


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.full((64, 64), -1, np.int8), True),
        (np.full((64, 64), 2, np.int8), False),
        (np.full((64, 64), -3, np.int8), False),
        (np.ones((64, 64), np.int64), False),
        (np.ones((63, 64), np.int8), False),
    ],
)
def test_what_is_packed(array: np.ndarray, wanted: bool) -> None:
    assert is_packable(array) is wanted


def _graph(out: int = 67) -> SpikingGraph:
    weight = np.random.default_rng(0).integers(-1, 2, (out, 64), dtype=np.int8)
    nodes = (
        Input("pixels", (), (64, 1, 1), 255, np.zeros(64, np.int64)),
        Flatten("flatten", ("pixels",)),
        Dense("classifier", ("flatten",), weight),
        Readout("readout", ("classifier",), np.zeros(out, np.int64)),
    )
    return SpikingGraph(nodes, 4)


def _path(folder: Path) -> Path:
    save_graph(_graph(), folder / "snn.safetensors")
    return folder / "snn.safetensors"


def test_graphs_come_back_and_weights_take_two_bits(tmp_path: Path) -> None:
    path = _path(tmp_path)
    assert read_tensors(path)[0]["classifier.weight"].nbytes == 67 * 64 // 4
    assert compare_graphs(load_graph(path), _graph()) == []


def test_files_of_version_1_still_load(tmp_path: Path) -> None:
    path = _path(tmp_path)
    tensors, metadata = read_tensors(path)
    structure = json.loads(metadata["graph"])
    structure["version"] = 1
    structure["nodes"][2].pop("packed")
    tensors["classifier.weight"] = _graph()["classifier"].arrays["weight"]
    write_tensors(path, tensors, {"graph": json.dumps(structure)})
    assert compare_graphs(load_graph(path), _graph()) == []


def _edit(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], None]) -> None:
    tensors, metadata = read_tensors(path)
    structure = json.loads(metadata["graph"])
    change(structure["nodes"][2], tensors)
    write_tensors(path, tensors, {"graph": json.dumps(structure)})


@pytest.mark.parametrize(
    "shape",
    [[67, 65], [67], [], [2**40, 2**40], [67, -64], [67, 64.0], [True, 67 * 64], "67", None, {"a": 1}, [[67, 64]]],
)
def test_hostile_shapes(tmp_path: Path, shape: object) -> None:
    path = _path(tmp_path)
    _edit(path, lambda node, _: node.update(packed={"weight": shape}))
    with pytest.raises(
        GraphError, match=r"classifier: |classifier\.weight: expected packed weights of shape"
    ) as caught:
        load_graph(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_other_damage(tmp_path: Path) -> None:
    path = _path(tmp_path)
    _edit(path, lambda node, _: node.update(packed={"bias": [4]}))
    with pytest.raises(GraphError, match=r"classifier: unknown setting 'bias'"):
        load_graph(path)
    _edit(path, lambda node, _: node.update(packed=[3]))
    with pytest.raises(GraphError, match="malformed"):
        load_graph(path)
    _edit(path, lambda node, _: node.update(packed={"weight": [67, 64]}))
    load_graph(path)
    _edit(path, lambda _, tensors: tensors.update({"classifier.weight": np.zeros((67, 64), np.uint8)}))
    with pytest.raises(GraphError, match=r"classifier\.weight: expected packed weights"):
        load_graph(path)
    with pytest.raises(GraphError, match="past the end"):
        unpack(pack(np.ones(7, np.int8)) | np.uint8(128), [7])
