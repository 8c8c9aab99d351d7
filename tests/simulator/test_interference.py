"""Each fault does what it says: worked out by hand on a network of three neurons, and on random networks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isospike.conversion import convert
from isospike.errors import SimulationError
from isospike.graph import CountingNeuron, Dense, Flatten, IntegrateAndFire, Readout, SpikingGraph
from isospike.networks import Quantisation, build_network
from isospike.simulator import (
    PROPAGATIONS,
    DeadNeurons,
    DelayedSpikes,
    DroppedSpikes,
    DuplicatedSpikes,
    Fault,
    SaturatedMembranes,
    Simulation,
    StuckNeurons,
    simulate,
)
from isospike.simulator.faults import SpikeFault
from isospike.simulator.interference import choose_neurons
from tests.branched_graphs import branched_graphs
from tests.problems import chain, image, pixels, whole
from tests.random_networks import random_images

STEPS = 10


def _neuron(name: str, channels: int, levels: int) -> CountingNeuron:
    return CountingNeuron(name, (), whole([1] * channels), whole([1] * channels), 0, levels, 1)


def build_sum() -> SpikingGraph:
    """Two pixels, each counted by an encoder neuron (4 levels); a hidden neuron that counts both; logits V and -V."""
    return chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[1, 0], [0, 1]])),
        _neuron("encoder.neuron", 2, 4),
        Dense("hidden", (), whole([[1, 1]])),
        _neuron("neuron", 1, 8),
        Dense("classifier", (), whole([[1], [-1]])),
        Readout("readout", (), whole([0, 0])),
        t_max=STEPS,
    )


def run(*faults: Fault, **options: Any) -> Simulation:
    """Pixels 3 and 1: the encoder fires (1, 1), (1, 0), (1, 0); the hidden membrane is 2, 3, 4 and stays."""
    return simulate(build_sum(), image([[3, 1]]), STEPS, engine="torch", faults=faults, **options)


def read(simulation: Simulation) -> list[int]:
    """The first logit over time, which is the number of hidden spikes that have arrived."""
    logits: list[int] = simulation.logits[:, 0, 0].int().tolist()
    return logits


def hold(*values: int) -> list[int]:
    return [*values, *[values[-1]] * (STEPS - len(values))]


def test_without_faults() -> None:
    plain = run()
    assert read(plain) == hold(1, 2, 3, 4)
    assert plain.settled[:, 0].int().tolist() == hold(0, 0, 0, 1)
    assert plain.positive["encoder.neuron"][:, 0].tolist() == [2, 1, 1, 0, 0, 0, 0, 0, 0, 0]


def test_dropped_spikes_are_fired_and_never_arrive() -> None:
    lost = run(DroppedSpikes(1.0))
    assert lost.positive["encoder.neuron"].sum() == 4
    assert lost.sops["hidden"].sum() == 0
    assert read(lost) == hold(0)
    behind = run(DroppedSpikes(1.0, nodes=("neuron",)))
    assert behind.sops["hidden"].sum() == 4
    assert behind.positive["neuron"].sum() == 4
    assert read(behind) == hold(0)


def test_duplicated_spikes_arrive_twice_and_are_fired_once() -> None:
    double = run(DuplicatedSpikes(1.0, nodes=("encoder.neuron",)))
    assert double.positive["encoder.neuron"].sum() == 4
    assert double.sops["hidden"][:, 0].tolist() == [4, 2, 2, 0, 0, 0, 0, 0, 0, 0]
    assert read(double) == hold(1, 2, 3, 4, 5, 6, 7, 8)
    assert read(run(DuplicatedSpikes(1.0, nodes=("neuron",)))) == hold(2, 4, 6, 8)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_delayed_spikes_arrive_so_many_steps_late(steps: int) -> None:
    late = run(DelayedSpikes(1.0, nodes=("encoder.neuron",), steps=steps))
    assert late.positive["encoder.neuron"][:, 0].tolist() == [2, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert read(late) == [0] * steps + hold(1, 2, 3, 4)[: STEPS - steps]
    assert late.settled[:, 0].int().tolist() == [0] * (steps + 3) + [1] * (STEPS - steps - 3)
    assert late.sops["hidden"][:, 0].tolist() == [0] * steps + [2, 1, 1, 0, 0, 0, 0, 0, 0, 0][: STEPS - steps]


def test_an_image_with_spikes_on_their_way_has_not_settled() -> None:
    # pixel 1 alone: everything agrees after step 1, but the encoder's spike arrives at step 4
    late = simulate(
        build_sum(), image([[0, 1]]), STEPS, faults=[DelayedSpikes(1.0, nodes=("encoder.neuron",), steps=3)]
    )
    assert late.settled[:, 0].int().tolist() == hold(0, 0, 0, 1)
    assert read(late) == hold(0, 0, 0, 1)


def test_a_late_spike_that_has_just_set_out_has_not_arrived() -> None:
    late = [DelayedSpikes(1.0, nodes=("encoder.neuron",), steps=3)]
    runs = [
        simulate(build_sum(), image([[0, 1]]), STEPS, faults=late, propagation="layer-per-step", early_stop=stop)
        for stop in (True, False)
    ]
    assert torch.equal(runs[0].logits, runs[1].logits)
    assert runs[0].logits[-1, 0, 0] == 1


def test_dead_neurons_never_fire() -> None:
    dead = run(DeadNeurons(1.0))
    assert sum(int(spikes.sum()) for spikes in dead.positive.values()) == 0
    assert not dead.settled.any()
    # half of two encoder neurons is one; half of one hidden neuron rounds to none
    half = run(DeadNeurons(0.5, seed=3), keep_counts=True)
    alive = choose_neurons(0.5, 3, 0, (2,)).logical_not()
    assert half.counts["encoder.neuron"][0].tolist() == (torch.tensor([3, 1]) * alive).tolist()
    assert int(half.counts["neuron"]) == (3 if bool(alive[0]) else 1)


def test_stuck_neurons_fire_at_every_step() -> None:
    stuck = run(StuckNeurons(1.0))
    assert stuck.positive["encoder.neuron"][:, 0].tolist() == [2] * STEPS
    assert stuck.positive["neuron"][:, 0].tolist() == [1] * STEPS
    assert read(stuck) == list(range(1, STEPS + 1))
    assert not stuck.settled.any()
    assert stuck.sops["hidden"][:, 0].tolist() == [2] * STEPS


def test_saturated_membranes_stay_within_their_bits() -> None:
    # 3 bits hold -4 to 3: the hidden membrane and the first logit stay at 3, the other logit would reach -4 and may
    narrow = run(SaturatedMembranes(3))
    assert read(narrow) == hold(1, 2, 3)
    assert narrow.logits[-1, 0].tolist() == [3, -3]
    # 2 bits hold -2 to 1: the encoder's membranes stay at 1, so each fires once, and the hidden neuron once
    assert read(run(SaturatedMembranes(2))) == hold(1)
    # pixel 3 twice: hidden sums 2, 4, 6; 4 bits hold -8 to 7 and change nothing, 3 bits clamp each sum
    wide, three = (simulate(build_sum(), image([[3, 3]]), STEPS, faults=[SaturatedMembranes(b)]) for b in (4, 3))
    assert read(wide) == hold(1, 2, 3, 4, 5, 6)
    assert read(three) == hold(1, 2, 3)
    assert three.logits[-1, 0, 1] == -3


def test_faults_come_one_after_another() -> None:
    assert read(run(DroppedSpikes(1.0, nodes=("neuron",)), StuckNeurons(1.0))) == hold(0)
    # twice, and then a step late
    both = run(*(kind(1.0, nodes=("encoder.neuron",)) for kind in (DuplicatedSpikes, DelayedSpikes)))
    assert read(both) == hold(0, 1, 2, 3, 4, 5, 6, 7, 8)


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (0.01, 1), (0.3, 30), (0.995, 100), (1.0, 100)])
def test_so_many_neurons_are_chosen_and_more_of_them_include_fewer(share: float, number: int) -> None:
    chosen = choose_neurons(share, 7, 2, (4, 5, 5))
    assert int(chosen.sum()) == number
    assert bool((choose_neurons(min(1.0, share + 0.2), 7, 2, (4, 5, 5)) >= chosen).all())


def test_the_share_of_spikes_that_are_hit() -> None:
    graph, many = build_sum(), torch.full((2000, 1, 1, 2), 4, dtype=torch.uint8)
    fired = 2000 * 2 * 4
    spread = (fired * 0.3 * 0.7) ** 0.5
    lost = simulate(graph, many, faults=[DroppedSpikes(0.3, nodes=("encoder.neuron",))])
    assert abs(int(lost.sops["hidden"].sum()) - 0.7 * fired) < 4 * spread
    more = simulate(graph, many, faults=[DuplicatedSpikes(0.3, nodes=("encoder.neuron",))])
    assert abs(int(more.sops["hidden"].sum()) - 1.3 * fired) < 4 * spread


def test_each_of_several_spikes_of_a_step_has_its_own_draw() -> None:
    encoder = CountingNeuron("encoder.neuron", ("encoder",), whole([1, 1]), whole([1, 1]), 0, 4, 4)
    graph = SpikingGraph(tuple(encoder if n.name == encoder.name else n for n in build_sum()), STEPS)
    many = torch.full((5000, 1, 1, 2), 4, dtype=torch.uint8)
    found = simulate(graph, many, 1, faults=[DroppedSpikes(0.5, nodes=("encoder.neuron",))]).sops["hidden"][0]
    share = torch.bincount(found, minlength=9) / 5000
    binomial = torch.tensor([1, 8, 28, 56, 70, 56, 28, 8, 1]) / 256
    assert (share - binomial).abs().max() < 0.03


def _random_faults(seed: int) -> list[Fault]:
    return [
        DroppedSpikes(0.2, seed),
        DuplicatedSpikes(0.2, seed),
        DelayedSpikes(0.3, seed),
        DeadNeurons(0.1, seed),
        StuckNeurons(0.05, seed + 1),
        SaturatedMembranes(12),
    ]


@given(branched_graphs(most=6), st.sampled_from(PROPAGATIONS), st.integers(0, 3))
@settings(max_examples=20)
def test_batches_early_stops_and_types_change_nothing(ann: SpikingGraph, propagation: str, seed: int) -> None:
    graph = convert(ann, "counting", t_max=5)
    images = random_images(ann.input.shape, 5)
    faults = _random_faults(seed) if graph.is_integer else _random_faults(seed)[:-1]
    some = faults if seed % 2 else [fault for fault in faults if not isinstance(fault, StuckNeurons)]
    options: dict[str, Any] = {"faults": some, "propagation": propagation}
    first = simulate(graph, images, **options, batch_size=2)
    others = [simulate(graph, images, **options, early_stop=False)]
    if graph.is_integer:
        others.append(simulate(graph, images, **options, dtype="int64"))
    for other in others:
        assert torch.equal(first.logits, other.logits)
        assert torch.equal(first.settled, other.settled)
        for kind in ("positive", "negative", "sops"):
            for name, values in getattr(first, kind).items():
                assert torch.equal(values, getattr(other, kind)[name]), (kind, name)


@given(branched_graphs(most=6))
@settings(max_examples=20)
def test_all_spikes_a_step_late_is_a_layer_per_step(ann: SpikingGraph) -> None:
    graph = convert(ann, "counting", t_max=8)
    images = random_images(ann.input.shape, 3)
    late = simulate(graph, images, faults=[DelayedSpikes(1.0)])
    layers = simulate(graph, images, propagation="layer-per-step")
    assert torch.equal(late.logits, layers.logits)
    assert torch.equal(late.settled, layers.settled)
    assert all(torch.equal(late.sops[name], values) for name, values in layers.sops.items())


@given(branched_graphs(most=6))
@settings(max_examples=10)
def test_faults_of_no_severity_change_nothing(ann: SpikingGraph) -> None:
    graph = convert(ann, "counting", t_max=5)
    images = random_images(ann.input.shape, 3)
    plain = simulate(graph, images)
    for fault in (DroppedSpikes(0), DuplicatedSpikes(0), DelayedSpikes(0), DeadNeurons(0), StuckNeurons(0)):
        assert torch.equal(simulate(graph, images, faults=[fault]).logits, plain.logits)
    if graph.is_integer:
        assert torch.equal(simulate(graph, images, faults=[SaturatedMembranes(50)]).logits, plain.logits)


def build_rate(tau: int = 0, bias: int = 0) -> SpikingGraph:
    """A pixel of 1 is integrated at every step against a threshold of 2: a spike at steps 2, 4, 6 ... With ``tau``
    steps before, the neuron is silenced."""
    residual = np.array([9]) if tau else None
    neuron = IntegrateAndFire("neuron", (), np.array([2]), np.array([0]), residual=residual)
    graph = chain(
        pixels(1, 1, 1),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[1]])),
        neuron,
        Dense("classifier", (), whole([[1], [0]])),
        Readout("readout", (), whole([bias, 0])),
        t_max=8,
    )
    return replace(graph, tau=tau)


@pytest.mark.parametrize(
    ("fault", "logits"),
    [
        (DroppedSpikes(0.0), [0, 1, 1, 2, 2, 3, 3, 4]),
        (DroppedSpikes(1.0), [0] * 8),
        (DuplicatedSpikes(1.0), [0, 2, 2, 4, 4, 6, 6, 8]),
        (DelayedSpikes(1.0), [0, 0, 1, 1, 2, 2, 3, 3]),
        (DeadNeurons(1.0), [0] * 8),
        (StuckNeurons(1.0), [1, 2, 3, 4, 5, 6, 7, 8]),
        (SaturatedMembranes(2), [0] * 8),  # potentials of at most 1 never reach 2
        (SaturatedMembranes(3), [0, 1, 1, 2, 2, 3, 3, 3]),  # the classifier's potential stays at 3
    ],
)
def test_faults_of_a_rate_coded_network(fault: Fault, logits: list[int]) -> None:
    found = simulate(build_rate(), image([[1]]), 8, engine="torch", faults=[fault])
    assert found.logits[:, 0, 0].int().tolist() == logits


def test_the_bias_of_a_rate_coded_classifier_saturates_too() -> None:
    # spikes at steps 2, 4, ... and a bias of 2 at every step: 2, 5, 7, ...; 4 bits hold up to 7
    plain, narrow = (
        simulate(build_rate(bias=2), image([[1]]), 8, engine="torch", faults=faults)
        for faults in ((), [SaturatedMembranes(4)])
    )
    assert read(plain)[:8] == [2, 5, 7, 10, 12, 15, 17, 20]
    assert read(narrow)[:8] == [2, 5, 7, 7, 7, 7, 7, 7]


def test_a_neuron_that_is_stuck_fires_though_it_is_silenced() -> None:
    for fault, count in ((StuckNeurons(1.0), 8), (DeadNeurons(1.0), 0), (DroppedSpikes(1.0), 0)):
        found = simulate(build_rate(tau=2), image([[1]]), 8, engine="torch", faults=[fault], keep_counts=True)
        assert int(found.counts["neuron"]) == count
        assert int(found.positive["neuron"][1:].sum()) == max(count - 1, 0)
        assert read(found)[7] == count


def test_counts_of_a_rate_coded_network_are_of_what_is_fired() -> None:
    for fault, count in ((DeadNeurons(1.0), 0), (StuckNeurons(1.0), 8), (DroppedSpikes(1.0), 4)):
        found = simulate(build_rate(), image([[1]]), 8, engine="torch", faults=[fault], keep_counts=True)
        assert int(found.counts["neuron"]) == count == int(found.positive["neuron"].sum())


def test_batches_of_a_rate_coded_network() -> None:
    torch.manual_seed(0)
    network = build_network("4C3-P2-8", (1, 8, 8), 3, Quantisation(levels="qcfs", count=4, threshold=2.0)).eval()
    graph = convert(network, "srp", tau=2, t_max=6)
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    faults = [fault for fault in _random_faults(1) if not isinstance(fault, SaturatedMembranes)]
    one, other = (simulate(graph, images, 6, faults=faults, batch_size=size, dtype="float64") for size in (5, 2))
    assert torch.allclose(one.logits, other.logits)
    assert all(torch.equal(one.sops[name], values) for name, values in other.sops.items())


def test_a_late_spike_and_one_in_time_that_cancel_are_two_operations() -> None:
    # as below, the hidden neuron fires +1 at step 1 and -1 at step 2; where the first is late they meet
    hidden = Dense("hidden", ("encoder.neuron",), whole([[2, -1]]))
    graph = SpikingGraph(tuple(hidden if n.name == "hidden" else n for n in build_sum()), STEPS)
    met = 0
    for seed in range(10):
        late = [DelayedSpikes(0.5, seed, nodes=("neuron",))]
        for propagation in PROPAGATIONS:
            runs = [
                simulate(graph, image([[1, 2]]), faults=late, propagation=propagation, early_stop=stop)
                for stop in (True, False)
            ]
            assert all(int(found.sops["classifier"].sum()) == (1 + 1) * 2 for found in runs)
            assert torch.equal(runs[0].settled, runs[1].settled)
            met += not runs[0].logits.any()
    assert met


def test_two_faults_of_a_kind_and_seed_draw_apart() -> None:
    graph, many = build_sum(), torch.full((2000, 1, 1, 2), 4, dtype=torch.uint8)
    fired = 2000 * 2 * 4
    twice = [DroppedSpikes(0.5, nodes=("encoder.neuron",))] * 2
    lost = simulate(graph, many, faults=twice)
    assert abs(int(lost.sops["hidden"].sum()) - 0.25 * fired) < 4 * (fired * 0.25 * 0.75) ** 0.5
    # what comes first, and what is of another kind, draws as if it were alone
    alone, beside = (
        simulate(graph, many, faults=faults) for faults in (twice[:1], [DuplicatedSpikes(0.5, nodes=()), *twice[:1]])
    )
    assert torch.equal(alone.logits, beside.logits)
    assert not torch.equal(choose_neurons(0.3, 7, 2, (100,), 1), choose_neurons(0.3, 7, 2, (100,)))


def test_what_is_refused() -> None:
    graph, picture = build_sum(), image([[3, 1]])
    with pytest.raises(SimulationError, match=r"'hidden' fires no spikes.*encoder\.neuron, neuron"):
        simulate(graph, picture, faults=[DroppedSpikes(0.5, nodes=("hidden",))])
    with pytest.raises(SimulationError, match=r"cannot run with faults.*engine='torch'"):
        simulate(graph, picture, engine="cpp", faults=[DroppedSpikes(0.5)])
    for make in (DroppedSpikes, DuplicatedSpikes, DelayedSpikes, DeadNeurons, StuckNeurons):
        for share in (-0.1, 1.1, float("nan")):
            with pytest.raises(SimulationError, match=f"{make.__name__}: expected .* from 0 to 1"):
                make(share)
    for steps in (0, 1.5, True):
        with pytest.raises(SimulationError, match=f"at least 1 step, as a whole number, got {steps}"):
            DelayedSpikes(0.5, steps=steps)  # type: ignore[arg-type]
    with pytest.raises(SimulationError, match=r"DroppedSpikes: expected a probability .* got '0\.1'"):
        DroppedSpikes("0.1")  # type: ignore[arg-type]
    with pytest.raises(SimulationError, match=r"DroppedSpikes: expected nodes=.* got nodes='neuron'"):
        DroppedSpikes(0.1, nodes="neuron")  # type: ignore[arg-type]
    for make in (DroppedSpikes, StuckNeurons):
        with pytest.raises(SimulationError, match=f"{make.__name__}: seed: expected a whole number, got 1.5"):
            make(0.1, seed=1.5)  # type: ignore[arg-type]
    for bits in (1, 2.5, True, 64):
        with pytest.raises(SimulationError, match="expected 2 to 63 bits"):
            SaturatedMembranes(bits)  # type: ignore[arg-type]
    network = build_network("4C3", (1, 8, 8), 3, Quantisation(levels="qcfs", count=4, threshold=2.0)).eval()
    pictures = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(SimulationError, match="this graph has floats"):
        simulate(convert(network, "qcfs"), pictures, faults=[SaturatedMembranes(8)])


@pytest.mark.parametrize(
    ("fault", "logits"),
    [(None, [1, 0]), (DroppedSpikes, [0]), (DuplicatedSpikes, [2, 0]), (DelayedSpikes, [0, 1, 0])],
)
def test_negative_spikes_are_hit_like_positive_ones(fault: type[SpikeFault] | None, logits: list[int]) -> None:
    # the encoder fires (1, 1) and (0, 1); the hidden membrane, 2 - 1 and then 0, lets it fire +1 and -1
    hidden = Dense("hidden", ("encoder.neuron",), whole([[2, -1]]))
    graph = SpikingGraph(tuple(hidden if n.name == "hidden" else n for n in build_sum()), STEPS)
    faults = [] if fault is None else [fault(1.0, nodes=("neuron",))]
    found = simulate(graph, image([[1, 2]]), engine="torch", faults=faults)
    assert (found.positive["neuron"].sum(), found.negative["neuron"].sum()) == (1, 1)
    assert read(found) == hold(*logits)
