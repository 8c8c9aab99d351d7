"""What the integers of a quantised ANN are worth, and how they become one signal. Part of its exact evaluation.

This is verification's own account of units and rounding, written apart from the conversion's on purpose.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from isospike.errors import ConversionError

EXACT = 2**53
_LEAST = Fraction(1, 2**10)
_MOST_BITS = 20


@dataclass(frozen=True, eq=False)
class Worth:
    """The value of a node's parts: ``sum_i gains[i][c] * part_i[c] + constant[c]``.

    Attributes:
        gains: per part and channel; None where the one part is the real value itself, in float64.
        constant: per channel.
        counts: whether the one part holds counts or pixels, perhaps pooled or joined.
    """

    gains: tuple[list[Fraction], ...] | None
    constant: list[Fraction]
    counts: bool = False

    @property
    def is_real(self) -> bool:
        """Whether the part is the value, in float64."""
        return self.gains is None

    def shares_unit(self, span: int) -> bool:
        """Whether it is one part, worth the same in each ``span`` channels in a row, and nothing is added."""
        if self.gains is None or len(self.gains) > 1 or any(self.constant):
            return False
        (row,) = self.gains
        return all(len(set(row[first : first + span])) == 1 for first in range(0, len(row), span))


Parts = list[Tensor]
Combination = Callable[[Parts], Tensor]


def combine(name: str, worth: Worth, span: int, constant: bool) -> tuple[Combination, list[Fraction]]:
    """Make one integer signal of the parts, each ``span`` channels in a row in one unit.

    A ratio r to the largest gain of these channels becomes the integer nearest to ``2^f r``, for the smallest f up to
    20 at which the error is at most ``2^-10`` of r (or of 1, for a constant).

    Args:
        name: of the node, for errors.
        worth: of the parts, which are not real.
        span: channels in a row that share a unit.
        constant: whether the constant becomes part of the signal.

    Returns:
        The function of the parts (batch, channels, ...), and the unit of each channel.
    """
    rows = worth.gains or ()
    channels = len(worth.constant)
    weights = [[0] * channels for _ in rows]
    shifts, units = [0] * channels, [Fraction(0)] * channels
    for first in range(0, channels, span):
        group = range(first, first + span)
        largest = {c: max(abs(row[c]) for row in rows) for c in group}
        added = {c: worth.constant[c] if constant else Fraction(0) for c in group}
        peak = max(largest.values()) or max(abs(value) for value in added.values()) or Fraction(1)
        wanted = [(row[c] / peak, abs(row[c]) / peak) for row in rows for c in group]
        wanted += [(value / peak, Fraction(1)) for value in added.values()]
        scale = next((2**bits for bits in range(_MOST_BITS) if _serves(wanted, 2**bits)), 2**_MOST_BITS)
        for c in group:
            units[c] = peak / scale
            shifts[c] = _nearest(added[c] / peak * scale)
            for row, weight in zip(rows, weights, strict=True):
                weight[c] = _nearest(row[c] / peak * scale)
    factors = [torch.tensor(weight, dtype=torch.float64) for weight in weights]
    offset = torch.tensor(shifts, dtype=torch.float64)

    def add_up(parts: Parts) -> Tensor:
        reach = sum(float(f.abs().max()) * float(p.abs().max()) for f, p in zip(factors, parts, strict=True))
        check_exact(name, reach + float(offset.abs().max()))
        total = spread_over(offset, parts[0])
        for factor, part in zip(factors, parts, strict=True):
            total = total + spread_over(factor, part) * part
        return total

    return add_up, units


def lift(worth: Worth) -> Combination:
    """The function from parts to the real value, in float64."""
    if worth.gains is None:
        return lambda parts: parts[0]
    factors = [torch.tensor([float(gain) for gain in row], dtype=torch.float64) for row in worth.gains]
    offset = torch.tensor([float(value) for value in worth.constant], dtype=torch.float64)

    def evaluate(parts: Parts) -> Tensor:
        products = [spread_over(factor, part) * part for factor, part in zip(factors, parts, strict=True)]
        return sum(products[1:], products[0]) + spread_over(offset, parts[0])

    return evaluate


def spread_over(values: Tensor, like: Tensor) -> Tensor:
    """(channels,) so that it broadcasts over ``like`` (batch, channels, ...), on its device."""
    return values.to(like.device).view(-1, *[1] * (like.dim() - 2))


def check_exact(name: str, reach: float) -> None:
    """Refuse sums that float64 may round.

    Raises:
        ConversionError: names the layer.
    """
    if reach >= EXACT:
        raise ConversionError(f"{name}: its sums exceed 2^53, beyond which float64 products are not exact")


def _serves(wanted: Sequence[tuple[Fraction, Fraction]], scale: int) -> bool:
    return all(abs(Fraction(_nearest(ratio * scale), scale) - ratio) <= _LEAST * limit for ratio, limit in wanted)


def _nearest(value: Fraction) -> int:
    """Half away from zero."""
    top, bottom = abs(value.numerator), value.denominator
    size = (2 * top + bottom) // (2 * bottom)
    return size if value >= 0 else -size
