"""Graphs with branches: sums, concatenations, rectifiers."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isospike.errors import GraphError
from isospike.graph import (
    Activation,
    Add,
    Concatenate,
    Convolution,
    CountingNeuron,
    Flatten,
    MaxPool,
    Node,
    Readout,
    Rectifier,
    SpikingGraph,
    compare_graphs,
    load_graph,
    save_graph,
)
from tests.problems import pixels, real, whole

MAP = Convolution("map", ("pixels",), real(np.ones((2, 1, 3, 3))), padding=(1, 1))
SMALL = Convolution("small", ("pixels",), real(np.ones((2, 1, 3, 3))))


def _branches(*nodes: Node, t_max: int | None = None) -> SpikingGraph:
    last = nodes[-1].name
    size = {"add": 32, "join": 64}.get(last, 32)
    ends = (Flatten("flatten", (last,)), Readout("readout", ("flatten",), np.zeros(size)))
    return SpikingGraph((pixels(1, 4, 4), MAP, SMALL, *nodes, *ends), t_max)


def test_shapes_and_storage(tmp_path: Path) -> None:
    graph = _branches(
        Rectifier("relu", ("map",), 6.0), Add("add", ("map", "relu", "map")), Concatenate("join", ("add", "relu"))
    )
    assert (graph.shapes["relu"], graph.shapes["add"], graph.shapes["join"]) == ((2, 4, 4), (2, 4, 4), (4, 4, 4))
    save_graph(graph, tmp_path / "graph.safetensors")
    read = load_graph(tmp_path / "graph.safetensors")
    assert compare_graphs(graph, read) == []
    assert read["add"].inputs == ("map", "relu", "map")
    assert read["relu"].settings == {"ceiling": 6.0}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Add("add", ("map", "small")), r"add: expected branches of one shape, got \(2, 4, 4\), \(2, 2, 2\): check"),
        (Add("add", ("map",)), "add: expected at least 2 inputs, got 1"),
        (Add("add", ("map", "nowhere")), "add: its input 'nowhere' does not come before it"),
        (Concatenate("join", ("map", "small")), "join: expected branches of one height and width, got"),
        (Rectifier("relu", ("map",), 0.0), "relu: expected a ceiling above 0, or None for none, got 0.0"),
        (Rectifier("relu", ("map", "map")), r"relu: expected 1 input\(s\), got 2"),
    ],
)
def test_what_does_not_fit_is_refused(node: Node, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        _branches(node)


def test_rectifiers_do_not_spike() -> None:
    with pytest.raises(GraphError, match="relu: a Rectifier does not occur in a spiking graph"):
        _branches(Rectifier("relu", ("map",)), t_max=4)


def _counting(*nodes: Node, t_max: int | None = 4) -> SpikingGraph:
    ends = (Flatten("flatten", (nodes[-1].name,)), Readout("readout", ("flatten",), whole(np.zeros(16))))
    return SpikingGraph((pixels(1, 4, 4), *nodes, *ends), t_max)


def _neuron(**changes: Any) -> CountingNeuron:
    neuron = CountingNeuron("neuron", ("pixels",), whole([1]), whole([1]), 0, 4, 1)
    return replace(neuron, **changes)


def _levels(ratios: list[float]) -> Activation:
    return Activation("levels", ("pixels",), Fraction(1), 4, real(ratios))


def test_one_input_is_enough_for_gains() -> None:
    graph = _counting(Add("sum", ("pixels",), whole([[-3]])), _neuron(inputs=("sum",)))
    assert graph.shapes["sum"] == (1, 4, 4)


@pytest.mark.parametrize(
    ("nodes", "t_max", "message"),
    [
        ([Add("sum", ("pixels", "pixels"), whole([[1, 1]]))], 4, r"sum.gains: expected one row for each of 2 inputs"),
        ([Add("sum", ("pixels",))], 4, "sum: expected at least 2 inputs, got 1"),
        ([Add("sum", ("pixels",), whole([[2]]))], None, "sum: gains belong to the sums of a spiking graph"),
        ([_neuron(start=whole(np.ones((1, 4))))], 4, r"neuron.start: expected one potential for each .*\(1, 4, 4\)"),
        ([_neuron(start=real(np.ones((1, 4, 4))))], 4, "neuron.start: expected the numbers of its thresholds"),
        ([_neuron(start=real(np.full((1, 4, 4), np.nan)))], 4, "neuron.start: holds NaN"),
        (
            [_neuron(), MaxPool("pool", ("neuron",), (1, 1), (1, 1), limit=1, signs=whole([0]))],
            4,
            r"pool.signs: expected 1 or -1 per channel",
        ),
        (
            [_neuron(), MaxPool("pool", ("neuron",), (1, 1), (1, 1), limit=1, signs=whole([1, 1]))],
            4,
            r"pool.signs: expected one entry for each of 1 channels",
        ),
        ([_levels([0.0])], None, "levels.ratios: expected ratios above 0"),
        ([_levels([1.0, 1.0])], None, "levels.ratios: expected one entry for"),
    ],
)
def test_gains_starts_signs_and_ratios_that_do_not_fit(nodes: list[Node], t_max: int | None, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        _counting(*nodes, t_max=t_max)
