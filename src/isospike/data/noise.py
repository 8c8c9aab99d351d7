"""Noise on images, as the papers add it."""

import torch
from torch import Tensor

from isospike.errors import DataError


def add_input_noise(images: Tensor, strength: float, seed: int) -> Tensor:
    """Pixels times ``1 + strength * (U - 0.5)``, U uniform in [0, 1) for each pixel, rounded and clipped to uint8.

    Args:
        images: uint8 (batch, channel, height, width).
        strength: R, 0 or more.
        seed: of U.

    Raises:
        DataError: a negative strength.

    Source: the scatter-and-gather and negative-spike papers; rounding to uint8 is ours (DESIGN, "Exact integers").
    """
    if not 0 <= strength < float("inf"):
        raise DataError(f"noise.input: expected 0 or more, got {strength}")
    if strength == 0:
        return images
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)).to(images.device)
    return (images * (1 + strength * (uniform - 0.5))).round_().clamp_(0, 255).to(torch.uint8)
