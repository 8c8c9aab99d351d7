"""Convolutions in float64, against PyTorch's."""

import pytest
import torch
from torch.nn.functional import conv2d

from isospike import double_convolution
from isospike.double_convolution import convolve, lay_weight_out

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
    for numbers in (1, 300, 2**20):  # an image at a time, some, all
        monkeypatch.setattr(double_convolution, "_PATCHES", numbers)
        for given in (images, images.contiguous(memory_format=torch.channels_last)):
            assert torch.equal(convolve(given, weight, bias, stride, padding, dilation, 1), expected)


def test_weights_laid_out_give_the_same() -> None:
    images, weight = torch.randn(2, 4, 5, 5).double(), torch.randn(3, 4, 2, 2).double()
    laid = lay_weight_out(weight)
    assert laid.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(convolve(images, laid, None, *PLAIN, 1), convolve(images, weight, None, *PLAIN, 1))
    assert lay_weight_out(weight.float()).is_contiguous()  # PyTorch takes the layout of its output from the weights


def test_what_is_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "mm", None)  # calling it would fail
    images, weight = torch.randn(2, 4, 5, 5), torch.randn(4, 1, 3, 3)
    full = torch.randn(3, 4, 3, 3)
    assert torch.equal(convolve(images, full, None, *PLAIN, 1), conv2d(images, full))
    assert torch.equal(convolve(images, weight, None, *PLAIN, 4), conv2d(images, weight, groups=4))
    deep, wide = images.double(), weight.double()
    assert torch.equal(convolve(deep, wide, None, *PLAIN, 4), conv2d(deep, wide, groups=4))
    assert convolve(deep[:0], wide.expand(4, 4, 3, 3), None, *PLAIN, 1).shape == (0, 4, 3, 3)
