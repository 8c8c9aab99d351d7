"""The time loop: what changes no result, what it refuses, what it records."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isospike.conversion import convert
from isospike.conversion.base import CountingConversion
from isospike.errors import DeviceError, SimulationError
from isospike.graph import Convolution, Dense, Flatten, Readout, SpikingGraph
from isospike.networks import Network, build_network, capture
from isospike.simulator import PROPAGATIONS, DroppedSpikes, Fault, Simulation, simulate
from isospike.simulator.tapping import measure_neurobench
from tests.problems import PROBLEMS, chain, levels, pixels, whole
from tests.random_networks import integer_graphs, networks, random_images, randomise

PLAIN = convert(PROBLEMS[0].ann, "all-integer", t_max=8)


def _assert_same(one: Simulation, other: Simulation) -> None:
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.settled, other.settled)
    for field in ("positive", "negative", "sops", "counts"):
        first, second = getattr(one, field), getattr(other, field)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), field


@given(integer_graphs(), st.sampled_from((1, 2)), st.sampled_from(PROPAGATIONS), st.integers(1, 7))
@settings(max_examples=40)
def test_early_stop_batch_size_and_type_change_nothing(
    ann: SpikingGraph, limit: int, propagation: str, batch_size: int
) -> None:
    graph = CountingConversion(ann, 10, limit).run()
    images = random_images(ann.input.shape, 7)

    def run(**options: object) -> Simulation:
        return simulate(graph, images, propagation=propagation, keep_counts=True, **options)  # type: ignore[arg-type]

    expected = run(dtype="int64", early_stop=False)
    _assert_same(run(), expected)
    _assert_same(run(dtype="float64", batch_size=batch_size), expected)
    _assert_same(run(dtype="float32", early_stop=False, batch_size=batch_size), expected)
    _assert_same(run(dtype="int64", batch_size=batch_size), expected)


@given(networks(weights=("ternary", "int8"), ends=("int8",), bounded=True))
@settings(max_examples=15)
def test_network_runs_bit_for_bit_in_every_type(model: Network) -> None:
    graph = convert(model, "all-integer", t_max=20)
    images = random_images(graph.input.shape, 5)
    expected = simulate(graph, images, dtype="int64", keep_counts=True)
    for dtype in ("auto", "float32", "float64"):
        _assert_same(simulate(graph, images, dtype=dtype, keep_counts=True), expected)


@given(networks(weights=("float",), bounded=True))
@settings(max_examples=10)
def test_early_stop_changes_float_networks_by_rounding_at_most(model: Network) -> None:
    graph = convert(model, "negative-spike", t_max=20)
    images = random_images(graph.input.shape, 5)
    one, other = (simulate(graph, images, early_stop=stop, keep_counts=True) for stop in (True, False))
    for name, counts in one.counts.items():
        assert torch.equal(counts, other.counts[name])
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-9, atol=1e-9)
    assert torch.equal(one.settled, other.settled)


@given(integer_graphs(), st.sampled_from(PROPAGATIONS))
@settings(max_examples=15)
def test_a_shorter_run_is_the_beginning_of_a_longer_one(ann: SpikingGraph, propagation: str) -> None:
    graph = CountingConversion(ann, 9, 1).run()
    images = random_images(ann.input.shape, 3)
    long = simulate(graph, images, propagation=propagation)
    short = simulate(graph, images, 4, propagation=propagation)
    assert torch.equal(short.logits, long.logits[:4])
    assert all(torch.equal(short.sops[name], long.sops[name][:4]) for name in long.sops)


@given(integer_graphs(), st.sampled_from(PROPAGATIONS))
@settings(max_examples=15)
def test_settled_stays_settled_and_silent(ann: SpikingGraph, propagation: str) -> None:
    graph = CountingConversion(ann, 12, 1).run()
    run = simulate(graph, random_images(ann.input.shape, 4), early_stop=False, propagation=propagation)
    assert bool((run.settled[1:] >= run.settled[:-1]).all())
    for name in run.positive:
        assert int(run.positive[name][1:][run.settled[:-1]].sum()) == 0
        assert int(run.negative[name][1:][run.settled[:-1]].sum()) == 0


def test_counts_are_positive_minus_negative_spikes() -> None:
    for problem in PROBLEMS:
        run = simulate(convert(problem.ann, "negative-spike", t_max=24), problem.image, keep_counts=True)
        for name, counts in run.counts.items():
            assert int(counts.sum()) == int(run.positive[name].sum() - run.negative[name].sum())


def test_layer_per_step_is_one_step_later_per_layer() -> None:
    problem = next(each for each in PROBLEMS if each.name == "dense")
    graph = convert(problem.ann, "negative-spike", t_max=12)
    run = simulate(graph, problem.image, propagation="layer-per-step")
    assert run.positive["encoder.neuron"][:5, 0].tolist() == [2, 1, 1, 0, 0]
    assert run.positive["hidden.neuron"][:5, 0].tolist() == [0, 1, 1, 1, 0]
    assert run.negative["hidden.neuron"][:5, 0].tolist() == [0, 0, 0, 1, 0]
    # the last spikes, +1 and -1 in step 4, reach the classifier in step 5; in step 4 they are still in flight
    assert run.settled[:6, 0].tolist() == [False, False, False, False, True, True]
    assert run.logits[:6, 0].tolist() == [[0, 0], [0, 0], [1, 3], [3, 2], [4, -2], [4, -2]]


def test_work_is_counted_when_a_spike_arrives() -> None:
    problem = next(each for each in PROBLEMS if each.name == "dense")
    graph = convert(problem.ann, "negative-spike", t_max=12)
    within = simulate(graph, problem.image)
    later = simulate(graph, problem.image, propagation="layer-per-step")
    assert within.sops["hidden"][:4, 0].tolist() == [4, 2, 2, 0]
    assert later.sops["hidden"][:5, 0].tolist() == [0, 4, 2, 2, 0]
    assert later.sops["classifier"][:6, 0].tolist() == [0, 0, 2, 2, 4, 0]
    assert int(within.sops["classifier"].sum()) == int(later.sops["classifier"].sum())


@given(integer_graphs())
@settings(max_examples=20)
def test_both_propagations_end_with_the_same_counts(ann: SpikingGraph) -> None:
    graph = CountingConversion(ann, 14, 2).run()
    images = random_images(ann.input.shape, 3)
    one, other = (simulate(graph, images, propagation=each, keep_counts=True) for each in PROPAGATIONS)
    both = one.settled[-1] & other.settled[-1]
    assert torch.equal(one.logits[-1][both], other.logits[-1][both])
    assert all(torch.equal(one.counts[name][both], other.counts[name][both]) for name in one.counts)


def test_predictions_and_progress() -> None:
    done: list[int] = []
    images = PROBLEMS[0].image.expand(5, -1, -1, -1)
    run = simulate(PLAIN, images, batch_size=2, on_batch=done.append)
    assert done == [2, 4, 5]
    assert run.logits.shape == (8, 5, 2)
    assert run.predictions.shape == (8, 5)
    assert run.predictions[-1].tolist() == [0] * 5
    assert run.counts == {}


def test_black_image_without_any_spike() -> None:
    run = simulate(PLAIN, torch.zeros(2, 1, 3, 3, dtype=torch.uint8), keep_counts=True)
    assert bool(run.settled[1:].all())


@pytest.mark.parametrize("steps", [9, 0, -1])
def test_steps_outside_of_t_max_are_refused(steps: int) -> None:
    with pytest.raises(SimulationError, match=rf"expected 1 to T_max = 8, got {steps}.*convert with a larger t_max"):
        simulate(PLAIN, PROBLEMS[0].image, steps)


def test_captured_ann_is_refused() -> None:
    with pytest.raises(SimulationError, match="got a captured ANN: convert it first"):
        simulate(PROBLEMS[0].ann, PROBLEMS[0].image)


@pytest.mark.parametrize(
    ("images", "shown"),
    [
        (torch.zeros(1, 1, 3, 4, dtype=torch.uint8), r"uint8 \(1, 1, 3, 4\)"),
        (torch.zeros(1, 2, 3, 3, dtype=torch.uint8), r"uint8 \(1, 2, 3, 3\)"),
        (torch.zeros(1, 3, 3, dtype=torch.uint8), r"uint8 \(1, 3, 3\)"),
        (torch.zeros(1, 1, 3, 3), r"float32 \(1, 1, 3, 3\)"),
        (torch.zeros(1, 1, 3, 3, dtype=torch.int64), r"int64 \(1, 1, 3, 3\)"),
        (torch.zeros(0, 1, 3, 3, dtype=torch.uint8), r"uint8 \(0, 1, 3, 3\)"),
    ],
)
def test_wrong_images_are_refused(images: Tensor, shown: str) -> None:
    with pytest.raises(SimulationError, match=r"images: expected uint8 \(batch, 1, 3, 3\) .* got " + shown):
        simulate(PLAIN, images)


def test_unknown_options_are_refused() -> None:
    image = PROBLEMS[0].image
    with pytest.raises(
        SimulationError, match="propagation: expected one of within-step, layer-per-step, got 'sideways'"
    ):
        simulate(PLAIN, image, propagation="sideways")
    with pytest.raises(SimulationError, match="dtype: expected auto, float32, float64, int64, got 'int8'"):
        simulate(PLAIN, image, dtype="int8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": "4"}, "steps: expected 1 to T_max = 8, got '4'"),
        ({"steps": 2.0}, r"steps: expected 1 to T_max = 8, got 2\.0"),
        ({"steps": True}, "steps: expected 1 to T_max = 8, got True"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, r"batch_size: expected a whole number of at least 1, got 2\.5"),
        ({"seed": "a"}, "seed: expected a whole number, got 'a'"),
        ({"encoder_drop": None}, "noise.encoder_drop: expected a probability from 0 to 1, got None"),
        ({"images": [[0]]}, r"images: expected a tensor of uint8 \(batch, 1, 3, 3\), got a list: use torch.from_numpy"),
        ({"images": np.zeros((1, 1, 3, 3), np.uint8)}, r"images: .*, got a ndarray: use torch.from_numpy"),
        ({"faults": None}, r"faults: expected a list, such as \[DroppedSpikes\(0.1\)\], got None"),
        ({"faults": "drop"}, "faults: expected a list, .* got 'drop'"),
        ({"faults": DroppedSpikes(0.1)}, r"faults: expected a list, .* got DroppedSpikes\(probability=0.1, .*"),
        ({"faults": ["drop"]}, "faults: expected some of DroppedSpikes, .*, SaturatedMembranes .* got 'drop'"),
        ({"faults": [Fault()]}, r"faults: expected some of .* got Fault\(\)"),
    ],
)
def test_options_of_the_wrong_kind_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    given = {"images": PROBLEMS[0].image, **options}
    for engine in ("auto", "torch"):
        with pytest.raises(SimulationError, match=f"^{message}"):
            simulate(PLAIN, engine=engine, **given)


@pytest.mark.parametrize("device", ["bogus", "meta", None, 1.5])
def test_no_such_device(device: Any) -> None:
    with pytest.raises(DeviceError, match=f"^device: expected cpu or cuda, got {device!r}$"):
        simulate(PLAIN, PROBLEMS[0].image, device=device)


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for run in (simulate, measure_neurobench):
        with pytest.raises(DeviceError, match=r"^device: .* got cuda where it sees 0: use device='cpu'$"):
            run(PLAIN, PROBLEMS[0].image, device="cuda")


def test_whole_numbers_of_numpy_will_do() -> None:
    images = PROBLEMS[0].image.expand(3, -1, -1, -1)
    options: dict[str, Any] = {"steps": np.int64(4), "batch_size": np.int32(2), "seed": np.int64(1)}
    _assert_same(simulate(PLAIN, images, engine="torch", **options), simulate(PLAIN, images, 4))


def _wide(weight: int) -> SpikingGraph:
    ann = chain(
        pixels(1, 1, 1),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[weight]])),
        levels("neuron", 4, 2),
        Dense("classifier", (), whole([[1]])),
        Readout("readout", (), whole([0]).astype(float)),
    )
    return convert(ann, "all-integer", t_max=4)


def test_float32_is_refused_where_sums_exceed_24_bits() -> None:
    image = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)
    inside, outside = _wide(2**24 // 255), _wide(2**24 // 255 + 1)
    assert bool(simulate(inside, image, dtype="float32").settled[-1].all())
    with pytest.raises(SimulationError, match=r"float32: sums of this graph need 25 bits.* to 24: use dtype float64"):
        simulate(outside, image, dtype="float32")
    assert torch.equal(simulate(outside, image).logits, simulate(outside, image, dtype="int64").logits)


def test_int64_is_refused_where_sums_exceed_53_bits() -> None:
    with pytest.raises(SimulationError, match="int64: sums of this graph need 54 bits"):
        simulate(_wide(2**53 // 255 + 1), torch.zeros(1, 1, 1, 1, dtype=torch.uint8), dtype="int64")


def test_int64_is_refused_for_float_weights_and_names_the_layer() -> None:
    nodes = tuple(
        replace(node, weight=node.weight.astype(float)) if isinstance(node, Convolution) else node
        for node in PROBLEMS[0].ann
    )
    graph = convert(SpikingGraph(nodes), "negative-spike", t_max=8)
    with pytest.raises(SimulationError, match="conv: int64 simulation expects integers"):
        simulate(graph, PROBLEMS[0].image, dtype="int64")
    whole_graph = convert(PROBLEMS[0].ann, "negative-spike", t_max=8)
    one, other = (simulate(each, PROBLEMS[0].image, keep_counts=True) for each in (graph, whole_graph))
    assert torch.equal(one.counts["neuron"], other.counts["neuron"])


def test_a_network_captured_twice_runs_the_same() -> None:
    model = _some_network()
    images = random_images((1, 6, 6), 3)
    runs = [simulate(convert(capture(model), "negative-spike", t_max=6), images) for _ in range(2)]
    _assert_same(*runs)


def _some_network() -> Network:
    torch.manual_seed(0)
    return randomise(build_network("3C3-P2-4", (1, 6, 6), 3))
