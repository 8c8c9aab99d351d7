"""Interval analysis: bounds that are tight on one layer, and hold on whatever a network does."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isospike.conversion import convert
from isospike.conversion.base import CountingConversion
from isospike.errors import GraphError
from isospike.graph import (
    Add,
    AveragePool,
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
    bound_membranes,
    bound_signals,
    count_membrane_bits,
    most_spikes,
)
from isospike.graph.intervals import Interval
from isospike.simulator import PROPAGATIONS, simulate
from isospike.simulator.linear import make_joint, make_linear
from tests.branched_graphs import branched_graphs
from tests.problems import PROBLEMS, chain, pixels, real, whole
from tests.random_networks import integer_graphs, random_images


def _neuron(name: str, channels: int, levels: int | None, limit: int = 1) -> CountingNeuron:
    return CountingNeuron(name, (), whole([1] * channels), whole([1] * channels), 0, levels, limit)


def _layer(weight: np.ndarray, levels: int | None = 2, t_max: int = 9, offset: int = 0) -> SpikingGraph:
    """Three pixels, one neuron each, then a dense layer of ``weight``."""
    return chain(
        pixels(1, 1, 3, offset=offset),
        Flatten("flatten", ()),
        Dense("encoder", (), whole(np.eye(3))),
        _neuron("encoder.neuron", 3, levels),
        Dense("hidden", (), weight),
        _neuron("hidden.neuron", len(weight), 4),
        Dense("classifier", (), whole(np.ones((1, len(weight))))),
        Readout("readout", (), whole([-3])),
        t_max=t_max,
    )


def test_bounds_by_hand() -> None:
    graph = _layer(whole([[1, -2, 3], [-1, -1, 0]]), offset=100)
    signals = bound_signals(graph, 9)
    found = {name: (each.low.tolist(), each.high.tolist(), each.magnitude.tolist()) for name, each in signals.items()}
    assert found["pixels"] == ([-100], [155], [155])
    assert found["encoder.neuron"] == ([0] * 3, [2] * 3, [2] * 3)
    assert found["hidden"] == ([-4, -4], [8, 0], [12, 4])
    # the bias may be read before any spike has come, and after all of them
    assert found["readout"] == ([-3], [8], [11])


@given(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=3), st.integers(1, 3))
def test_bounds_are_the_extremes_over_every_count(rows: list[list[int]], levels: int) -> None:
    bound = bound_signals(_layer(whole(rows), levels), 9)["hidden"]
    every = np.array(list(product(range(levels + 1), repeat=3)))
    currents = every @ np.array(rows).T
    assert bound.low.tolist() == currents.min(0).tolist()
    assert bound.high.tolist() == currents.max(0).tolist()


def test_counts_are_bounded_by_levels_and_by_time() -> None:
    assert most_spikes(_neuron("neuron", 1, 4, limit=1), 3) == 3
    assert most_spikes(_neuron("neuron", 1, 4, limit=2), 3) == 4
    assert most_spikes(_neuron("neuron", 1, None, limit=2), 3) == 6
    assert most_spikes(MaxPool("pool", (), (2, 2), (2, 2), limit=2), 3) == 6
    assert most_spikes(MaxPool("pool", (), (2, 2), (2, 2)), 3) is None


def test_without_the_cap_of_t_max_bounds_grow() -> None:
    bits = [count_membrane_bits(_layer(whole([[1, -1, 1]]), None, t_max))["hidden.neuron"] for t_max in (8, 300, 70000)]
    assert bits == [8, 16, 24]


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-2, 1, 2), (-128, 127, 8), (0, 128, 9), (-129, 0, 9), (-(2**31), 0, 32)],
)
def test_bits_of_twos_complement(low: int, high: int, bits: int) -> None:
    assert Interval(whole([low]), whole([high]), whole([0])).bits == bits


def test_containers() -> None:
    graph = _layer(whole([[20, -20, 1]]))  # -40 .. 42
    assert count_membrane_bits(graph) == {"encoder.neuron": 16, "hidden.neuron": 8, "readout": 8}
    for largest, container in ((2**6, 16), (2**14, 24), (2**22, 32), (2**30, 64)):
        # twice the largest weight is one more than the next smaller container holds
        assert count_membrane_bits(_layer(whole([[largest, 0, 0]])))["hidden.neuron"] == container
        smaller = {16: 8, 24: 16, 32: 24, 64: 32}[container]
        assert count_membrane_bits(_layer(whole([[-largest, 0, 0]])))["hidden.neuron"] == smaller
    floats = chain(
        pixels(1, 1, 1),
        Flatten("flatten", ()),
        Dense("encoder", (), real([[0.5]])),
        CountingNeuron("neuron", (), real([1]), real([1]), None, 4, 1),
        Dense("classifier", (), real([[1]])),
        Readout("readout", (), real([0])),
        t_max=4,
    )
    assert count_membrane_bits(floats) == {"neuron": None, "readout": None}


def test_pools_flatten_and_groups_by_hand() -> None:
    graph = chain(
        pixels(2, 2, 2),
        Convolution("encoder", (), whole([[[[1]]], [[[-1]]]]), groups=2),
        _neuron("encoder.neuron", 2, 3),
        AveragePool("pool", (), (2, 2), (1, 1)),
        Convolution("hidden", (), whole([[[[2]]], [[[-1]]]]), groups=2),
        _neuron("hidden.neuron", 2, 3),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1, -1]])),
        Readout("readout", (), whole([0])),
        t_max=2,
    )
    bounds = bound_signals(graph, 2)
    assert bounds["encoder"].high.tolist() == [255, 0]
    assert bounds["encoder"].low.tolist() == [0, -255]
    assert bounds["pool"].high.tolist() == [8, 8]
    assert (bounds["hidden"].low.tolist(), bounds["hidden"].high.tolist()) == ([0, -8], [16, 0])
    assert (bounds["readout"].low.tolist(), bounds["readout"].high.tolist()) == ([-2], [2])


def test_each_group_has_the_bounds_of_its_own_channels() -> None:
    picture = Input("pixels", (), (2, 1, 1), 1, whole([0, 200]))
    encoder = Convolution("encoder", (), whole([[[[1]]], [[[-1]]], [[[1]]], [[[2]]]]), groups=2)
    ends = Flatten("flatten", ()), Readout("readout", (), whole([0] * 4))
    bound = bound_signals(chain(picture, encoder, *ends, t_max=1), 1)["encoder"]
    assert bound.low.tolist() == [0, -255, -200, -400]
    assert bound.high.tolist() == [255, 0, 55, 110]
    assert bound.magnitude.tolist() == [255, 255, 200, 400]


def _apply(node: Node, incoming: list[torch.Tensor]) -> torch.Tensor:
    cpu = torch.device("cpu")
    if isinstance(node, Add | Concatenate):
        return make_joint(node, torch.int64, cpu)(incoming, [tuple(each.shape[1:]) for each in incoming])
    return make_linear(node, torch.int64, cpu)(incoming[0])


@given(st.one_of(integer_graphs(), branched_graphs()), st.sampled_from((1, 2, 5)), st.sampled_from(PROPAGATIONS))
@settings(max_examples=40)
def test_membranes_stay_inside_at_every_step(ann: SpikingGraph, limit: int, propagation: str) -> None:
    t_max = 6
    graph = CountingConversion(ann, t_max, limit).run()
    images = random_images(ann.input.shape, 4)
    bounds, membranes = bound_signals(graph, t_max), bound_membranes(graph)
    for steps in range(1, t_max + 1):
        run = simulate(graph, images, steps, propagation=propagation, keep_counts=True)
        signals = {graph.input.name: images.to(torch.int64) - torch.tensor(graph.input.offset).view(-1, 1, 1)}
        for node in graph:
            if node.name in run.counts:
                signals[node.name] = run.counts[node.name]
            elif not isinstance(node, Readout) and node.inputs:
                signals[node.name] = _apply(node, [signals[name] for name in node.inputs])
            if node.name in signals:
                flat = signals[node.name].transpose(0, 1).flatten(1).numpy()
                assert (flat.min(1) >= np.minimum(bounds[node.name].low, 0)).all()
                assert (flat.max(1) <= bounds[node.name].high).all()
                assert (abs(flat).max(1) <= bounds[node.name].magnitude).all()
        for neuron in graph.neurons:
            assert isinstance(neuron, CountingNeuron)
            potential = signals[neuron.inputs[0]].numpy() + (0 if neuron.start is None else neuron.start)
            flat = np.swapaxes(potential, 0, 1).reshape(potential.shape[1], -1)
            assert (flat.min(1) >= np.minimum(membranes[neuron.name].low, 0)).all()
            assert (flat.max(1) <= membranes[neuron.name].high).all()
        logits = run.logits[-1].numpy()
        assert (logits >= membranes["readout"].low).all()
        assert (logits <= membranes["readout"].high).all()


def test_sums_concatenations_and_starts_by_hand() -> None:
    # encoder counts 0..2 and 0..4; 3 a - b in -4..6 and -a + 2 b in -2..8
    neurons = replace(_neuron("neurons", 2, 9), inputs=("sum",), start=whole([5, -7]))
    graph = SpikingGraph(
        (
            pixels(1, 1, 2),
            Flatten("flatten", ("pixels",)),
            replace(_neuron("a", 2, 2), inputs=("flatten",)),
            replace(_neuron("b", 2, 4), inputs=("flatten",)),
            Add("sum", ("a", "b"), whole([[3, -1], [-1, 2]])),
            neurons,
            Concatenate("both", ("sum", "neurons")),
            Readout("readout", ("both",), whole([0, 0, 0, 1])),
        ),
        t_max=9,
    )
    signals, membranes = bound_signals(graph, 9), bound_membranes(graph)
    assert (signals["sum"].low.tolist(), signals["sum"].high.tolist()) == ([-4, -2], [6, 8])
    assert signals["sum"].magnitude.tolist() == [6 + 4, 2 + 8]
    assert (signals["both"].low.tolist(), signals["both"].high.tolist()) == ([-4, -2, 0, 0], [6, 8, 9, 9])
    assert (membranes["neurons"].low.tolist(), membranes["neurons"].high.tolist()) == ([1, -9], [11, 1])
    assert membranes["neurons"].magnitude.tolist() == [10 + 5, 10 + 7]


def test_captured_ann_is_refused() -> None:
    with pytest.raises(GraphError, match="got a captured ANN: convert it first"):
        bound_signals(PROBLEMS[0].ann, 4)


def test_every_problem_fits_its_container() -> None:
    for problem in PROBLEMS:
        graph = convert(problem.ann, "all-integer", t_max=8)
        for name, interval in bound_membranes(graph).items():
            bits = count_membrane_bits(graph)[name]
            assert bits is not None
            assert -(2 ** (bits - 1)) <= interval.low.min() <= interval.high.max() < 2 ** (bits - 1)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.int64])
def test_an_offset_of_any_type(kind: type) -> None:
    graph = _layer(np.ones((2, 3)), offset=100)
    (first, *others) = graph
    assert isinstance(first, Input)
    narrow = replace(first, offset=first.offset.astype(kind))
    bounds = bound_signals(SpikingGraph((narrow, *others), graph.t_max), 9)["pixels"]
    assert (bounds.low.tolist(), bounds.high.tolist(), bounds.magnitude.tolist()) == ([-100], [155], [155])


@pytest.mark.parametrize(("offset", "low", "high"), [(300, -300, 0), (-5, 0, 260)])
def test_padding_is_within_bounds_whatever_the_offset(offset: int, low: int, high: int) -> None:
    bounds = bound_signals(_layer(np.ones((2, 3)), offset=offset), 9)["pixels"]
    assert (bounds.low.tolist(), bounds.high.tolist()) == ([low], [high])


def test_sums_beyond_64_bits_are_refused() -> None:
    wide = np.full((2, 3), 2**60)
    with pytest.raises(GraphError, match="may need more than 64 bits"):
        bound_signals(_layer(wide), 9)
