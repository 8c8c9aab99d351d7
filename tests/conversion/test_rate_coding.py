"""The rate-coded methods: what they make of a network, and that rates tend to what the network computes."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from isospike import load_graph, save_graph, simulate
from isospike.conversion import METHODS, convert, measure_loss, verify
from isospike.conversion.activation_statistics import drop_levels, fit_thresholds, measure_percentiles
from isospike.conversion.pool_order import pool_spikes
from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    Convolution,
    Dense,
    Flatten,
    IntegrateAndFire,
    MaxPool,
    Readout,
    Rectifier,
    SpikingGraph,
    compare_graphs,
)
from isospike.graph.nodes import is_integer
from isospike.networks import Pixels, capture, evaluate_capture, mobilenet_v1, qcfs, resnet20, vgg15
from tests.networks.comparison import Forward, randomise_statistics
from tests.problems import PROBLEMS, RATE_CODED, Problem, chain, image, levels, norm, pixels, real, whole

CONVERGING = ("qcfs", "signed-if", "percentile", "opi", "calibrated")
MEASURED = {"percentile": {"percentile": 100}, "opi": {"percentile": 100}}


def rate_code(ann: SpikingGraph, method: str, images: Tensor, t_max: int = 4096, **rest: Any) -> SpikingGraph:
    """A conversion with images for the methods that measure them."""
    options = {**MEASURED.get(method, {}), **rest}
    needs = METHODS[method].needs_images
    return convert(ann, method, images=images if needs else None, t_max=t_max, **options)


def convert_by_hand() -> SpikingGraph:
    """``z_1 = 2 (p - 3) + 1 = 2 p - 5``, ``z_2 = -p / 2 + 4``, theta 6; hidden ``z = a_1 / 2 - a_2 + 1.5``, theta 4."""
    return chain(
        pixels(1, 1, 1),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[1], [1]]), bias=real([0, 0])),
        norm("encoder.norm", [2, -1], [1, 4], [3, 0], [1, 2]),
        levels("encoder.neuron", 12, Fraction(1, 2)),
        Dense("hidden", (), real([[0.5, -1]]), bias=real([1.5])),
        levels("hidden.neuron", 8, Fraction(1, 2)),
        Dense("classifier", (), real([[1], [-2]])),
        Readout("readout", (), real([0.25, 0])),
    )


def test_thresholds_and_currents_worked_out_by_hand() -> None:
    graph = convert(convert_by_hand(), "qcfs")
    # z_1 = 2 (p - 2.5): theta 6 / 2 = 3, current -2.5; z_2 = (-p + 8) / 2: theta 6 / 0.5 = 12, weights negated
    assert graph["encoder"].arrays["weight"].tolist() == [[1], [-1]]
    assert graph["encoder"].arrays["bias"].tolist() == [-2.5, 8]
    assert graph["encoder.neuron"].arrays["threshold"].tolist() == [3, 12]
    assert graph["encoder.neuron"].arrays["initial"].tolist() == [1.5, 6]
    # spikes are worth 6: z = 6 (0.5 s_1 - s_2 + 0.25), theta 4 / 6
    assert graph["hidden"].arrays["weight"].tolist() == [[0.5, -1]]
    assert graph["hidden"].arrays["bias"].tolist() == [0.25]
    assert graph["hidden.neuron"].arrays["threshold"].tolist() == pytest.approx([4 / 6])
    # logits: 4 (s - ..) + bias
    assert graph.readout.scale == 4
    assert graph.readout.bias.tolist() == [0.0625, 0]
    assert [node.name for node in graph] == [
        name for name in (node.name for node in convert_by_hand()) if name != "encoder.norm"
    ]
    assert graph.is_rate_coded and not graph.tau


def test_run_worked_out_by_hand() -> None:
    # p = 4: encoder 1: I = 1.5, theta 3, V_0 1.5: 3 -> 0 * | 1.5 | 3 -> 0 * | 1.5; encoder 2: I = 4, theta 12, V_0 6:
    # 10 | 14 -> 2 * | 6 | 10. hidden in units of 6: V_0 1/3, theta 2/3, I = .75 -.75 .75 .25:
    # 1.0833 -> .4167 * | -.3333 | .4167 | .6667 -> 0 *
    run = simulate(convert(convert_by_hand(), "qcfs"), image([[4]]), 4, dtype="float64")
    assert run.positive["encoder.neuron"][:, 0].tolist() == [1, 1, 1, 0]
    assert run.positive["hidden.neuron"][:3, 0].tolist() == [1, 0, 0]
    assert run.logits[2, 0].tolist() == pytest.approx([4 / 3 + 0.25, -8 / 3])


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_first_layer_is_the_level_activation_of_as_many_levels(steps: int) -> None:
    """``mean output = theta / T * clip(floor(z T / theta + 1/2), 0, T)`` under a constant current."""
    rows = torch.arange(0, 256, 5, dtype=torch.uint8)[None, None]
    theta = 96.5
    ann = chain(
        pixels(1, 1, rows.shape[-1]),
        Convolution("encoder", (), whole([[[[1]]]]), bias=real([-40.25])),
        levels("neuron", 8, Fraction(theta) / 8),
        Flatten("flatten", ()),
        Dense("classifier", (), whole(np.eye(rows.shape[-1]))),
        Readout("readout", (), real([0] * rows.shape[-1])),
    )
    run = simulate(convert(ann, "qcfs"), rows.reshape(1, 1, 1, -1), steps, dtype="float64")
    z = rows[0, 0].double() - 40.25
    expected = theta / steps * torch.floor(z * steps / theta + 0.5).clamp(0, steps)
    assert torch.allclose(run.logits[-1, 0], expected)


def test_rates_of_a_chain_tend_to_the_network_as_one_over_time() -> None:
    """Non-negative weights: nothing is fired too early, and the error is at most a constant over T."""
    torch.manual_seed(0)
    sizes = (6, 8, 8, 5)
    nodes: list[Any] = [pixels(1, 1, 6, divisor=255), Flatten("flatten", ())]
    gain = 1.0
    for number, (inside, outside) in enumerate(pairwise(sizes)):
        weight = torch.rand(outside, inside).double() / inside
        nodes += [Dense(f"dense{number}", (), weight.numpy()), levels(f"neuron{number}", 4, Fraction(1, 4))]
        gain = float(weight.sum(1).max()) * gain + 1
    ann = chain(*nodes, Dense("classifier", (), real(np.eye(5))), Readout("readout", (), real([0] * 5)))
    images = torch.randint(0, 256, (20, 1, 1, 6), dtype=torch.uint8)
    wanted = evaluate_capture(drop_levels(ann), images, dtype=torch.float64)
    run = simulate(convert(ann, "qcfs", t_max=512), images, dtype="float64")
    for steps in (16, 64, 256, 512):
        assert float((run.logits[steps - 1] - wanted).abs().max()) <= 2 * gain / steps


@pytest.mark.parametrize(
    ("method", "propagation"), [*((method, "within-step") for method in CONVERGING), ("qcfs", "layer-per-step")]
)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda each: each.name)
def test_methods_tend_to_the_straight_network(problem: Problem, method: str, propagation: str) -> None:
    ann = drop_levels(problem.ann)
    graph = rate_code(problem.ann, method, problem.image, **({"target_steps": 512} if method == "calibrated" else {}))
    wanted = evaluate_capture(ann, problem.image, dtype=torch.float64)
    found = simulate(graph, problem.image, 600, dtype="float64", propagation=propagation).logits[-1]
    assert torch.allclose(found, wanted, atol=0.05 * max(1, float(wanted.abs().max())))


@pytest.mark.parametrize("method", RATE_CODED)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda each: each.name)
def test_graphs_come_back_bit_for_bit_and_weights_stay_integers(tmp_path: Path, problem: Problem, method: str) -> None:
    graph = rate_code(problem.ann, method, problem.image)
    save_graph(graph, tmp_path / "snn.safetensors")
    again = load_graph(tmp_path / "snn.safetensors")
    assert compare_graphs(graph, again) == []
    assert again.tau == graph.tau == (4 if method == "srp" else 0)
    assert compare_graphs(graph, SpikingGraph(graph.nodes, graph.t_max, graph.tau + 1)) == ["tau"]
    if problem.name != "concatenation":  # spikes of different worth meet there
        assert all(is_integer(node.arrays["weight"]) for node in graph.synapses)
    assert all(isinstance(node, IntegrateAndFire) for node in graph.neurons)


def _residual(activation: Any) -> nn.Module:
    def forward(self: Any, x: Tensor) -> Tensor:
        first = self.one(self.stem(x))
        second = self.two(self.branch(first) + first)
        third = self.three(self.left(second) + self.right(second) + second)
        return self.head(functional.avg_pool2d(torch.cat([third, second], 1), 2).flatten(1))

    return Forward(
        forward,
        stem=nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)),
        branch=nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)),
        left=nn.Conv2d(4, 4, 1),
        right=nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4)),
        head=nn.Linear(8 * 4, 3),
        one=activation(),
        two=activation(),
        three=activation(),
    )


def _pooled_currents(activation: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.MaxPool2d(2),
        activation(),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.AvgPool2d(2),
        activation(),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def _captured(make: Any, activation: Any, shape: tuple[int, int, int] = (2, 4, 4)) -> tuple[SpikingGraph, Tensor]:
    torch.manual_seed(3)
    images = torch.randint(0, 256, (12, *shape), dtype=torch.uint8)
    model = nn.Sequential(Pixels((100,) * shape[0], 64), randomise_statistics(make(activation), 1)).eval()
    return capture(model, images[:2]), images


@pytest.mark.parametrize("make", [_residual, _pooled_currents])
@pytest.mark.parametrize("method", CONVERGING)
def test_branches_and_pools_tend_to_the_straight_network(make: Any, method: str) -> None:
    ann, images = _captured(make, lambda: qcfs(4, 2.0) if method in ("qcfs", "signed-if") else nn.ReLU())
    wanted = evaluate_capture(drop_levels(ann), images, dtype=torch.float64)
    graph = rate_code(ann, method, images, **({"target_steps": 64} if method == "calibrated" else {}))
    run = simulate(graph, images, 512, dtype="float64")
    error = (run.logits - wanted).abs().mean((1, 2))
    tolerance = 0.1 if method == "calibrated" else 0.02  # a threshold of least error may clip
    assert float(error[-1]) < tolerance * float(wanted.abs().mean())
    assert float(error[-1]) < float(error[7]) / 2


def test_shortcuts_weigh_spikes_by_their_threshold() -> None:
    ann, images = _captured(_residual, nn.ReLU)
    graph = rate_code(ann, "percentile", images)
    sums = [node for node in graph if type(node).__name__ == "Add"]
    assert all(node.gains is not None for node in sums)
    thresholds = measure_percentiles(ann, images, 100)
    assert sums[0].gains[-1].tolist() == pytest.approx([thresholds["1.one"]] * 4)


def test_named_networks_convert() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    for make in (
        lambda: vgg15((3, 32, 32), 4),
        lambda: resnet20((3, 32, 32), 4),
        lambda: mobilenet_v1((3, 32, 32), 4, width=0.25),
    ):
        model = nn.Sequential(Pixels((128,) * 3, 64), randomise_statistics(make())).eval()
        ann = capture(model, images[:2])
        graph = rate_code(ann, "percentile", images, t_max=4)
        run = simulate(graph, images, 2)
        assert run.logits.shape == (2, 3, 4)
        assert {type(node).__name__ for node in graph}.isdisjoint({"BatchNorm", "Rectifier"})
        assert len(graph.neurons) == sum(isinstance(node, Rectifier) for node in ann)


def test_srp_is_qcfs_where_nobody_is_silenced_and_differs_where_some_are() -> None:
    ann, images = _captured(_residual, lambda: qcfs(4, 2.0))
    plain, silencing = convert(ann, "qcfs"), convert(ann, "srp", tau=4)
    assert silencing.tau == 4
    found = simulate(silencing, images, 8)
    assert not torch.equal(found.logits, simulate(plain, images, 8).logits)
    deaf = [replace(n, residual=n.residual - 1e9) if isinstance(n, IntegrateAndFire) else n for n in silencing]
    hearing = SpikingGraph(tuple(deaf), silencing.t_max, 4)
    assert torch.equal(simulate(hearing, images, 8).logits, simulate(plain, images, 8).logits)
    assert all(n.residual.tolist() == pytest.approx((1e-3 * n.threshold).tolist()) for n in silencing.neurons)


def test_percentile_is_numpys() -> None:
    ann, images = _captured(_residual, nn.ReLU)
    from isospike.networks import CapturedNetwork

    names = [node.name for node in ann if isinstance(node, Rectifier)]
    values = CapturedNetwork(ann).measure(images, names)
    for percentile in (0, 50, 99.7, 100):
        found = measure_percentiles(ann, images, percentile)
        for name in names:
            assert found[name] == pytest.approx(float(np.percentile(values[name].numpy(), percentile)), rel=1e-5)


def test_threshold_of_least_error_worked_out_by_hand() -> None:
    # activations 1 (many times) and 100, one step: a spike is worth theta; theta = 1 would lose 99, theta = 100 only 1s
    ann = chain(
        pixels(1, 1, 4),
        Convolution("encoder", (), whole([[[[1]]]])),
        Rectifier("neuron", ()),
        Flatten("flatten", ()),
        Dense("classifier", (), whole(np.eye(4))),
        Readout("readout", (), real([0] * 4)),
    )
    assert fit_thresholds(ann, image([[1, 1, 1, 100]]), 1, False)["neuron"] == pytest.approx(100)
    assert fit_thresholds(ann, image([[60, 60, 60, 80]]), 1, False)["neuron"] == pytest.approx(65, abs=0.81)
    per_channel = fit_thresholds(ann, image([[60, 60, 60, 80]]), 1, True)["neuron"]
    assert np.shape(per_channel) == (1,)


def test_bias_correction_brings_means_nearer() -> None:
    ann, images = _captured(_residual, nn.ReLU)
    wanted = evaluate_capture(ann, images, dtype=torch.float64)
    errors = []
    for corrected in (False, True):
        graph = convert(ann, "calibrated", images=images, target_steps=4, correct_bias=corrected, per_channel=True)
        errors.append(float((simulate(graph, images, 4).logits[-1] - wanted).mean(0).abs().mean()))
    assert errors[1] < 0.8 * errors[0]


def test_max_pools_of_currents_change_places_with_their_activation() -> None:
    ann, images = _captured(_pooled_currents, nn.ReLU)
    swapped = pool_spikes(ann)
    kinds = [type(node) for node in swapped]
    assert kinds.index(Rectifier) < kinds.index(MaxPool)
    assert torch.equal(evaluate_capture(swapped, images), evaluate_capture(ann, images))
    bad = chain(
        pixels(1, 2, 2),
        Convolution("conv", (), whole([[[[1]]]])),
        MaxPool("pool", (), (2, 2), (2, 2)),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1]])),
        Readout("readout", (), real([0])),
    )
    with pytest.raises(ConversionError, match="pool: a max pool of currents cannot be tracked"):
        pool_spikes(bad)


def test_loss_is_measured_and_tensors_compared() -> None:
    ann, images = _captured(_residual, lambda: qcfs(8, 2.0))
    graph = convert(ann, "qcfs", t_max=64)
    found = measure_loss(graph, ann, images, "qcfs", batch_size=5)
    assert (found.images, len(found.agreement), len(found.logit_error)) == (12, 64, 64)
    assert found.differing_tensors == []
    run, wanted = simulate(graph, images), evaluate_capture(ann, images, dtype=torch.float64)
    assert found.agreement[-1] == float((run.predictions[-1] == wanted.argmax(1)).double().mean())
    assert found.logit_error[7] == pytest.approx(float((run.logits[7] - wanted).abs().mean()), rel=1e-6)
    assert found.logit_error[-1] < found.logit_error[0]
    moved = [replace(n, threshold=n.threshold * 2) if n is graph.neurons[1] else n for n in graph]
    changed = SpikingGraph(tuple(moved), 64)
    assert measure_loss(changed, ann, images, "qcfs", steps=1).differing_tensors == [graph.neurons[1].name]
    measured = rate_code(ann, "percentile", images, norm=5, seed=3)
    given: dict[str, Any] = {"steps": 2, "calibration": images, "norm": 5, "percentile": 100}
    assert measure_loss(measured, ann, images, "percentile", **given, seed=3).differing_tensors == []
    assert measure_loss(measured, ann, images, "percentile", **given, seed=4).differing_tensors


def test_what_does_not_fit_is_refused() -> None:
    ann, images = _captured(_residual, nn.ReLU)
    for method in ("percentile", "opi", "calibrated"):
        with pytest.raises(ConversionError, match=f"{method}: measures activations on training images, and got none"):
            convert(ann, method)
        with pytest.raises(ConversionError, match=f"{method}: expected to measure on 1 image or more"):
            convert(ann, method, images=images, norm=0)
        with pytest.raises(ConversionError, match=f"{method}: expected training images"):
            convert(ann, method, images=images[:0])
    for method in ("qcfs", "srp", "signed-if"):
        with pytest.raises(ConversionError, match=f"one: {method} takes its threshold from a level activation"):
            convert(ann, method)
    with pytest.raises(ConversionError, match="percentile: expected a number from 0 to 100, got 101"):
        convert(ann, "percentile", images=images, percentile=101)
    with pytest.raises(ConversionError, match="one: expected a threshold above 0, got 0: its neurons never fire"):
        convert(ann, "percentile", images=images, percentile=0)
    with pytest.raises(ConversionError, match="calibrated: expected target_steps of 1 or more"):
        convert(ann, "calibrated", images=images, target_steps=0)
    endless = chain(*(replace(n, levels=None) if isinstance(n, Activation) else n for n in PROBLEMS[0].ann))
    with pytest.raises(ConversionError, match="neuron: qcfs needs a highest level"):
        convert(endless, "qcfs")
    with pytest.raises(ConversionError, match="srp: expected tau of 1 step or more"):
        convert(PROBLEMS[0].ann, "srp", tau=0)
    with pytest.raises(ConversionError, match="signed-if: expected a margin of 0"):
        convert(PROBLEMS[0].ann, "signed-if", margin=-1)
    graph = convert(PROBLEMS[0].ann, "qcfs")
    for method in ("qcfs", "percentile"):
        with pytest.raises(ConversionError, match="got a graph that spikes already"):
            convert(graph, method, images=PROBLEMS[0].image)
        with pytest.raises(ConversionError, match="t_max: expected at least 1"):
            convert(PROBLEMS[0].ann, method, images=PROBLEMS[0].image, t_max=0)
    with pytest.raises(ConversionError, match="verify: a rate-coded graph does not equal its ANN"):
        verify(graph, PROBLEMS[0].ann, PROBLEMS[0].image, "qcfs")
    with pytest.raises(ConversionError, match="measure_loss: expected a rate-coded graph"):
        lossless = convert(PROBLEMS[0].ann, "negative-spike")
        measure_loss(lossless, PROBLEMS[0].ann, PROBLEMS[0].image, "negative-spike")
