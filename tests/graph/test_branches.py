"""Graphs with branches: sums, concatenations, rectifiers."""

from pathlib import Path

import numpy as np
import pytest

from isospike.errors import GraphError
from isospike.graph import (
    Add,
    Concatenate,
    Convolution,
    Flatten,
    Node,
    Readout,
    Rectifier,
    SpikingGraph,
    compare_graphs,
    load_graph,
    save_graph,
)
from tests.problems import pixels, real

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
