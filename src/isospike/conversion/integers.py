"""Integer thresholds that decide exactly as the real ones do, on every membrane potential that can occur."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from isospike.conversion.thresholds import Staircase
from isospike.errors import ConversionError
from isospike.graph.intervals import Interval

MOST_FRACTION_BITS = 24
_MOST_LEVELS = 1 << 20


class IntegerThresholds:
    """Integers Theta and Delta in units of ``2 ** -fraction_bits``, or the table of first integers per level.

    Attributes:
        threshold: (channels,) Theta; or (channels, levels), the table.
        step: (channels,) Delta; None with a table.
        fraction_bits: f; 0 with a table.
    """

    def __init__(self, threshold: np.ndarray, step: np.ndarray | None, fraction_bits: int) -> None:
        self.threshold, self.step, self.fraction_bits = threshold, step, fraction_bits


def fit_thresholds(
    name: str, staircases: Sequence[Staircase], membrane: Interval, most: int | None
) -> IntegerThresholds:
    """Find the smallest number of fraction bits that loses nothing.

    With integer weights V is an integer, so ``V >= theta_n`` means ``V >= c_n = ceil(theta_n)``. For each f the
    integers ``Delta = floor(delta 2^f) + {-1, 0, 1, 2}`` are tried with any Theta for which
    ``ceil((Theta + (n - 1) Delta) / 2^f) = c_n`` at every level n that V can reach. Levels that every V meets, or none,
    need only stay on their side. Above 24 bits the table of ``c_n`` serves.

    Args:
        name: the layer, for errors.
        staircases: real thresholds per channel.
        membrane: integer bounds of V per channel.
        most: the count that agreement can ask for, and one more: no higher level is ever looked at. None: no such end.

    Raises:
        ConversionError: more than 2^20 levels are within reach.
    """
    low, high = membrane.low.astype(object), membrane.high.astype(object)
    firsts = [_ceilings(name, s, int(low[i]), int(high[i]), most) for i, s in enumerate(staircases)]
    width = max(len(row) for row in firsts)
    # repeating the last level adds no constraint of its own: it asks for less than the level itself
    numbers = np.array([list(range(len(row))) + [len(row) - 1] * (width - len(row)) for row in firsts], dtype=np.int64)
    table = np.array([row + [row[-1]] * (width - len(row)) for row in firsts], dtype=np.int64)
    bounds = membrane.low.astype(np.int64)[:, None], membrane.high.astype(np.int64)[:, None]
    for bits in range(MOST_FRACTION_BITS + 1):
        line = _fit_line(staircases, table, numbers, bounds, bits)
        if line is not None:
            return IntegerThresholds(*line, bits)
    # a row shorter than the others ends with a level out of reach, so repeating it adds none that is met
    return IntegerThresholds(table, None, 0)


def _ceilings(name: str, staircase: Staircase, low: int, high: int, most: int | None) -> list[int]:
    """``c_n`` for n = 1 up to the first level out of reach, clipped to ``low .. high + 1``."""
    denominator = staircase.first.denominator * staircase.step.denominator
    first = int(staircase.first * denominator)
    step = int(staircase.step * denominator)
    reachable = (high * denominator - first) // step + 1
    count = max(1, min(reachable + 1, most) if most is not None else reachable + 1)
    if count > _MOST_LEVELS:
        raise ConversionError(
            f"{name}: its membrane reaches {count} levels, more than {_MOST_LEVELS}: give the activation a bound, or "
            "the graph a smaller T_max"
        )
    return [min(max(-((-(first + n * step)) // denominator), low), high + 1) for n in range(count)]


def _fit_line(
    staircases: Sequence[Staircase],
    table: np.ndarray,
    numbers: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    bits: int,
) -> tuple[np.ndarray, np.ndarray] | None:
    low, high = bounds
    scale = 1 << bits
    span = (high - low + 1)[:, 0]
    if (int(span.max()) << bits) * table.shape[1] >= 1 << 62:  # beyond exact int64: the table serves
        return None
    steps = np.array(
        [_scaled_floor(s.step, bits, int(width)) for s, width in zip(staircases, span, strict=True)], dtype=np.int64
    )
    threshold = np.zeros(len(table), dtype=np.int64)
    step = np.zeros(len(table), dtype=np.int64)
    open_channels = np.ones(len(table), dtype=bool)
    free = np.int64(1) << 62
    for extra in (-1, 0, 1, 2):
        delta = np.maximum(steps + extra, 1)
        climb = numbers * delta[:, None]
        # level n must not be met at c_n - 1, and must be met at c_n, where these can occur
        above = np.where(table > low, scale * (table - 1) - climb, -free).max(1)
        upto = np.where(table <= high, scale * table - climb, free).min(1)
        theta = np.where(upto < free, upto, above + 1)
        found = open_channels & (above < upto)
        threshold[found], step[found] = theta[found], delta[found]
        open_channels &= ~found
    return None if open_channels.any() else (threshold, step)


def _scaled_floor(step: Fraction, bits: int, span: int) -> int:
    """``floor(step * 2^bits)``; a step wider than the membrane's whole range counts as that range."""
    return min((step.numerator << bits) // step.denominator, span << bits)
