"""Memory in bits, by hand."""

from dataclasses import replace

import numpy as np

from isospike.graph import SpikingGraph
from isospike.metrics import measure_footprint
from tests.metrics.worked import build_worked


def test_bits_by_hand() -> None:
    found = measure_footprint(build_worked())
    assert found.weights == (1 + 36 + 300) * 2
    # 8 bits each: an offset, two thresholds and steps of 1 and of 4 channels, 3 biases
    assert found.parameters == found.weights + (1 + 2 + 8 + 3) * 8
    # membranes: 0 .. 255 and 0 .. 400 in 16 bits, 0 .. 36 in 8; counts up to 4 in 8
    assert found.state == 25 * 16 + 100 * 8 + 3 * 16 + (25 + 100) * 8


def test_weights_and_thresholds_that_need_more() -> None:
    graph = build_worked()
    hidden = graph["hidden"].arrays["weight"].astype(np.int8)
    hidden[0, 0, 0, 0] = 2
    nodes = {"hidden": replace(graph["hidden"], weight=hidden)}
    nodes["hidden.neuron"] = replace(graph["hidden.neuron"], threshold=np.array([1, 1, 1, 128]))
    wider = SpikingGraph(tuple(nodes.get(node.name, node) for node in graph), graph.t_max)
    plain, found = measure_footprint(graph), measure_footprint(wider)
    assert found.weights - plain.weights == 36 * 6
    assert found.parameters - found.weights - (plain.parameters - plain.weights) == 4 * 8  # 128 needs 9 bits, signed
