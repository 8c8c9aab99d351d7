"""Flipped bits and drifted thresholds: which, how many, and what they make of a number."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isospike.conversion import convert
from isospike.errors import GraphError
from isospike.graph import Convolution, CountingNeuron, Dense, IntegrateAndFire, SpikingGraph
from isospike.graph.damage import count_weight_bits, drift_thresholds, flip_weight_bits
from isospike.networks import Quantisation, build_network
from isospike.simulator import simulate
from tests.metrics.worked import build_worked
from tests.problems import chain, image, pixels, whole


def build_bytes(*weights: int) -> SpikingGraph:
    """Weights of one byte each."""
    graph = build_worked()
    dense = replace(graph["classifier"], weight=np.resize(np.array(weights, dtype=np.int8), (3, 100)))
    small = {"encoder": np.ones((1, 1, 1, 1), np.int8), "hidden": np.ones((4, 1, 3, 3), np.int8)}
    nodes = {"classifier": dense, **{name: replace(graph[name], weight=weight) for name, weight in small.items()}}
    return SpikingGraph(tuple(nodes.get(node.name, node) for node in graph), graph.t_max)


def build_packed() -> SpikingGraph:
    """A layer of 8,192 ternary weights, which the file packs: 4096 / 3 each of -1, 0 and 1."""
    weight = (np.arange(8192) % 3 - 1).astype(np.int8).reshape(2, 4096)
    classifier = Dense("classifier", (), weight)
    nodes = [node for node in build_worked() if node.name in ("pixels", "flatten", "readout")]
    neuron = CountingNeuron("neuron", (), whole([1] * 4096), whole([1] * 4096), 0, 4, 1)
    encoder = Dense("encoder", (), np.full((4096, 25), 5, np.int8))
    readout = replace(nodes[2], bias=whole([0, 0]))
    return chain(pixels(1, 5, 5), nodes[1], encoder, neuron, classifier, readout, t_max=4)


def count_changed_bits(graph: SpikingGraph, damaged: SpikingGraph) -> int:
    total = 0
    for one, other in zip(graph.synapses, damaged.synapses, strict=True):
        assert one.arrays["weight"].dtype == other.arrays["weight"].dtype
        width = count_weight_bits(one.arrays["weight"])
        changed = one.arrays["weight"].view(np.uint8) ^ other.arrays["weight"].view(np.uint8)
        total += int(np.unpackbits(changed & ((1 << width) - 1)).sum())
    return total


def test_all_bits_of_a_byte_inverted() -> None:
    damaged = flip_weight_bits(build_bytes(0, 1, -1, 127, -128), 1, 0)
    # two's complement: ~w = -1 - w
    assert damaged["classifier"].arrays["weight"].ravel()[:5].tolist() == [-1, -2, 0, -128, 127]


def test_all_bits_of_packed_weights_inverted() -> None:
    graph = build_packed()
    assert count_weight_bits(graph["classifier"].arrays["weight"]) == 2
    damaged = flip_weight_bits(graph, 1, 0)["classifier"].arrays["weight"]
    # 11 -> 00, 00 -> 11, 01 -> 10, which is -2
    assert damaged.ravel()[:6].tolist() == [0, -1, -2, 0, -1, -2]
    assert damaged.dtype == np.int8


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.3])
def test_exactly_so_many_bits_flip(share: float) -> None:
    for graph, bits in ((build_bytes(1, -7), (1 + 36 + 300) * 8), (build_packed(), 4096 * 25 * 8 + 8192 * 2)):
        assert count_changed_bits(graph, flip_weight_bits(graph, share, 5)) == round(share * bits)


def test_more_flips_include_fewer_and_seeds_differ() -> None:
    graph = build_bytes(3)
    few, many = (flip_weight_bits(graph, share, 1)["classifier"].arrays["weight"] for share in (0.05, 0.2))
    plain = graph["classifier"].arrays["weight"]
    assert not ((few ^ plain) & ~(many ^ plain)).any()
    other = flip_weight_bits(graph, 0.05, 2)["classifier"].arrays["weight"]
    assert not np.array_equal(few, other)


def test_the_graph_itself_stays_and_the_damaged_one_runs() -> None:
    graph = build_bytes(3)
    before = [node.arrays["weight"].copy() for node in graph.synapses]
    damaged = flip_weight_bits(graph, 0.1, 1)
    assert all(np.array_equal(a, node.arrays["weight"]) for a, node in zip(before, graph.synapses, strict=True))
    pictures = torch.randint(0, 256, (3, 1, 5, 5), dtype=torch.uint8)
    torch.testing.assert_close(simulate(damaged, pictures).logits, simulate(damaged, pictures, engine="torch").logits)


def _build_neuron() -> SpikingGraph:
    channels = 200
    neuron = CountingNeuron("neuron", (), whole([1000] * channels), whole([4] * channels), 3, 4, 1)
    return chain(
        pixels(1, 1, 1),
        Convolution("encoder", (), np.ones((channels, 1, 1, 1), np.int8)),
        neuron,
        *[replace(node, bias=whole([0])) if node.name == "readout" else node for node in _tail(channels)],
        t_max=4,
    )


def _tail(channels: int) -> list:
    graph = build_worked()
    return [graph["flatten"], Dense("classifier", (), np.ones((1, channels), np.int8)), graph["readout"]]


def test_thresholds_and_steps_of_a_channel_drift_together() -> None:
    graph = _build_neuron()
    node = drift_thresholds(graph, 0.1, 4)["neuron"].arrays
    factor = np.exp(0.1 * np.random.default_rng(4).standard_normal(200))
    assert np.abs(node["threshold"] - 1000 * factor).max() <= 0.5
    assert np.abs(node["step"] - 4 * factor).max() <= 0.5
    logarithms = np.log(node["threshold"] / 1000)
    assert abs(logarithms.std() - 0.1) < 4 * 0.1 / 400**0.5
    assert node["threshold"].dtype == np.int64
    twice = np.log(drift_thresholds(graph, 0.2, 4)["neuron"].arrays["threshold"] / 1000)
    assert np.abs(twice - 2 * logarithms).max() < 0.003


def test_no_drift_changes_nothing_and_a_huge_one_leaves_steps_of_one() -> None:
    graph = _build_neuron()
    same = drift_thresholds(graph, 0, 4)["neuron"].arrays
    assert all(np.array_equal(same[name], array) for name, array in graph["neuron"].arrays.items())
    assert drift_thresholds(graph, 20, 4)["neuron"].arrays["step"].min() == 1


def test_tables_drift_whole() -> None:
    graph = _build_neuron()
    table = np.tile(np.array([100, 250, 1000]), (200, 1))
    node = replace(graph["neuron"], threshold=table, step=None, levels=3, fraction_bits=0)
    with_table = SpikingGraph(tuple(node if n.name == "neuron" else n for n in graph), 4)
    found = drift_thresholds(with_table, 0.3, 1)["neuron"].arrays["threshold"]
    factor = np.exp(0.3 * np.random.default_rng(1).standard_normal(200))
    assert np.abs(found - factor[:, None] * table).max() <= 0.5
    assert (np.diff(found, axis=1) >= 0).all()


def test_integrate_and_fire_neurons_drift_too() -> None:
    torch.manual_seed(0)
    network = build_network("4C3", (1, 8, 8), 3, Quantisation(levels="qcfs", count=4, threshold=2.0)).eval()
    graph = convert(network, "signed-if", margin=0.5)
    neuron = graph.neurons[0]
    assert isinstance(neuron, IntegrateAndFire)
    assert neuron.lower is not None
    drifted = drift_thresholds(graph, 0.2, 7).neurons[0]
    factor = np.exp(0.2 * np.random.default_rng(7).standard_normal(4))
    assert isinstance(drifted, IntegrateAndFire)
    assert np.allclose(drifted.threshold, neuron.threshold * factor)
    assert np.allclose(drifted.lower, neuron.lower * factor)
    assert np.array_equal(drifted.initial, neuron.initial)


def test_what_is_refused() -> None:
    network = build_network("4C3", (1, 8, 8), 3, Quantisation(k=1, bound=2)).eval()
    with pytest.raises(GraphError, match="bits of integer weights flip, got floats"):
        flip_weight_bits(convert(network, "negative-spike"), 0.1, 0)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(GraphError, match="flip_weight_bits: expected a number from 0 to 1"):
            flip_weight_bits(build_bytes(1), share, 0)
    for deviation in (-0.1, 101, float("inf"), float("nan")):
        with pytest.raises(GraphError, match="drift_thresholds: expected a number from 0 to 100"):
            drift_thresholds(build_bytes(1), deviation, 0)


def test_a_flipped_sign_bit_changes_the_logit() -> None:
    graph = chain(
        pixels(1, 1, 1),
        build_worked()["flatten"],
        Dense("encoder", (), np.array([[1]], np.int8)),
        CountingNeuron("neuron", (), whole([1]), whole([1]), 0, 4, 1),
        Dense("classifier", (), np.array([[5]], np.int8)),
        replace(build_worked()["readout"], bias=whole([0])),
        t_max=4,
    )
    all_flipped = flip_weight_bits(graph, 1, 0)  # 1 becomes -2, so nothing fires
    assert simulate(graph, image([[2]])).logits[-1].item() == 10
    assert simulate(all_flipped, image([[2]])).logits[-1].item() == 0
