"""The staircase itself: counts from exact integers, or from real values in float64. Part of the quantised ANN."""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from isospike.conversion.exact_signals import spread_over
from isospike.errors import ConversionError
from isospike.graph import Activation

_MOST_LEVELS = 1 << 20


class ExactStaircase:
    """``clip(floor(z / q + 1/2), 0, N)`` with ``z = gain * u + constant`` of integers u, per channel.

    Args:
        node: step q and levels N.
        gains: what one unit of u is worth.
        constants: z at u = 0.
    """

    def __init__(self, node: Activation, gains: Sequence[Fraction], constants: Sequence[Fraction]) -> None:
        self.node = node
        steps = read_steps(node, len(gains))
        self.slopes = [gain / q for gain, q in zip(gains, steps, strict=True)]
        self.intercepts = [value / q + Fraction(1, 2) for value, q in zip(constants, steps, strict=True)]
        self.boundaries = torch.empty(len(gains), 0, dtype=torch.float64)

    def count(self, u: Tensor) -> Tensor:
        """Counts, float64, of integers ``u`` (batch, channels, ...)."""
        by_channel = u.transpose(0, 1)
        flat = by_channel.reshape(len(self.slopes), -1)
        signs = torch.tensor([-1.0 if slope < 0 else 1.0 for slope in self.slopes], dtype=torch.float64).to(u.device)
        climbing = (flat * signs[:, None]).contiguous()
        self._extend(climbing.amax(1).tolist())
        counts = torch.searchsorted(self.boundaries.to(u.device), climbing, right=True)
        return counts.reshape(by_channel.shape).transpose(0, 1).to(torch.float64)

    def _extend(self, highest: list[float]) -> None:
        """List the first integer that earns each level, up to the highest level that this batch can reach."""
        tops = [
            (abs(slope) * int(high) + intercept).__floor__()
            for slope, intercept, high in zip(self.slopes, self.intercepts, highest, strict=True)
        ]
        levels = self.node.levels
        needed = max(0, *tops) if levels is None else min(levels, max(0, *tops))
        if needed > _MOST_LEVELS:
            raise ConversionError(
                f"{self.node.name}: counts reach {needed}, more than {_MOST_LEVELS}: bound the activation"
            )
        if needed > self.boundaries.shape[1]:
            lines = zip(self.slopes, self.intercepts, strict=True)
            rows = [_list_boundaries(slope, intercept, needed) for slope, intercept in lines]
            self.boundaries = torch.tensor(rows, dtype=torch.float64)


def count_in_float(node: Activation, z: Tensor) -> Tensor:
    """``clip(floor(z / q + 1/2), 0, N)`` of real values, float64 (batch, channels, ...)."""
    steps = torch.tensor([float(q) for q in read_steps(node, z.shape[1])], dtype=torch.float64)
    return torch.floor(z / spread_over(steps, z) + 0.5).clamp(0, node.levels)


def read_steps(node: Activation, channels: int) -> list[Fraction]:
    """q of each channel."""
    ratios = [1.0] * channels if node.ratios is None else node.ratios.tolist()
    return [node.step * Fraction(ratio) for ratio in ratios]


def _list_boundaries(slope: Fraction, intercept: Fraction, levels: int) -> list[float]:
    """The first integer v with ``|slope| v + intercept >= n``, for n = 1 .. levels."""
    if slope == 0:
        met = intercept.__floor__()
        return [float("-inf") if n <= met else float("inf") for n in range(1, levels + 1)]
    steep = abs(slope)
    return [float(-((intercept - n) / steep).__floor__()) for n in range(1, levels + 1)]
