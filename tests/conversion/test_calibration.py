"""Level activations by calibration: thresholds from images, no retraining."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isospike import calibrate, capture
from isospike.conversion.histograms import Histogram
from isospike.errors import ConversionError
from isospike.graph import Activation, Rectifier, SpikingGraph
from isospike.networks import CapturedNetwork, Pixels, build_network, evaluate_capture, resnet8


def draw_images(n: int = 24, seed: int = 0, shape: tuple[int, ...] = (1, 8, 8)) -> Tensor:
    return torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def build_plain(seed: int = 0, ceiling: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    rectifier = nn.ReLU6 if ceiling else nn.ReLU
    return nn.Sequential(
        Pixels((7,), 64),
        nn.Conv2d(1, 6, 3),
        rectifier(),
        nn.Conv2d(6, 5, 3, bias=False),
        nn.BatchNorm2d(5),
        rectifier(),
        nn.Flatten(),
        nn.Linear(80, 4),
    ).eval()


def rectified(ann: SpikingGraph, images: Tensor) -> dict[str, Tensor]:
    names = [node.name for node in ann if isinstance(node, Rectifier | Activation)]
    return CapturedNetwork(ann).measure(images, names)


def activations(ann: SpikingGraph) -> list[Activation]:
    return [node for node in ann if isinstance(node, Activation)]


@given(
    st.lists(st.lists(st.floats(-2, 50, width=32), min_size=3, max_size=40), min_size=1, max_size=6),
    st.floats(1, 100),
)
def test_percentile_of_a_growing_histogram_is_numpys_up_to_a_bin(parts: list[list[float]], percentile: float) -> None:
    histogram = Histogram(1, 4096)
    for part in parts:
        histogram.add(torch.tensor([part]))
    values = np.maximum(np.concatenate([np.float32(part) for part in parts]), 0)
    found = float(histogram.find_percentile(percentile)[0])
    low = np.percentile(values, percentile, method="lower")
    below = np.sort(values)[max(int(np.ceil(percentile / 100 * len(values))) - 2, 0)]
    high = np.percentile(values, percentile, method="higher")
    width = 2 * values.max() / 4096 + 1e-6
    assert min(below, low) - width <= found <= high + width


def test_percentile_of_many_values_close_to_numpys() -> None:
    values = torch.randn(40_000, generator=torch.Generator().manual_seed(1)) * 3
    histogram = Histogram(2, 4096)
    for part in values.split(1000):
        histogram.add(torch.stack([part, 10 * part]))
    expected = np.percentile(values.clamp(min=0).numpy(), 99.5)
    assert histogram.find_percentile(99.5).tolist() == pytest.approx([expected, 10 * expected], rel=0.01)
    assert histogram.find_percentile(100).tolist() == pytest.approx([values.max().item(), 10 * values.max().item()])
    assert histogram.find_percentile(10).tolist() == [0, 0]


@pytest.mark.parametrize("levels", [2, 4, 32])
def test_fitted_threshold_leaves_no_more_error_than_others(levels: int) -> None:
    values = torch.randn(5000, generator=torch.Generator().manual_seed(2)).clamp(min=0).double()
    histogram = Histogram(1, 4096)
    histogram.add(values[None])

    def error(theta: float) -> float:
        step = theta / levels
        return float(((values / step + 0.5).floor().clamp(0, levels) * step - values).square().mean())

    best = float(histogram.fit_threshold(levels)[0])
    others = [share * float(values.max()) for share in np.linspace(0.02, 1, 50)]
    assert error(best) <= min(map(error, others)) * 1.001
    assert best < float(values.max())


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_the_first_threshold_is_the_percentile_of_its_activations(per: str) -> None:
    ann, images = capture(build_plain(), draw_images()), draw_images(200)
    quantised = calibrate(ann, images, percentile=99, per=per, batch_size=37)
    values = rectified(ann, images)["2"].transpose(0, 1).flatten(1).numpy()
    first = activations(quantised)[0]
    theta = float(first.step) * 32 * (np.ones(6) if first.ratios is None else first.ratios)
    expected = np.percentile(values, 99, axis=1) if per == "channel" else [np.percentile(values, 99)] * 6
    active = np.array(expected) > 0
    assert active.sum() >= 4
    assert theta[active].tolist() == pytest.approx(list(np.array(expected)[active]), rel=0.01)
    assert (first.ratios is None) == (per == "layer")


@pytest.mark.parametrize("criterion", ["percentile", "mean-square-error"])
@pytest.mark.parametrize("per", ["layer", "channel"])
@pytest.mark.parametrize("ceiling", [False, True])
def test_more_levels_come_closer_to_the_network(criterion: str, per: str, ceiling: bool) -> None:
    model, images = build_plain(ceiling=ceiling), draw_images(200)
    expected = model(images)
    gaps = []
    for levels in (2, 8, 64, 512):
        ann = calibrate(model, images, levels=levels, criterion=criterion, percentile=100, per=per)
        assert not any(isinstance(node, Rectifier) for node in ann)
        gaps.append(float((evaluate_capture(ann, images) - expected).detach().square().mean()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < gaps[0] / 500


def test_a_later_layer_is_measured_on_the_quantised_ones_before_it() -> None:
    model, images = build_plain(), draw_images()
    ann = calibrate(model, images, levels=1, percentile=90)
    behind = SpikingGraph(
        tuple(Rectifier(node.name, node.inputs) if node is activations(ann)[1] else node for node in ann)
    )
    values = rectified(behind, images)["5"].numpy()
    assert float(activations(ann)[1].step) == pytest.approx(np.percentile(values, 90), rel=0.01)
    plain = rectified(capture(model, images), images)["5"].numpy()
    assert float(activations(ann)[1].step) != pytest.approx(np.percentile(plain, 90), rel=0.01)


def test_bias_correction_brings_the_means_back() -> None:
    torch.manual_seed(3)
    model, images = resnet8((3, 16, 16), 10).eval(), torch.rand(64, 3, 16, 16)
    expected = rectified(capture(model, images), images)
    gaps = []
    for correct in (False, True):
        ann = calibrate(model, images, levels=3, percentile=97, correct_bias=correct)
        found = rectified(ann, images)
        means = [(found[name] - expected[name]).transpose(0, 1).flatten(1).mean(1).abs().mean() for name in expected]
        gaps.append(float(torch.stack(means).mean()))
    assert gaps[1] < gaps[0] / 2


def test_a_correction_goes_to_no_branch_that_others_take() -> None:
    model = resnet8((3, 16, 16), 10).eval()
    images = torch.rand(8, 3, 16, 16)
    before, after = capture(model, images), calibrate(model, images, correct_bias=True)
    kinds = {node.name for node in after if node.arrays != {} and type(node) is type(before[node.name])}
    changed = [
        name
        for name in kinds
        if any(not np.array_equal(array, after[name].arrays[field]) for field, array in before[name].arrays.items())
    ]
    assert len(changed) == len(activations(after))


def test_a_correction_that_would_arrive_twice_is_not_made() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.classifier = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.convolution(x)
            return self.classifier(torch.relu(y + y).flatten(1))

    torch.manual_seed(0)
    model, images = Doubled().eval(), torch.rand(8, 1, 8, 8)
    before, after = capture(model, images), calibrate(model, images, levels=2, correct_bias=True)
    assert np.array_equal(before["convolution"].arrays["bias"], after["convolution"].arrays["bias"])


def test_silent_channels_and_layers_get_thresholds_above_zero() -> None:
    model = build_plain()
    with torch.no_grad():
        model[1].bias[2] = -1000.0
    first = activations(calibrate(model, draw_images(), per="channel"))[0]
    assert first.ratios is not None
    assert first.ratios[2] == 1
    with torch.no_grad():
        model[1].bias.fill_(-1000.0)
    assert float(activations(calibrate(model, draw_images()))[0].step) * 32 == 1
    rare = build_plain()
    with torch.no_grad():
        rare[1].bias.fill_(-9.0)
    assert all(node.step > 0 for node in activations(calibrate(rare, draw_images(), percentile=0.5)))


def test_images_of_any_batching_give_the_same_thresholds() -> None:
    model, images = build_plain(), draw_images(23)
    steps = [
        [float(node.step) for node in activations(calibrate(model, images, batch_size=size))] for size in (1, 5, 23)
    ]
    assert steps[0] == pytest.approx(steps[2], rel=2e-3)
    assert steps[1] == pytest.approx(steps[2], rel=2e-3)


def test_normalised_images_are_folded_into_the_graph() -> None:
    model = build_plain()[1:]
    ann = calibrate(model, draw_images(), pixels=((0.3,), (0.25,)), levels=256, percentile=100)
    assert not ann.input.floats
    images = draw_images(seed=5)
    expected = model((images / 255 - 0.3) / 0.25)
    assert torch.allclose(evaluate_capture(ann, images), expected, atol=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": 0}, "levels: expected 1 to 65536, got 0"),
        ({"criterion": "max"}, "criterion: expected one of percentile, mean-square-error, got 'max'"),
        ({"percentile": 0}, "percentile: expected above 0"),
        ({"percentile": 101}, "percentile: expected above 0"),
        ({"per": "neuron"}, "per: expected one of layer, channel"),
        ({"batch_size": 0}, "batch_size: expected 1 image"),
    ],
)
def test_bad_options(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        calibrate(build_plain(), draw_images(), **options)  # type: ignore[arg-type]


def test_nothing_to_calibrate_and_nothing_to_calibrate_on() -> None:
    with pytest.raises(ConversionError, match="expected a network with ReLU"):
        calibrate(build_network("4C3", (1, 8, 8), 3), draw_images())
    with pytest.raises(ConversionError, match="expected images"):
        calibrate(build_plain(), draw_images(0))
    with pytest.raises(ConversionError, match="uint8"):
        calibrate(capture(build_plain(), draw_images()), draw_images(shape=(1, 9, 9)))
    with pytest.raises(ConversionError, match="pixels: expected none beside a captured graph"):
        calibrate(capture(build_plain(), draw_images()), draw_images(), pixels=((0.5,), (0.5,)))


def test_the_calibrated_network_converts_without_loss() -> None:
    from isospike import convert, verify

    model = build_plain()
    ann = calibrate(model, draw_images(), levels=8)
    graph = convert(ann, "negative-spike", t_max=64)
    found = verify(graph, ann, draw_images(20, seed=9), "negative-spike")
    assert found.mismatches == 0
    assert found.unsettled == 0


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_a_calibrated_residual_network_counts_without_loss(per: str) -> None:
    from isospike import convert, verify

    torch.manual_seed(4)
    model = nn.Sequential(Pixels((120, 120, 120), 64), resnet8((3, 8, 8), 5)).eval()
    images = draw_images(12, shape=(3, 8, 8))
    ann = calibrate(model, images, levels=8, per=per, correct_bias=True)
    found = verify(convert(ann, "counting", t_max=200), ann, images, "counting")
    assert found.mismatches == 0
    assert found.unsettled == 0
