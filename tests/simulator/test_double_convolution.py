"""Convolutions in float64, against PyTorch's."""

import pytest
import torch
from torch.nn.functional import conv2d

from isospike import double_convolution
from isospike.double_convolution import convolve, lay_weight_out
from isospike.engine import is_available, list_isas
from isospike.errors import SimulationError

PLAIN = ((1, 1), (0, 0), (1, 1))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [
        ((6, 6), (3, 3), (1, 1), (1, 1), (1, 1)),
        ((6, 5), (1, 1), (1, 1), (0, 0), (1, 1)),
        ((7, 5), (2, 2), (2, 2), (0, 0), (1, 1)),  # a row and a column that no window reaches
        ((8, 9), (3, 2), (2, 3), (2, 1), (2, 3)),
        ((3, 3), (3, 3), (1, 1), (0, 0), (1, 1)),
    ],
)
@pytest.mark.parametrize("biased", [False, True])
def test_the_same_integers(size, kernel, stride, padding, dilation, biased, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-9, 10, (7, 3, *size), generator=generator).double()
    weight = torch.randint(-9, 10, (4, 3, *kernel), generator=generator).double()
    bias = torch.arange(4.0, dtype=torch.float64) if biased else None
    expected = conv2d(images, weight, bias, stride, padding, dilation)
    monkeypatch.setattr(double_convolution, "_NARROW", 1)
    for numbers, few in ((1, 0), (300, 0), (2**20, 0), (1, 2)):  # an image at a time, some, all; spike by spike
        monkeypatch.setattr(double_convolution, "_PATCHES", numbers)
        monkeypatch.setattr(double_convolution, "_FEW", few)
        for given in (images, images.contiguous(memory_format=torch.channels_last)):
            assert torch.equal(convolve(given, weight, bias, stride, padding, dilation, 1), expected)


def test_weights_laid_out_give_the_same() -> None:
    images, weight = torch.randn(2, 4, 5, 5).double(), torch.randn(3, 4, 2, 2).double()
    laid = lay_weight_out(weight)
    assert laid.permute(2, 3, 1, 0).is_contiguous()
    assert torch.equal(convolve(images, laid, None, *PLAIN, 1), convolve(images, weight, None, *PLAIN, 1))
    assert lay_weight_out(weight.float()).is_contiguous()  # PyTorch takes the layout of its output from the weights


needs_engine = pytest.mark.skipif(not is_available(), reason="the engine was not compiled")


def draw_spikes(share: float, channels: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    spikes = torch.randint(-2, 3, (6, channels, 9, 8), generator=generator).double()
    return spikes * (torch.rand(spikes.shape, generator=generator) < share)


@needs_engine
@pytest.mark.parametrize("out", [1, 7, 16, 67, 131])  # whole vectors of any width, and rests
@pytest.mark.parametrize("isa", list_isas() if is_available() else [])
def test_few_spikes_are_added_one_by_one(out: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOSPIKE_ISA", isa)
    monkeypatch.setattr(double_convolution, "_NARROW", 1)
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(out, 5, 3, 2, generator=generator).double()
    for share in (0.0, 0.01, 0.15):
        spikes = draw_spikes(share)
        for geometry in (PLAIN, ((2, 1), (1, 2), (1, 1)), ((1, 3), (0, 1), (2, 2))):
            expected = conv2d(spikes, weight, None, *geometry)
            with monkeypatch.context() as patch:
                patch.setattr(torch, "mm", None)  # calling it would fail
                found = convolve(spikes, lay_weight_out(weight), None, *geometry, 1)
            assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@needs_engine
def test_batches_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    spikes, weight = draw_spikes(0.1), torch.randn(20, 5, 3, 3, dtype=torch.float64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        whole = convolve(spikes, weight, None, *PLAIN, 1)
        torch.set_num_threads(1)
        parts = [convolve(each, weight, None, *PLAIN, 1) for each in spikes.split(1)]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(whole, torch.cat(parts))
    with monkeypatch.context() as patch:  # the order does matter for these weights
        patch.setattr(double_convolution, "_FEW", 0)
        assert not torch.equal(whole, convolve(spikes, weight, None, *PLAIN, 1))


@needs_engine
def test_a_wrong_instruction_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOSPIKE_ISA", "sse9")
    with pytest.raises(SimulationError, match="ISOSPIKE_ISA"):
        convolve(draw_spikes(1.0), torch.randn(20, 5, 3, 3).double(), None, *PLAIN, 1)


def test_many_spikes_and_no_engine_are_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, narrow = torch.randn(20, 5, 3, 3).double(), torch.randn(4, 5, 3, 3).double()
    monkeypatch.setattr(double_convolution, "require_native", None)  # calling it would fail
    assert torch.allclose(convolve(draw_spikes(1.0), weight, None, *PLAIN, 1), conv2d(draw_spikes(1.0), weight))
    assert torch.allclose(convolve(draw_spikes(0.1), narrow, None, *PLAIN, 1), conv2d(draw_spikes(0.1), narrow))
    left = convolve(draw_spikes(0.1), weight, None, *PLAIN, 1, spikes=False)
    assert torch.allclose(left, conv2d(draw_spikes(0.1), weight))
    monkeypatch.setattr(double_convolution, "is_available", lambda: False)
    assert torch.allclose(convolve(draw_spikes(0.1), weight, None, *PLAIN, 1), conv2d(draw_spikes(0.1), weight))


def test_what_is_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "mm", None)  # calling it would fail
    images, weight = torch.randn(2, 4, 5, 5), torch.randn(4, 1, 3, 3)
    full = torch.randn(3, 4, 3, 3)
    assert torch.equal(convolve(images, full, None, *PLAIN, 1), conv2d(images, full))
    assert torch.equal(convolve(images, weight, None, *PLAIN, 4), conv2d(images, weight, groups=4))
    deep, wide = images.double(), weight.double()
    assert torch.equal(convolve(deep, wide, None, *PLAIN, 4), conv2d(deep, wide, groups=4))
    assert convolve(deep[:0], wide.expand(4, 4, 3, 3), None, *PLAIN, 1).shape == (0, 4, 3, 3)
