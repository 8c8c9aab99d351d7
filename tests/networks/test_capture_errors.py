"""What cannot be captured gives one line that names the module, the operation and the remedy."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from isospike.conversion import convert
from isospike.errors import ConversionError
from isospike.networks import (
    Pixels,
    Quantisation,
    build_architecture,
    build_network,
    capture,
    evaluate_capture,
    qcfs,
)
from tests.networks.comparison import Forward
from tests.problems import PROBLEMS


def _after(*layers: nn.Module) -> nn.Module:
    """Layers in a named place after a convolution."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(*layers), nn.Flatten())


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(64, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.memory(x.flatten(2))[0][:, -1]


class _Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale(x)


class _Choosing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class _Counting(nn.Module):
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


def _changed_view(m: nn.Module, x: Tensor) -> Tensor:  # noqa: ARG001
    x = x * 2
    seen = x.flatten(1)
    x.relu_()
    return seen


def _changed_slice(m: nn.Module, x: Tensor) -> Tensor:  # noqa: ARG001
    x = x * 2
    x[:, 0] = 0
    return x.flatten(1)


def _changed_by_sigmoid(m: nn.Module, x: Tensor) -> Tensor:  # noqa: ARG001
    x = x * 2
    x += torch.sigmoid(x)
    return x.flatten(1)


def _changed_copy(m: nn.Module, x: Tensor) -> Tensor:  # noqa: ARG001
    x = x * 2
    copy = x.contiguous(memory_format=torch.channels_last)
    copy.relu_()
    return (x + copy).flatten(1)


def _divided_by_zero(m: nn.Module, x: Tensor) -> Tensor:  # noqa: ARG001
    return x * (len(x.shape) // 0)


UNSUPPORTED: list[tuple[str, Callable[[], nn.Module], str]] = [
    ("sigmoid", lambda: _after(nn.Sigmoid()), r"^1\.0: cannot capture sigmoid \(in Sigmoid\): use nn.ReLU or a level"),
    ("silu in place", lambda: _after(nn.SiLU(inplace=True)), r"^1\.0: cannot capture silu \(in SiLU\): use nn.ReLU"),
    ("leaky", lambda: _after(nn.LeakyReLU()), r"^1\.0: cannot capture leaky_relu .*: use nn.ReLU or a level"),
    ("hardtanh", lambda: _after(nn.Hardtanh()), r"^1\.0: cannot capture clipping to -1.0..1.0: clip from 0 upwards"),
    (
        "transposed",
        lambda: _after(nn.ConvTranspose2d(4, 4, 2)),
        r"^1\.0: cannot capture conv_transpose2d .*: only Conv2d",
    ),
    ("upsampling", lambda: _after(nn.Upsample(scale_factor=2)), r"^1\.0: cannot capture upsample_nearest2d"),
    ("group norm", lambda: _after(nn.GroupNorm(2, 4)), r"^1\.0: cannot capture group_norm .*: use nn.BatchNorm2d"),
    ("batch statistics", lambda: _after(nn.BatchNorm2d(4, track_running_stats=False)), r"^1\.0: .* statistics of each"),
    ("lstm", _Recurrent, r"^memory: cannot capture lstm \(in LSTM\): only feed-forward networks"),
    ("gate", lambda: _after(_Gate()), r"^1\.0\.mul: cannot capture mul of two signals: spikes add and do not multiply"),
    (
        "softmax",
        lambda: nn.Sequential(nn.Flatten(), nn.Softmax(1)),
        r"^1: cannot capture softmax .*: return the logits",
    ),
    ("permute", lambda: Forward(lambda _, x: x.permute(0, 2, 3, 1)), r"^Forward: cannot capture permute .*slicing"),
    ("slice", lambda: Forward(lambda _, x: x[:, 1:].flatten(1)), r"^Forward: cannot capture slice .*groups or stride"),
    ("chunk", lambda: Forward(lambda _, x: x.chunk(3, 1)[0].flatten(1)), r"^Forward: cannot capture chunk"),
    (
        "even same",
        lambda: nn.Sequential(nn.Conv2d(3, 4, 2, padding="same"), nn.Flatten()),
        r"^0: .*'same' .*odd kernel",
    ),
    ("reflect", lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), r"^Conv2d: cannot capture pad .*zeros"),
    ("ceil mode", lambda: _after(nn.MaxPool2d(3, 2, ceil_mode=True)), r"^1\.0: gives .4, 4, 4., .*ceil_mode=False"),
    ("dilated pool", lambda: _after(nn.MaxPool2d(2, dilation=2)), r"^1\.0: cannot capture max pooling with dilation"),
    (
        "border average",
        lambda: _after(nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        r"^1\.0: .*average pooling whose divisor changes at the border: use count_include_pad",
    ),
    (
        "adaptive",
        lambda: _after(nn.AdaptiveAvgPool2d(3)),
        r"^1\.0: .*adaptive pooling of \(4, 8, 8\) to \(3, 3\), whose",
    ),
    (
        "map as logits",
        lambda: nn.Conv2d(3, 4, 3),
        r"^Conv2d: expected logits \(batch, classes\), got .*flatten the output",
    ),
    (
        "half a flatten",
        lambda: nn.Sequential(nn.Flatten(2), nn.ReLU()),
        r"^0: cannot capture a reshape from \(3, 8, 8\)",
    ),
    (
        "dense over width",
        lambda: nn.Linear(8, 4),
        r"^(?:Linear|linear): cannot capture a dense layer over the last .*flatten",
    ),
    (
        "batches mixed",
        lambda: Forward(lambda _, x: x.view(-1, 64)),
        r"^flatten: cannot capture a shape of .*batch first",
    ),
    ("two outputs", lambda: Forward(lambda _, x: (x.flatten(1), x)), r"^Forward: expected one tensor .* got 2 outputs"),
    ("constant", lambda: Forward(lambda *_: torch.ones(2, 3)), r"^Forward: its logits do not depend on the images"),
    ("image constant", lambda: Forward(lambda _, x: x + torch.ones(8, 8)), r"^add: .*constant of shape \(8, 8\)"),
    (
        "broadcast of branches",
        lambda: Forward(lambda _, x: x - x.mean((2, 3), keepdim=True)),
        r"^sub: cannot capture a sum that broadcasts \(3, 8, 8\) and \(3, 1, 1\)",
    ),
    ("random", lambda: Forward(lambda _, x: x + torch.rand(3, 1, 1)), r"^add: .* with a value that is not constant"),
    (
        "dropout left on",
        lambda: Forward(lambda _, x: functional.dropout(x)),
        r"^dropout: .*drops while evaluating: use",
    ),
    ("integers", lambda: Forward(lambda _, x: x.long().flatten(1)), r"^to: cannot capture a conversion to torch.int64"),
    ("changing buffer", _Counting, r"^(?:_Counting|add_?): cannot capture a forward that changes its own"),
    ("changed view", lambda: Forward(_changed_view), r"^flatten: cannot capture a view whose memory changes in place"),
    ("changed slice", lambda: Forward(_changed_slice), r"^mul: cannot capture a view whose memory changes in place"),
    ("changed copy", lambda: Forward(_changed_copy), r"^mul: cannot capture a view whose memory changes .*, or may"),
    ("division by zero", lambda: Forward(_divided_by_zero), r"^Forward: cannot trace its forward .ZeroDivisionError"),
    (
        "tensor limit",
        lambda: _after(Forward(lambda _, x: x.clamp(min=torch.zeros(4, 1, 1)))),
        r"^1\.0: cannot capture clipping to limits that are tensors: clip from the number 0",
    ),
    (
        "pooled to nothing",
        lambda: _after(nn.AdaptiveAvgPool2d(0)),
        r"^1\.0: cannot capture adaptive pooling of \(4, 8, 8\) to \(0, 0\)",
    ),
    ("in-place error", lambda: Forward(_changed_by_sigmoid), r"^Forward: cannot capture sigmoid"),
    ("control flow", lambda: _after(_Choosing()), r"^1\.0: cannot capture control flow .*: take it out of forward"),
    (
        "value",
        lambda: Forward(lambda _, x: x * float(x.max())),
        r"^Forward: cannot capture control flow \(or a number\)",
    ),
    ("batch size", lambda: Forward(lambda _, x: x.view(len(x), -1)), r"^Forward: .*makes a constant of the batch size"),
    (
        "batch chosen",
        lambda: Forward(lambda _, x: (x if x.shape[0] > 3 else -x).flatten(1)),
        r"^Forward: cannot capture a forward that depends on the batch size",
    ),
    ("numpy", lambda: Forward(lambda _, x: torch.from_numpy(x.numpy())), r"^Forward: cannot trace its forward"),
    (
        "wrong shape",
        lambda: _after(nn.Conv2d(5, 2, 3)),
        r"^1\.0: cannot trace its forward .*: check that the model takes",
    ),
    ("late pixels", lambda: nn.Sequential(nn.ReLU(), Pixels((0, 0, 0))), r"^1: .*Pixels here: Pixels come first"),
]


@pytest.mark.parametrize(
    ("build", "message"), [each[1:] for each in UNSUPPORTED], ids=[each[0] for each in UNSUPPORTED]
)
def test_one_line_that_names_the_thing(
    build: Callable[[], nn.Module], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConversionError, match=message) as caught:
        capture(build(), torch.randn(2, 3, 8, 8))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (None, "capture: a ReLU needs example images .*, got none: give capture.model, example."),
        (torch.zeros(1, 3, 8, 8), r"got the shape \(1, 3, 8, 8\)"),
        (torch.zeros(2, 3), r"got the shape \(2, 3\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "expected example images of float or uint8, got torch.int64"),
    ],
)
def test_examples_that_do_not_fit(example: Tensor | None, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        capture(nn.ReLU(), example)


@pytest.mark.parametrize(
    "pixels",
    [
        ((0.5,), (0.2,)),
        ((0.5,) * 3, (0.2, 0.0, 0.2)),
        ((0.5,) * 3,),
        ((0.5,) * 3, (0.2,) * 2),
        (0.5, 0.2),
        ((0.5, float("nan"), 0.5), (0.2,) * 3),
        ((0.5,) * 3, (0.2, float("inf"), 0.2)),
    ],
)
def test_normalisation_that_does_not_fit(pixels: Any) -> None:
    with pytest.raises(ConversionError, match="pixels: expected a mean and a deviation above 0 for each of 3 channels"):
        capture(nn.Flatten(), torch.zeros(2, 3, 8, 8), pixels=pixels)


@pytest.mark.parametrize(
    "build",
    [lambda: build_network("3C3", (3, 8, 8), 3), lambda: build_architecture("resnet8", (3, 8, 8), 3)],
    ids=["notation", "named"],
)
def test_networks_that_take_raw_pixels_have_no_normalisation(build: Callable[[], nn.Module]) -> None:
    with pytest.raises(ConversionError, match=r"^pixels: a \w+ begins with Pixels .*: leave pixels out"):
        capture(build(), pixels=((0.5,) * 3, (0.2,) * 3))


@pytest.mark.parametrize(
    ("forward", "operation"),
    [
        (lambda _, x: (x - 128).float().flatten(1) / 64, "sub"),
        (lambda _, x: (128 - x).float().flatten(1), "rsub"),
        (lambda _, x: (x + x).float().flatten(1), "add"),
        (lambda _, x: (torch.flatten(x, 1) * 2).float(), "mul"),
    ],
    ids=["sub", "rsub", "add", "mul"],
)
def test_arithmetic_on_bytes_wraps_and_is_refused(forward: Callable[..., Tensor], operation: str) -> None:
    with pytest.raises(
        ConversionError, match=rf"cannot capture {operation} in torch.uint8, .*: convert first: x.float"
    ):
        capture(Forward(forward), torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def test_values_that_are_not_finite_name_their_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), qcfs(4), nn.Flatten())
    norm, levels = model[1], model[2]
    with torch.no_grad():
        norm.running_var[1] = -1  # type: ignore[index]
    with pytest.raises(ConversionError, match=r"^1\.sigma: holds NaN"):
        capture(model, torch.zeros(2, 3, 8, 8))
    with torch.no_grad():
        norm.running_var[1] = 1  # type: ignore[index]
        levels.threshold.fill_(-2)  # type: ignore[operator, union-attr]
    with pytest.raises(ConversionError, match=r"^2: level activation: expected a threshold above 0, got -2"):
        capture(model, torch.zeros(2, 3, 8, 8))


def test_relu_has_no_counts_that_could_be_equal() -> None:
    model = build_network("3C3", (1, 6, 6), 3, Quantisation(levels="none"))
    with pytest.raises(ConversionError, match=r"conv1\.neuron: "):
        convert(model, "negative-spike")


def test_evaluation_refuses_other_graphs_and_images() -> None:
    ann = PROBLEMS[0].ann
    with pytest.raises(ConversionError, match="expected a captured ANN, got a graph that spikes"):
        evaluate_capture(convert(ann, "all-integer", t_max=2), PROBLEMS[0].image)
    graph = capture(nn.Flatten(), torch.zeros(2, 3, 8, 8))
    with pytest.raises(ConversionError, match=r"images: expected float \(batch, 3, 8, 8\), got uint8 \(2, 3, 8, 8\)"):
        evaluate_capture(graph, torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ConversionError, match=r"images: expected float \(batch, 3, 8, 8\), got float32 \(2, 3, 8, 9\)"):
        evaluate_capture(graph, torch.zeros(2, 3, 8, 9))
