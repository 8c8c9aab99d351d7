"""Gains as integers: what branches are worth beside one another, rounded once and for all."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

PRECISION = 10
MOST_BITS = 20


def round_half_away(value: Fraction) -> int:
    """The nearest integer; half goes away from zero, so that a sign can be taken out."""
    return int(np.sign(value.numerator)) * (abs(value) + Fraction(1, 2)).__floor__()


def round_gains(
    gains: Sequence[Sequence[Fraction]], constants: Sequence[Fraction] | None, span: int
) -> tuple[np.ndarray, np.ndarray, list[Fraction]]:
    """Integers ``G`` and ``B`` and units with ``unit * G`` near the gains and ``unit * B`` near the constants.

    Channels are taken ``span`` at a time, and share a unit: ``2^-f`` of the largest gain a among them, with the
    smallest f from 0 to 20 at which every gain is off by at most ``2^-10`` of itself, and every constant by at most
    ``2^-10 a``. (At f = 20 the others are off by at most ``2^-21 a``.) So the largest gain stays what it is, and gains
    in simple ratios stay exact. A small gain is as precise as a large one, as what it belongs to may be large: beside
    a shortcut, whose spikes are few and worth much, int8 weights give sums of tens of thousands that are worth little
    each. Nothing depends on a time limit or a method: the network with these gains *is* the quantised ANN
    (docs/theorem.md).

    Args:
        gains: per input and channel.
        constants: per channel, in the same units; None where constants need no rounding.
        span: channels that share a unit.

    Returns:
        ``G`` int64 (inputs, channels), ``B`` int64 (channels,), and the unit of each channel, above 0.
    """
    channels = len(gains[0])
    whole = np.zeros((len(gains), channels), dtype=np.int64)
    shifts = np.zeros(channels, dtype=np.int64)
    units: list[Fraction] = []
    for first in range(0, channels, span):
        group = range(first, first + span)
        rows = [[row[channel] for channel in group] for row in gains]
        added = [Fraction(0)] * span if constants is None else [constants[channel] for channel in group]
        peak = max(abs(gain) for row in rows for gain in row) or max(map(abs, added)) or Fraction(1)
        ratios = [[gain / peak for gain in row] for row in rows]
        offsets = [constant / peak for constant in added]
        bits = _count_bits(ratios, offsets)
        for row, each in enumerate(ratios):
            whole[row, first : first + span] = [round_half_away(ratio * 2**bits) for ratio in each]
        shifts[first : first + span] = [round_half_away(offset * 2**bits) for offset in offsets]
        units += [peak / 2**bits] * span
    return whole, shifts, units


def _count_bits(ratios: list[list[Fraction]], offsets: list[Fraction]) -> int:
    """The smallest f that serves every ratio and offset."""
    values = [(ratio, abs(ratio)) for row in ratios for ratio in row]
    values += [(offset, Fraction(1)) for offset in offsets]
    for bits in range(MOST_BITS):
        if all(_is_near(value, limit, bits) for value, limit in values):
            return bits
    return MOST_BITS


def _is_near(value: Fraction, limit: Fraction, bits: int) -> bool:
    scaled = value * 2**bits
    return abs(scaled - round_half_away(scaled)) * 2**PRECISION <= limit * 2**bits
