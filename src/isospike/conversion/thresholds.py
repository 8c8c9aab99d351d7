"""From a line to thresholds, in exact rational arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from isospike.graph import Activation


@dataclass(frozen=True)
class Staircase:
    """``theta_n = first + (n - 1) * step``: a channel's count reaches n exactly when ``sign * u >= theta_n``.

    ``sign`` is the sign of the gain; it is 0 where the channel is constant, and its weights then become zeros.
    """

    first: Fraction
    step: Fraction
    sign: int


def derive_staircases(
    activation: Activation, gains: Sequence[Fraction], constants: Sequence[Fraction]
) -> list[Staircase]:
    """The thresholds of each channel, on the current ``u`` that spikes (or pixels) bring.

    ``z = gain * u + constant`` reaches level n where it is ``(n - 1/2) q`` at least, so
    ``delta = q / |gain|`` and ``theta_1 = (q/2 - constant) / |gain|``. With BatchNorm behind synapses
    ``gain = gamma unit / sigma`` and ``constant = beta - gamma (mean - bias) / sigma``, as in docs/theorem.md:
    BatchNorm costs nothing at run time, it becomes two numbers per channel.

    Args:
        activation: step q (per channel, if it has ratios) and levels.
        gains: per channel, what one unit of u is worth.
        constants: per channel, what z is at u = 0.
    """
    staircases = []
    for q, gain, constant in zip(list_steps(activation, len(gains)), gains, constants, strict=True):
        if gain == 0:
            staircases.append(_hold_count(constant / q))
        else:
            steep = abs(gain)
            staircases.append(Staircase((q / 2 - constant) / steep, q / steep, 1 if gain > 0 else -1))
    return staircases


def list_steps(activation: Activation, channels: int) -> list[Fraction]:
    """The step q of each channel."""
    if activation.ratios is None:
        return [activation.step] * channels
    return [activation.step * Fraction(ratio) for ratio in activation.ratios.tolist()]


def _hold_count(level: Fraction) -> Staircase:
    """Thresholds that a membrane at rest (V = 0) already meets up to ``floor(level + 1/2)``, and no further."""
    count = (level + Fraction(1, 2)).__floor__()
    return Staircase(Fraction(1, 2) - count, Fraction(1), 0)
