"""Networks whose pixels go another way than through one layer: what is the encoder's, and what its spikes cost."""

import numpy as np
import pytest
import torch

from isospike import engine
from isospike.experiment.costs import summarise_energy
from isospike.experiment.summaries import Counting, collect_logs, summarise_layers
from isospike.experiment.tallies import tally
from isospike.graph import (
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    IntegrateAndFire,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.metrics import (
    count_macs,
    list_encoders,
    list_encoding_layers,
    list_working_layers,
    measure_pixel_macs,
)
from isospike.simulator import Simulation, simulate
from tests.metrics.worked import IMAGE
from tests.problems import chain, pixels, whole

STEPS = 4


def _neuron(name: str, channels: int) -> CountingNeuron:
    return CountingNeuron(name, (), whole([1] * channels), whole([1] * channels), 0, 4, 1)


def _convolve(name: str, out: int, channels: int, size: int) -> Convolution:
    return Convolution(name, (), whole(np.ones((out, channels, size, size))), padding=(size // 2, size // 2))


def _end(features: int) -> list[Node]:
    classifier = Dense("classifier", (), whole(np.ones((3, features))))
    return [Flatten("flatten", ()), classifier, Readout("readout", (), whole([0, 0, 0]))]


def build_stem(neurons: bool) -> SpikingGraph:
    """Two convolutions on 5x5 pixels, of 1 and 2 channels, joined; neurons after each or after the join; a hidden
    layer of 4 channels."""
    one, other = _convolve("one", 1, 1, 1), _convolve("other", 2, 1, 3)
    if neurons:
        stem: list[Node] = [one, _neuron("one.neuron", 1), other, _neuron("other.neuron", 2), Concatenate("stem", ())]
    else:
        stem = [one, other, Concatenate("stem", ()), _neuron("stem.neuron", 3)]
    hidden = [_convolve("hidden", 4, 3, 3), _neuron("neuron", 4)]
    ends = ("one.neuron", "other.neuron") if neurons else ("one", "other")
    joints = {"other": ("pixels",), "stem": ends}
    return chain(pixels(1, 5, 5), *stem, *hidden, *_end(100), t_max=STEPS, joints=joints)


@pytest.mark.parametrize("neurons", [False, True])
def test_all_layers_on_the_pixels_are_the_encoders(neurons: bool) -> None:
    graph = build_stem(neurons)
    assert list_encoding_layers(graph) == ["one", "other"]
    assert list_working_layers(graph) == ["hidden", "classifier"]
    assert list_encoders(graph) == (["one.neuron", "other.neuron"] if neurons else ["stem.neuron"])
    assert measure_pixel_macs(graph) == {"one": 25, "other": 25 * 9 * 2}
    assert count_macs(graph) == 25 * 9 * 3 * 4
    assert count_macs(graph, classifier=True) == 25 * 9 * 3 * 4 + 100 * 3


def test_layers_without_an_activation_between_are_the_encoders() -> None:
    between = [_convolve("one", 2, 1, 3), _convolve("other", 3, 2, 1), _neuron("neuron", 3)]
    graph = chain(pixels(1, 5, 5), *between, *_end(75), t_max=STEPS)
    assert list_encoding_layers(graph) == ["one", "other"]
    assert list_working_layers(graph) == ["classifier"]
    assert count_macs(graph) == 0


def run(graph: SpikingGraph, **options: float) -> Simulation:
    """The image of two pixels of 1, in both simulators where there are two."""
    found = simulate(graph, IMAGE, STEPS, engine="torch", **options)  # type: ignore[arg-type]
    if engine.is_available() and not options and not graph.is_rate_coded:
        other = simulate(graph, IMAGE, STEPS, engine="cpp")
        assert other.sops.keys() == found.sops.keys()
        assert all(torch.equal(other.sops[name], sops) for name, sops in found.sops.items())
    return found


@pytest.mark.parametrize("neurons", [False, True])
def test_energy_spikes_and_rows_of_a_stem(neurons: bool) -> None:
    graph = build_stem(neurons)
    simulation = run(graph)
    tallies = [tally(simulation, torch.zeros(1, dtype=torch.int64), 1)]
    energy = summarise_energy(graph, tallies)
    assert energy["network"]["encoder_macs"] == 25 + 450
    assert energy["network"]["macs"] == 25 + 450 + 2700 + 300
    assert energy["hidden"]["macs"] == 2700
    work = {name: int(sops.sum()) for name, sops in simulation.sops.items()}
    # two pixels: one spike each in the first map; 12 positions see a pixel in each of the others, one of them both
    assert work["hidden"] == ((4 + 9) + 2 * sum(_reach(row, column) for row, column in _seen())) * 4
    assert energy["hidden"]["sops"][-1] == work["hidden"]
    spent = 475 * 4.6 + (work["hidden"] + work["classifier"]) * 0.9
    assert energy["network"]["float32"]["snn"][-1] == pytest.approx(spent)
    bits = energy["equal_bits"]
    assert bits["ann"][0] == pytest.approx(2700 * (0.2 * bits["activation_bits"][0] * 2 / 64 + 0.03))
    rows = [(row["name"], row["sops"] is None) for row in summarise_layers(graph, tallies)]
    assert rows == [("one", True), ("other", True), ("hidden", False), ("classifier", False)]
    fired = {name: int(spikes.sum()) for name, spikes in simulation.positive.items()}
    encoders = sum(fired[name] for name in list_encoders(graph))
    for count_encoder in (False, True):
        logs = collect_logs(graph, tallies, 1, Counting(count_encoder=count_encoder))
        spikes = logs.mean_per_image("spike_num")
        assert spikes is not None
        assert spikes[-1] == fired["neuron"] + encoders * count_encoder


def _seen() -> list[tuple[int, int]]:
    """Where a 3x3 window sees the corner, and where it sees the middle."""
    return [(row, column) for row in (0, 1) for column in (0, 1)] + [(r, c) for r in (1, 2, 3) for c in (1, 2, 3)]


def _reach(row: int, column: int) -> int:
    """Positions of a 3x3 same-padded kernel over 5x5 that a spike reaches."""
    along = [2, 3, 3, 3, 2]
    return along[row] * along[column]


@pytest.mark.parametrize("propagation", ["within-step", "layer-per-step"])
def test_a_lossy_encoder_loses_the_spikes_of_all_its_branches(propagation: str) -> None:
    graph = build_stem(neurons=True)
    lossy = simulate(graph, IMAGE, STEPS, encoder_drop=1.0, propagation=propagation)
    assert lossy.positive["other.neuron"].sum() > 0
    assert lossy.sops["hidden"].sum() == 0
    assert lossy.positive["neuron"].sum() == 0


def _on_pixels(first: Node) -> SpikingGraph:
    hidden = [_convolve("first", 4, 1, 3), _neuron("neuron", 4)]
    return chain(pixels(1, 5, 5), first, *hidden, *_end(100), t_max=STEPS)


@pytest.mark.parametrize("first", [_neuron("encoder", 1), MaxPool("encoder", (), (1, 1), (1, 1), limit=1)])
def test_spikes_of_what_sits_on_the_pixels_cost_operations_of_the_first_layer(first: Node) -> None:
    graph = _on_pixels(first)
    assert list_encoding_layers(graph) == []
    assert list_encoders(graph) == ["encoder"]
    assert list_working_layers(graph) == ["first", "classifier"]
    assert count_macs(graph) == 25 * 9 * 4
    assert measure_pixel_macs(graph) == {}
    simulation = run(graph)
    assert int(simulation.sops["first"].sum()) == (4 + 9) * 4
    tallies = [tally(simulation, torch.zeros(1, dtype=torch.int64), 1)]
    energy = summarise_energy(graph, tallies)
    assert energy["network"]["encoder_macs"] == 0
    assert energy["hidden"]["sops"][-1] == 52
    assert [row["name"] for row in summarise_layers(graph, tallies)] == ["first", "classifier"]
    assert run(graph, encoder_drop=1.0).sops["first"].sum() == 0


def test_a_max_pool_of_pixels_in_a_rate_coded_network_is_constant() -> None:
    pool = MaxPool("pool", (), (1, 1), (1, 1), limit=1)
    neuron = IntegrateAndFire("neuron", (), threshold=whole([2] * 4), initial=whole([0] * 4))
    graph = chain(pixels(1, 5, 5), pool, _convolve("first", 4, 1, 3), neuron, *_end(100), t_max=STEPS)
    assert list_encoding_layers(graph) == ["first"]
    assert list_encoders(graph) == ["neuron"]
    assert list_working_layers(graph) == ["classifier"]
    assert measure_pixel_macs(graph) == {"first": 25 * 9 * 4}
    simulation = run(graph)
    assert int(simulation.positive["pool"].sum()) == 0
    assert list(simulation.sops) == ["classifier"]


def test_pixels_beside_spikes_are_multiplied_and_the_spikes_counted() -> None:
    """The pixels once more, beside the spikes of 2 channels: a third of the next layer's MACs are theirs."""
    nodes = [_convolve("first", 2, 1, 3), _neuron("first.neuron", 2), Concatenate("both", ())]
    hidden = [_convolve("hidden", 4, 3, 3), _neuron("neuron", 4)]
    joints = {"both": ("pixels", "first.neuron")}
    graph = chain(pixels(1, 5, 5), *nodes, *hidden, *_end(100), t_max=STEPS, joints=joints)
    assert list_encoding_layers(graph) == ["first"]
    assert list_encoders(graph) == ["first.neuron"]
    assert list_working_layers(graph) == ["hidden", "classifier"]
    assert measure_pixel_macs(graph) == {"first": 25 * 9 * 2, "hidden": 25 * 9 * 4}
    assert count_macs(graph) == 25 * 9 * 2 * 4
    simulation = run(graph)
    assert int(simulation.sops["hidden"].sum()) == 2 * sum(_reach(row, column) for row, column in _seen()) * 4
    energy = summarise_energy(graph, [tally(simulation, torch.zeros(1, dtype=torch.int64), 1)])
    assert energy["network"]["encoder_macs"] == 450 + 900
    assert energy["hidden"]["macs"] == 1800
