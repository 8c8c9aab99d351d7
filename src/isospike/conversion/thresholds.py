"""From BatchNorm to thresholds, in exact rational arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from isospike.graph import Activation, BatchNorm


@dataclass(frozen=True)
class Staircase:
    """``theta_n = first + (n - 1) * step``: a channel's count reaches n exactly when ``sign * u >= theta_n``.

    ``sign`` is the sign of gamma; it is 0 where the channel is constant, and its weights then become zeros.
    """

    first: Fraction
    step: Fraction
    sign: int


def derive_staircases(
    activation: Activation,
    norm: BatchNorm | None,
    bias: np.ndarray | None,
    units: Sequence[Fraction],
) -> list[Staircase]:
    """The thresholds of each channel, on the current ``u`` that spikes (or pixels) bring.

    The real current is ``unit * u + bias``, so that
    ``delta = sigma q / (|gamma| unit)`` and
    ``theta_1 = (sigma (q/2 - beta) / |gamma| + sign(gamma) (mean - bias)) / unit``.
    BatchNorm costs nothing at run time: it becomes two numbers per channel.

    Args:
        activation: step q and levels.
        norm: BatchNorm of the layer; None for the identity.
        bias: bias of the synapses per channel, absorbed as ``mean - bias``; None for zeros.
        units: per channel, what one unit of u is worth: the step of the incoming spikes (or 1 / divisor of the
            pixels) times the scale of the weights.
    """
    channels = len(units)
    gamma, beta, mean, sigma = (
        [Fraction(1)] * channels if norm is None else _rationals(norm.gamma),
        [Fraction(0)] * channels if norm is None else _rationals(norm.beta),
        [Fraction(0)] * channels if norm is None else _rationals(norm.mean),
        [Fraction(1)] * channels if norm is None else _rationals(norm.sigma),
    )
    shift = [Fraction(0)] * channels if bias is None else _rationals(bias)
    q = activation.step
    staircases = []
    for channel in range(channels):
        g, unit, offset = gamma[channel], units[channel], mean[channel] - shift[channel]
        if g == 0 or unit == 0:
            z = beta[channel] - g * offset / sigma[channel]
            staircases.append(_hold_count(z / q))
            continue
        sign = 1 if g > 0 else -1
        height = sigma[channel] / abs(g)
        first = (height * (q / 2 - beta[channel]) + sign * offset) / unit
        staircases.append(Staircase(first, height * q / unit, sign))
    return staircases


def _hold_count(level: Fraction) -> Staircase:
    """Thresholds that a membrane at rest (V = 0) already meets up to ``floor(level + 1/2)``, and no further."""
    count = (level + Fraction(1, 2)).__floor__()
    return Staircase(Fraction(1, 2) - count, Fraction(1), 0)


def _rationals(array: np.ndarray) -> list[Fraction]:
    return [Fraction(value) for value in array.tolist()]
