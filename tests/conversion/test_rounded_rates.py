"""Rate-coded graphs of integers: what is rounded and how, and that they stay near the graphs of floats."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from isospike import engine, load_graph, save_graph, simulate
from isospike.conversion import convert, measure_loss
from isospike.engine.rate_ranges import bound_rate_ranges
from isospike.errors import ConversionError
from isospike.graph import (
    Add,
    Convolution,
    Dense,
    Flatten,
    IntegrateAndFire,
    Readout,
    SpikingGraph,
    bound_membranes,
    compare_graphs,
    count_membrane_bits,
)
from isospike.networks import Pixels, capture, qcfs, resnet20
from tests.conversion.test_rate_coding import convert_by_hand, rate_code
from tests.networks.comparison import randomise_statistics
from tests.problems import PROBLEMS, RATE_CODED, Problem, chain, image, levels, pixels, real, whole


def array(graph: SpikingGraph, name: str, field: str) -> list[object]:
    """A tensor of a node as a list."""
    return graph[name].arrays[field].tolist()  # type: ignore[no-any-return]


def test_rounding_worked_out_by_hand() -> None:
    graph = convert(convert_by_hand(), "qcfs", integer_bits=8)
    assert graph.is_integer and graph.is_rate_coded
    # integer weights 1 and -1 times 64; theta 3 and 12, V_0 1.5 and 6, currents -2.5 and 8 in 64ths
    assert array(graph, "encoder", "weight") == [[64], [-64]]
    assert graph["encoder"].arrays["weight"].dtype == np.int8
    assert array(graph, "encoder", "bias") == [-160, 512]
    assert array(graph, "encoder.neuron", "threshold") == [192, 768]
    assert array(graph, "encoder.neuron", "initial") == [96, 384]
    # 0.5, -1 in units of 1 / 127; bias 0.25, theta 2 / 3, V_0 1 / 3
    assert array(graph, "hidden", "weight") == [[64, -127]]
    assert array(graph, "hidden", "bias") == [32]  # 31.75
    assert array(graph, "hidden.neuron", "threshold") == [85]  # 84.67
    assert array(graph, "hidden.neuron", "initial") == [42]  # 42.33
    # 1 and -2 share a unit of 2 / 127
    assert array(graph, "classifier", "weight") == [[64], [-127]]
    assert graph.readout.bias.tolist() == [4, 0]  # 0.0625 * 63.5 = 3.97
    assert graph.readout.scale == pytest.approx(4 * 2 / 127)


def test_integer_weights_lose_nothing_and_share_a_unit_in_the_classifier() -> None:
    ann = chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("hidden", (), whole([[3, -1], [1, 0], [0, 0]]), bias=real([0, 0, 2])),
        levels("neuron", 4, Fraction(1)),
        Dense("classifier", (), whole([[1, 0, 2], [0, 7, 1]])),
        Readout("readout", (), real([0, 0])),
    )
    graph = convert(ann, "qcfs", integer_bits=16)
    assert array(graph, "hidden", "weight") == [[3 * 8192, -8192], [16384, 0], [0, 0]]
    assert array(graph, "hidden", "bias") == [0, 0, 32767]  # a channel without weights is all bias
    assert array(graph, "neuron", "threshold") == [4 * 8192, 4 * 16384, 65534]
    assert array(graph, "classifier", "weight") == [[4096, 0, 8192], [0, 7 * 4096, 4096]]


def test_lower_bounds_go_up_and_residuals_down() -> None:
    graph = convert(convert_by_hand(), "signed-if", margin=0.001, integer_bits=8)
    assert array(graph, "encoder.neuron", "lower") == [0, 0]  # -0.192, -0.768: V < that, so V < 0 on integers
    graph = convert(convert_by_hand(), "srp", integer_bits=8)
    assert array(graph, "encoder.neuron", "residual") == [0, 0]  # 0.192, 0.768: V > that, so V > 0 on integers
    assert graph.tau == 4


@pytest.mark.parametrize("method", RATE_CODED)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda each: each.name)
@pytest.mark.parametrize("bits", [8, 16])
def test_every_method_gives_integers_that_the_engine_runs(problem: Problem, method: str, bits: int) -> None:
    graph = rate_code(problem.ann, method, problem.image, t_max=40, integer_bits=bits)
    assert graph.is_integer
    assert None not in count_membrane_bits(graph).values()
    for node in graph.synapses:
        assert node.arrays["weight"].dtype == {8: np.int8, 16: np.int16}[bits]
    run = simulate(graph, problem.image, engine="torch", keep_counts=True)
    exact = simulate(graph, problem.image, dtype="int64")
    assert torch.equal(run.logits, exact.logits)
    assert bound_rate_ranges(graph, 40)
    high = bound_membranes(graph)[graph.readout.name].high
    assert (run.logits.amax((0, 1)).numpy() <= high).all()
    if engine.is_available():
        fast = simulate(graph, problem.image, engine="cpp", keep_counts=True)
        assert torch.equal(run.logits, fast.logits)
        assert all(torch.equal(count, fast.counts[name]) for name, count in run.counts.items())


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda each: each.name)
def test_sixteen_bits_tend_to_what_floats_tend_to(problem: Problem) -> None:
    plain = rate_code(problem.ann, "qcfs", problem.image, t_max=600)
    rounded = rate_code(problem.ann, "qcfs", problem.image, t_max=600, integer_bits=16)
    wanted = simulate(plain, problem.image, dtype="float64").logits[-1]
    found = simulate(rounded, problem.image).logits[-1] * rounded.readout.scale / 600
    assert torch.allclose(found, wanted, atol=0.05 * max(1, float(wanted.abs().max())))


def build_network() -> nn.Sequential:
    """A small network of float weights, with BatchNorms."""
    torch.manual_seed(3)
    network = nn.Sequential(
        Pixels((120, 110), 64),
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        qcfs(8, 1.0),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        qcfs(8, 1.0),
        nn.Flatten(),
        nn.Linear(12 * 16, 5),
    )
    randomise_statistics(network)
    return network.eval()


def test_sixteen_bits_answer_as_floats_do() -> None:
    images = torch.randint(0, 256, (60, 2, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    ann = capture(build_network(), images[:2])
    plain, fine, coarse = (convert(ann, "qcfs", t_max=32, integer_bits=bits) for bits in (None, 16, 8))
    logits = {bits: simulate(graph, images).logits for bits, graph in ((None, plain), (16, fine), (8, coarse))}
    for bits, graph in ((16, fine), (8, coarse)):
        logits[bits] = logits[bits] * graph.readout.scale / torch.arange(1, 33)[:, None, None]
    middle = logits[None].mean(1, keepdim=True)  # a random network has a favourite class: only what differs is compared
    answers = {bits: (each - middle)[7:].argmax(2) for bits, each in logits.items()}
    assert len(answers[None].unique()) == 5
    agreement = {bits: float((answers[bits] == answers[None]).float().mean()) for bits in (16, 8)}
    assert agreement[16] > 0.97
    assert agreement[8] > 0.85
    losses = [
        measure_loss(graph, ann, images, "qcfs", integer_bits=bits) for bits, graph in ((None, plain), (16, fine))
    ]
    assert not losses[1].differing_tensors
    assert losses[1].logit_error[-1] == pytest.approx(losses[0].logit_error[-1], rel=0.1)
    assert losses[1].agreement[-1] == pytest.approx(losses[0].agreement[-1], abs=0.05)


@pytest.mark.parametrize("bits", [8, 16])
def test_residual_networks_fit_the_engine(bits: int) -> None:
    torch.manual_seed(0)
    network = randomise_statistics(resnet20((3, 16, 16), 4, activation=lambda: qcfs(4, 4.0)))
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    ann = capture(nn.Sequential(Pixels((128,) * 3, 64), network).eval(), images[:2])
    graph = convert(ann, "qcfs", t_max=64, integer_bits=bits)
    assert any(isinstance(node, Add) for node in graph)
    run = simulate(graph, images, 16, engine="torch")
    if engine.is_available():
        assert torch.equal(simulate(graph, images, 16, engine="cpp").logits, run.logits)


def test_calibrated_currents_are_rounded_too() -> None:
    problem = next(each for each in PROBLEMS if each.name == "dense")
    plain = rate_code(problem.ann, "calibrated", problem.image, t_max=40)
    rounded = rate_code(problem.ann, "calibrated", problem.image, t_max=40, integer_bits=16)
    assert rounded.is_integer
    for node in plain.neurons:
        twin = rounded[node.name]
        assert isinstance(node, IntegrateAndFire) and isinstance(twin, IntegrateAndFire)
        ratio = twin.initial / twin.threshold
        assert np.allclose(ratio, node.initial / node.threshold, atol=1e-4)


def test_files_keep_them_and_wrong_options_are_refused(tmp_path: object) -> None:
    graph = convert(convert_by_hand(), "qcfs", integer_bits=16)
    save_graph(graph, f"{tmp_path}/snn.safetensors")
    assert not compare_graphs(graph, load_graph(f"{tmp_path}/snn.safetensors"))
    with pytest.raises(ConversionError, match="integer_bits: expected 8 or 16, or None for floats, got 4"):
        convert(convert_by_hand(), "qcfs", integer_bits=4)
    with pytest.raises(ConversionError, match="all-integer: unknown option 'integer_bits'"):
        convert(convert_by_hand(), "all-integer", integer_bits=8)


def test_a_threshold_that_nothing_reaches() -> None:
    """Weights next to nothing beside the threshold: an integer of 2^50 stands for it."""
    ann = chain(
        pixels(1, 1, 1),
        Convolution("encoder", (), real([[[[1e-30]]], [[[1.0]]]])),
        levels("neuron", 4, Fraction(1)),
        Flatten("flatten", ()),
        Dense("classifier", (), real([[1, 0], [0, 1]])),
        Readout("readout", (), real([0, 0])),
    )
    graph = convert(ann, "qcfs", integer_bits=16)
    assert array(graph, "neuron", "threshold")[0] == 2**50
    assert array(graph, "neuron", "initial")[0] == 2**49
    run = simulate(graph, image([[255]]), 8)
    assert run.logits[-1, 0, 0] == 0 < run.logits[-1, 0, 1]
