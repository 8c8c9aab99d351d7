"""The gradient of convolutions' weights by matrix products."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight
from torch.nn.utils import parametrize

from isospike.training import TrainingConfig, train
from isospike.training.convolution import MatrixGradients, choose_gradients, fits, weight_gradient

from .nets import Scale, Sign, take_digits


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((6, 6), (3, 3), (1, 1), (1, 1)),
        ((6, 6), (2, 2), (2, 2), (0, 0)),
        ((7, 5), (2, 2), (2, 2), (0, 0)),  # a row and a column that no window reaches
        ((7, 6), (3, 2), (2, 1), (0, 1)),
        ((1, 1), (3, 3), (1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("n", [1, 6, 16])
def test_the_products_are_the_gradient(
    n: int, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-9, 10, (n, 4, *size), generator=generator).float()
    weight = torch.zeros(5, 4, *kernel)
    out = conv2d(images, weight, None, stride, padding)
    slope = torch.randint(-9, 10, out.shape, generator=generator).float()
    expected = conv2d_weight(images, list(weight.shape), slope, stride, padding)
    assert torch.equal(weight_gradient(images, slope, kernel, stride, padding), expected)  # integers: no rounding
    innermost = (
        images.contiguous(memory_format=torch.channels_last),
        slope.contiguous(memory_format=torch.channels_last),
    )
    assert torch.equal(weight_gradient(*innermost, kernel, stride, padding), expected)


def differentiate(layer: nn.Conv2d, images: Tensor, active: bool) -> list[Tensor]:
    layer.zero_grad()
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16), MatrixGradients() if active else nullcontext():
        out = layer(images)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert images.grad is not None
    return [out.detach(), images.grad, *(each.grad for each in layer.parameters() if each.grad is not None)]


@pytest.mark.parametrize(("bias", "stride"), [(False, 1), (True, 1), (False, 2)])
@pytest.mark.parametrize("quantised", [False, True])
def test_a_layer_gives_the_same_and_learns_the_same(
    bias: bool, stride: int, quantised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer, images = nn.Conv2d(64, 64, 3, stride, padding=1, bias=bias), torch.randn(16, 64, 4, 4)
    if quantised:
        parametrize.register_parametrization(layer, "weight", Sign())
    usual = differentiate(layer, images, active=False)
    called: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        "isospike.training.convolution.weight_gradient",
        lambda images, *rest: (called.append(tuple(images.shape)), weight_gradient(images, *rest))[1],
    )
    quick = differentiate(layer, images, active=True)
    assert called == [(16, 64, 4, 4)]
    assert len(quick) == len(usual) == 3 + bias
    for mine, theirs in zip(quick, usual, strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert (mine - theirs).abs().max() <= 0.02 * theirs.abs().max()


def test_other_convolutions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isospike.training.convolution.weight_gradient", None)  # calling it would fail
    images = torch.randn(2, 64, 4, 4)
    others = {
        "groups": nn.Conv2d(128, 128, 3, padding=1, groups=2),
        "dilation": nn.Conv2d(64, 64, 2, dilation=2),
        "a named padding": nn.Conv2d(64, 64, 3, padding="same"),
        "few channels": nn.Conv2d(64, 8, 3),
    }
    for layer in others.values():
        differentiate(layer, torch.randn(2, layer.in_channels, 4, 4), active=True)
    differentiate(nn.Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 12, 12), active=True)  # a large map
    layer = nn.Conv2d(64, 64, 3, padding=1)
    with MatrixGradients():  # float32
        layer(images).sum().backward()
    with MatrixGradients(), torch.autocast("cpu", torch.bfloat16):
        layer.double()(images.double()).sum().backward()  # which autocast leaves alone
        assert layer(images[0].double()).shape == (64, 4, 4)


def test_what_fits() -> None:
    weight = torch.zeros(64, 64, 3, 3)
    assert fits(torch.zeros(1, 64, 10, 10), weight, (1, 1), (1, 1))
    assert not fits(torch.zeros(1, 64, 11, 10), weight, (1, 1), (1, 1))
    assert fits(torch.zeros(1, 64, 20, 20), weight, (2, 2), (1, 1))
    assert not fits(torch.zeros(1, 63, 10, 10), weight[:, :63], (1, 1), (1, 1))


def test_they_are_chosen_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: dict[bool, list[bool]] = {}
    for has in (True, False):
        monkeypatch.setattr("isospike.training.convolution._has_matrix_units", lambda has=has: has)
        asked = [("cpu", False), ("cpu", True), ("cuda", False)]
        chosen[has] = [isinstance(choose_gradients(*each), MatrixGradients) for each in asked]
    assert chosen == {True: [True, False, False], False: [False, False, False]}


def test_a_training_learns_with_them_and_again_to_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isospike.training.loop.choose_gradients", lambda *_: MatrixGradients())
    called: list[int] = []
    monkeypatch.setattr(
        "isospike.training.convolution.weight_gradient",
        lambda *given: (called.append(len(given[0])), weight_gradient(*given))[1],
    )
    config = TrainingConfig(3, batch_size=100, learning_rate=0.01, precision="bf16", channels_last=True, accumulation=2)
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        net = nn.Sequential(
            Scale(),
            nn.Conv2d(1, 64, 2, stride=2, bias=False),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(1024, 10),
        )
        reports = train(net, take_digits(), config)
        nets.append(net)
    assert called == [50] * (2 * 3 * 2 * 2)  # runs, epochs, steps, slices
    assert reports[-1].loss < 0.8 * reports[0].loss
    assert all(torch.equal(one, other) for one, other in zip(*(net.parameters() for net in nets), strict=True))
