"""Memory in bits, by hand."""

from dataclasses import replace

import numpy as np

from isospike.graph import Convolution, CountingNeuron, Dense, Flatten, IntegrateAndFire, MaxPool, Readout, SpikingGraph
from isospike.metrics import measure_footprint
from tests.metrics.worked import build_worked
from tests.problems import chain, pixels, whole


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


def test_what_a_max_pool_has_received_is_as_wide_as_its_input() -> None:
    # pixels are -200 to 55, in 16 signed bits; what the tracker emits in 4 steps is -4 to 4
    pool, conv = MaxPool("pool", (), (2, 2), (2, 2), limit=1), Convolution("conv", (), whole([[[[-1]]]]))
    neuron = CountingNeuron("neuron", (), whole([1]), whole([1]), 0, 4, 1)
    end = [Flatten("flatten", ()), Dense("classifier", (), whole([[1]])), Readout("readout", (), whole([0]))]
    found = measure_footprint(chain(pixels(1, 2, 2, offset=200), pool, conv, neuron, *end, t_max=4))
    # membranes: -55 .. 200 in 16 bits and 0 .. 4 in 8; counts up to 4 in 8
    assert found.state == 4 * 16 + 8 + 16 + 8 + 8


def test_a_max_pool_of_rates() -> None:
    """Of spikes it tracks sums; of pixels it gives the same at every step, and keeps nothing."""
    neuron = IntegrateAndFire("neuron", (), threshold=whole([1]), initial=whole([0]))
    pool = MaxPool("pool", (), (2, 2), (2, 2), limit=1)
    for nodes, state in (((neuron, pool), 4 * 24 + (4 + 1) * 16), ((pool, neuron), 24)):
        flat = [Flatten("flatten", ()), Dense("classifier", (), whole([[1]])), Readout("readout", (), whole([0]))]
        graph = chain(pixels(1, 2, 2), *nodes, *flat, t_max=300)
        assert measure_footprint(graph).state == state + 16  # the classifier sums up to 300
