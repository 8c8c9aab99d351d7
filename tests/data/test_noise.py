"""Noise on images does what the papers' formula says."""

import pytest
import torch

from isospike.data import add_input_noise
from isospike.errors import DataError


def test_pixels_are_multiplied_rounded_and_clipped() -> None:
    images = torch.tensor([0, 1, 100, 200, 255], dtype=torch.uint8).repeat(2000).view(10, 1, 20, 50)
    noisy = add_input_noise(images, 0.8, seed=3)
    assert noisy.dtype is torch.uint8
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(3))
    expected = (images.double() * (1 + 0.8 * (uniform.double() - 0.5))).round().clamp(0, 255)
    assert (noisy.double() - expected).abs().max() <= 1  # float32 and float64 may round a half differently
    assert (noisy.double() == expected).double().mean() > 0.999
    assert (noisy[images == 0] == 0).all()
    hundred = noisy[images == 100].double()
    assert 60 <= hundred.min() < 64
    assert 136 < hundred.max() <= 140
    assert hundred.mean() == pytest.approx(100, abs=1.5)
    assert (noisy[images == 255] == 255).double().mean() > 0.4


def test_seed_decides_and_zero_does_nothing() -> None:
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(add_input_noise(images, 0.5, 1), add_input_noise(images, 0.5, 1))
    assert not torch.equal(add_input_noise(images, 0.5, 1), add_input_noise(images, 0.5, 2))
    assert torch.equal(add_input_noise(images, 0.0, 1), images)


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_strength_out_of_range(strength: float) -> None:
    with pytest.raises(DataError, match=r"noise\.input"):
        add_input_noise(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), strength, 0)
