"""Synaptic operations and MACs: by hand, and against loops over every spike and every kernel position."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isospike.conversion import convert
from isospike.conversion.base import CountingConversion
from isospike.graph import (
    Add,
    AveragePool,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.graph.shapes import infer_shape
from isospike.metrics import count_macs, list_working_layers, measure_reach
from isospike.networks import Network, build_network, capture
from isospike.simulator import PROPAGATIONS, simulate
from tests.branched_graphs import branched_graphs
from tests.oracle import count_synapses, places
from tests.problems import chain, levels, pixels, real, whole
from tests.random_networks import integer_graphs, networks, random_images


def _neuron(name: str, channels: int) -> CountingNeuron:
    return CountingNeuron(name, (), whole([1] * channels), whole([1] * channels), 0, 4, 1)


def _map_network(height: int, width: int, *between: Node, channels: int = 1) -> SpikingGraph:
    """An encoder of one neuron per pixel, then some nodes, a neuron layer if they end in synapses, and a classifier."""
    nodes: list[Node] = [
        pixels(channels, height, width),
        Convolution("encoder", (), whole(np.ones((channels, 1, 1, 1))), groups=channels),
        _neuron("encoder.neuron", channels),
        *between,
    ]
    if isinstance(nodes[-1], Convolution):
        nodes.append(_neuron("hidden.neuron", len(nodes[-1].weight)))
    shape: tuple[int, ...] = ()
    for node in (*nodes, Flatten("flatten", ())):
        shape = infer_shape(node, [shape])
    classifier = Dense("classifier", (), whole(np.ones((3, shape[0]))))
    return chain(*nodes, Flatten("flatten", ()), classifier, Readout("readout", (), whole([0, 0, 0])), t_max=4)


def _ones(out: int, per_group: int, height: int, width: int) -> np.ndarray:
    return whole(np.ones((out, per_group, height, width)))


def test_worked_example_of_design() -> None:
    """3x3, same padding, 4 output channels, a 5x5 input: a corner reaches 4 positions, the middle 9."""
    graph = _map_network(5, 5, Convolution("hidden", (), _ones(4, 1, 3, 3), padding=(1, 1)))
    reach = measure_reach(graph)[0]
    assert (reach.layer, reach.source) == ("hidden", "encoder.neuron")
    assert reach.synapses[0, 0] == 16
    assert reach.synapses[2, 2] == 36
    spikes = np.zeros((5, 5), dtype=np.int64)
    spikes[0, 0], spikes[2, 2] = 1, -1
    assert int((abs(spikes) * reach.synapses).sum()) == 52
    picture = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    picture[0, 0, 0, 0] = picture[0, 0, 2, 2] = 1
    assert int(simulate(graph, picture).sops["hidden"].sum()) == 52


def test_zero_weights_count() -> None:
    graph = _map_network(5, 5, Convolution("hidden", (), 0 * _ones(4, 1, 3, 3), padding=(1, 1)))
    assert measure_reach(graph)[0].synapses[2, 2] == 36


def test_stride_and_border_by_hand() -> None:
    # 4 positions, stride 2, padding 1, kernel 3: windows over -1..1 and 1..3, so 1 2 1 1 times; 2 output channels
    graph = _map_network(4, 4, Convolution("hidden", (), _ones(2, 1, 3, 3), stride=(2, 2), padding=(1, 1)))
    once = np.array([1, 2, 1, 1])
    assert measure_reach(graph)[0].synapses.tolist() == (2 * np.outer(once, once)).tolist()
    # without padding the only window is 0..2, and the last row and column reach nothing
    graph = _map_network(4, 4, Convolution("hidden", (), _ones(2, 1, 3, 3), stride=(2, 2)))
    once = np.array([1, 1, 1, 0])
    assert measure_reach(graph)[0].synapses.tolist() == (2 * np.outer(once, once)).tolist()


def test_groups_and_dilation_by_hand() -> None:
    # each spike reaches its own group's 3 of 6 output channels; taps at 0, 2, 4 of width 5, then 1..5 of width 6
    convolution = Convolution("hidden", (), _ones(6, 1, 1, 3), dilation=(1, 2), groups=2)
    graph = _map_network(1, 6, convolution, channels=2)
    assert measure_reach(graph)[0].synapses.tolist() == [[3, 3, 3, 3, 3, 3]]
    graph = _map_network(1, 5, convolution, channels=2)
    assert measure_reach(graph)[0].synapses.tolist() == [[3, 0, 3, 0, 3]]


def test_average_pool_spreads_a_spike_over_its_windows() -> None:
    # windows 0..1, 1..2, 2..3 of length 4, each read by a 2-tap kernel: pooled positions 1 2 1 times, so 1 3 3 1
    between = (AveragePool("pool", (), (1, 2), (1, 1)), Convolution("hidden", (), _ones(5, 1, 1, 2)))
    reach = measure_reach(_map_network(1, 4, *between))[0]
    assert (reach.layer, reach.source) == ("hidden", "encoder.neuron")
    assert reach.synapses.tolist() == [[5, 15, 15, 5]]


def test_max_pool_is_a_source_of_its_own() -> None:
    between = (MaxPool("pool", (), (2, 2), (2, 2), limit=1), Convolution("hidden", (), _ones(2, 1, 2, 2)))
    graph = _map_network(4, 4, *between)
    assert [(each.layer, each.source) for each in measure_reach(graph)] == [
        ("hidden", "pool"),
        ("classifier", "hidden.neuron"),
    ]
    assert measure_reach(graph)[0].synapses.tolist() == [[2, 2], [2, 2]]


def test_dense_layers_by_hand() -> None:
    graph = _map_network(2, 3)
    (reach,) = measure_reach(graph)
    assert (reach.layer, reach.source, reach.synapses.tolist()) == ("classifier", "encoder.neuron", [[3] * 3] * 2)
    flat = chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("encoder", (), whole(np.eye(2))),
        _neuron("encoder.neuron", 2),
        Dense("hidden", (), whole(np.ones((7, 2)))),
        _neuron("hidden.neuron", 7),
        Dense("classifier", (), whole(np.ones((3, 7)))),
        Readout("readout", (), whole([0, 0, 0])),
        t_max=4,
    )
    assert [each.synapses.tolist() for each in measure_reach(flat)] == [7, 3]


def _count_by_loops(graph: SpikingGraph, images: torch.Tensor, propagation: str) -> dict[str, torch.Tensor]:
    """SOPs by layer, int64 (time, batch): every spike of every step looked up by itself, in all layers that any spike
    could reach."""
    steps = graph.t_max or 0
    known = {
        (node.name, place): count_synapses(graph, node.name, place)
        for node in graph.spiking
        for place in places(graph.shapes[node.name])
    }
    total = {name: torch.zeros(steps, len(images), dtype=torch.int64) for reached in known.values() for name in reached}
    delay = PROPAGATIONS.index(propagation)
    before: dict[str, torch.Tensor] = {}
    for step in range(steps):
        counts = simulate(graph, images, step + 1, propagation=propagation, keep_counts=True, dtype="int64").counts
        for name, now in counts.items():
            spikes = abs(now - before.get(name, torch.zeros_like(now)))
            for place in places(graph.shapes[name]):
                for layer, synapses in known[name, place].items():
                    if step + delay < steps:
                        total[layer][step + delay] += spikes[(slice(None), *place)] * synapses
        before = counts
    return total


@given(integer_graphs(), st.sampled_from((1, 2)), st.sampled_from(PROPAGATIONS))
@settings(max_examples=25)
def test_sops_equal_a_count_by_loops(ann: SpikingGraph, limit: int, propagation: str) -> None:
    graph = CountingConversion(ann, 5, limit).run()
    images = random_images(ann.input.shape, 3)
    run = simulate(graph, images, propagation=propagation)
    expected = _count_by_loops(graph, images, propagation)
    assert run.sops.keys() == expected.keys()
    for layer, sops in expected.items():
        assert run.sops[layer].tolist() == sops.tolist(), layer


@given(networks(weights=("ternary",), ends=("int8",)))
@settings(max_examples=8)
def test_sops_of_networks_equal_a_count_by_loops(model: Network) -> None:
    graph = convert(model, "all-integer", t_max=4)
    images = random_images(graph.input.shape, 2)
    run, expected = simulate(graph, images), _count_by_loops(graph, images, "within-step")
    assert run.sops.keys() == expected.keys()
    assert all(torch.equal(run.sops[layer], expected[layer]) for layer in expected)


@given(branched_graphs(most=6), st.sampled_from(PROPAGATIONS))
@settings(max_examples=25)
def test_sops_of_branches_equal_a_count_by_loops(ann: SpikingGraph, propagation: str) -> None:
    """Shortcuts, concatenations, synapses behind synapses."""
    graph = convert(ann, "counting", t_max=3)
    images = random_images(ann.input.shape, 2)
    run, expected = simulate(graph, images, propagation=propagation), _count_by_loops(graph, images, propagation)
    assert run.sops.keys() == expected.keys()
    for layer, sops in expected.items():
        assert run.sops[layer].tolist() == sops.tolist(), layer


def test_a_shortcut_costs_one_operation_per_spike_and_neuron() -> None:
    # the encoder's spikes go to a 3x3 convolution of 2 channels and, through no synapses, to the sum behind it
    nodes = (
        pixels(1, 3, 3),
        Convolution("encoder", ("pixels",), _ones(2, 1, 1, 1)),
        replace(_neuron("encoder.neuron", 2), inputs=("encoder",)),
        Convolution("branch", ("encoder.neuron",), _ones(2, 2, 3, 3), padding=(1, 1)),
        Add("sum", ("branch", "encoder.neuron"), whole([[1, 1], [4, 4]])),
        replace(_neuron("neuron", 2), inputs=("sum",)),
        Flatten("flatten", ("neuron",)),
        Dense("classifier", ("flatten",), whole(np.ones((3, 18)))),
        Readout("readout", ("classifier",), whole([0, 0, 0])),
    )
    graph = SpikingGraph(nodes, 4)
    found = {(each.layer, each.source): each.synapses.tolist() for each in measure_reach(graph)}
    once = np.outer([2, 3, 2], [2, 3, 2])
    assert found == {
        ("branch", "encoder.neuron"): (2 * once).tolist(),
        ("sum", "encoder.neuron"): np.ones((3, 3)).tolist(),
        ("classifier", "neuron"): (3 * np.ones((3, 3))).tolist(),
    }
    assert list_working_layers(graph) == ["branch", "sum", "classifier"]
    assert list_working_layers(graph, classifier=False) == ["branch", "sum"]
    assert count_macs(graph) == 9 * 9 * 2 * 2  # the sum multiplies nothing


def test_macs_by_hand() -> None:
    # hidden: 2x2 positions * 3x3 kernel * 2 / 2 channels * 4 filters; dense: 16 * 5; the ends do not count
    ann = chain(
        pixels(2, 4, 4),
        Convolution("encoder", (), _ones(2, 2, 3, 3), padding=(1, 1)),
        levels("encoder.neuron", 4),
        Convolution("hidden", (), _ones(4, 1, 3, 3), stride=(2, 2), padding=(1, 1), groups=2),
        levels("hidden.neuron", 4),
        Flatten("flatten", ()),
        Dense("dense", (), whole(np.ones((5, 16)))),
        levels("dense.neuron", 4),
        Dense("classifier", (), whole(np.ones((3, 5)))),
        Readout("readout", (), real([0, 0, 0])),
    )
    assert count_macs(ann) == 4 * 9 * 1 * 4 + 16 * 5
    assert count_macs(convert(ann, "all-integer")) == count_macs(ann)


@pytest.mark.parametrize(
    ("notation", "padding", "macs"),
    [
        # the published MNIST network, 28x28: P2 24 -> 12, C5 8, P2 4, and 4 * 4 * 64 features
        ("32C5-P2-64C5-P2-1000", "valid", 144 * 4 * 32 * 32 + 64 * 25 * 32 * 64 + 16 * 4 * 64 * 64 + 1024 * 1000),
        ("400-400", "valid", 400 * 400),
        ("16C5(same)-16C5", "valid", 24 * 24 * 25 * 16 * 16),
    ],
)
def test_macs_of_published_networks(notation: str, padding: str, macs: int) -> None:
    assert count_macs(capture(build_network(notation, (1, 28, 28), 10, padding=padding))) == macs
