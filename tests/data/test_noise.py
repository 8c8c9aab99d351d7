"""Noise on images does what the papers' formula says."""

import pytest
import torch

from isospike.data import add_gaussian_noise, add_input_noise, add_salt_and_pepper
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


@pytest.mark.parametrize("strength", [-0.1, 1000.1, 1e308, float("nan"), float("inf")])
def test_strength_out_of_range(strength: float) -> None:
    with pytest.raises(DataError, match=r"noise\.input"):
        add_input_noise(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), strength, 0)


def test_gaussian_noise_is_added_rounded_and_clipped() -> None:
    images = torch.tensor([0, 100, 255], dtype=torch.uint8).repeat(4000).view(10, 1, 30, 40)
    noisy = add_gaussian_noise(images, 0.1, seed=2)
    normal = torch.randn(images.shape, generator=torch.Generator().manual_seed(2)).double()
    expected = (images.double() + 25.5 * normal).round().clamp(0, 255)
    assert noisy.dtype is torch.uint8
    assert (noisy.double() - expected).abs().max() <= 1  # float32 and float64 may round a half differently
    hundred = noisy[images == 100].double()
    assert hundred.mean() == pytest.approx(100, abs=2)
    assert hundred.std() == pytest.approx(25.5, abs=1.5)
    assert (noisy[images == 0] == 0).double().mean() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(add_gaussian_noise(images, 0.0, 2), images)


def test_salt_and_pepper_hit_whole_pixels_evenly() -> None:
    images = torch.full((20, 3, 50, 50), 100, dtype=torch.uint8)
    noisy = add_salt_and_pepper(images, 0.2, seed=4)
    assert set(noisy.unique().tolist()) == {0, 100, 255}
    assert (noisy == noisy[:, :1]).all()  # a pixel's channels go together
    for colour in (0, 255):
        assert (noisy == colour).double().mean() == pytest.approx(0.1, abs=0.006)
    more = add_salt_and_pepper(images, 0.5, seed=4)
    assert (more[noisy != 100] == noisy[noisy != 100]).all()
    assert (add_salt_and_pepper(images, 1.0, 4) != 100).all()
    assert torch.equal(add_salt_and_pepper(images, 0.0, 4), images)


@pytest.mark.parametrize("amount", [-0.1, 1000.1, 1e308, float("nan"), float("inf")])
def test_amounts_out_of_range(amount: float) -> None:
    picture = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(DataError, match="Gaussian noise"):
        add_gaussian_noise(picture, amount, 0)
    with pytest.raises(DataError, match="salt and pepper"):
        add_salt_and_pepper(picture, amount, 0)
