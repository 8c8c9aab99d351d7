"""Noise on images: as the papers add it, Gaussian, and salt and pepper."""

import torch
from torch import Tensor

from isospike.errors import DataError

MOST_NOISE = 1000
"""Far beyond what leaves anything of a picture, and far below what single precision overflows at."""


def add_input_noise(images: Tensor, strength: float, seed: int) -> Tensor:
    """Pixels times ``1 + strength * (U - 0.5)``, U uniform in [0, 1) for each pixel, rounded and clipped to uint8.

    Args:
        images: uint8 (batch, channel, height, width).
        strength: R, 0 to :data:`MOST_NOISE`.
        seed: of U.

    Raises:
        DataError: a strength outside.

    Source: the scatter-and-gather and negative-spike papers; rounding to uint8 is ours, since integer networks
    take raw pixels.
    """
    if not 0 <= strength <= MOST_NOISE:
        raise DataError(f"noise.input: expected 0 to {MOST_NOISE}, got {strength}")
    if strength == 0:
        return images
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)).to(images.device)
    return (images * (1 + strength * (uniform - 0.5))).round_().clamp_(0, 255).to(torch.uint8)


def add_gaussian_noise(images: Tensor, deviation: float, seed: int) -> Tensor:
    """Pixels plus ``255 * deviation * G``, G standard normal for each pixel and channel, rounded and clipped to uint8.

    Args:
        images: uint8 (batch, channel, height, width).
        deviation: as a share of the range of pixels, 0 to :data:`MOST_NOISE`.
        seed: of G.

    Raises:
        DataError: a deviation outside.
    """
    if not 0 <= deviation <= MOST_NOISE:
        raise DataError(f"Gaussian noise: expected a deviation of 0 to {MOST_NOISE}, got {deviation}")
    if deviation == 0:
        return images
    normal = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)).to(images.device)
    return (images + 255 * deviation * normal).round_().clamp_(0, 255).to(torch.uint8)


def add_salt_and_pepper(images: Tensor, probability: float, seed: int) -> Tensor:
    """Each pixel becomes, with a probability, black (0) or white (255), either as likely; all its channels together.

    A larger probability of the same seed hits the pixels of a smaller one, with the same colours.

    Args:
        images: uint8 (batch, channel, height, width).
        probability: 0 to 1.
        seed: of the draws.

    Raises:
        DataError: no probability.
    """
    if not 0 <= probability <= 1:
        raise DataError(f"salt and pepper: expected a probability from 0 to 1, got {probability}")
    if probability == 0:
        return images
    shape = (len(images), 1, *images.shape[2:])
    generator = torch.Generator().manual_seed(seed)
    hit = (torch.rand(shape, generator=generator) < probability).to(images.device)
    salt = (torch.rand(shape, generator=generator) < 0.5).to(images.device)
    return torch.where(hit, salt.to(torch.uint8) * 255, images)
