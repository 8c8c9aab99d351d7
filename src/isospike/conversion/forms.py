"""Linear forms: what a node of a captured ANN is worth, in terms of the spiking graph's signals.

    value[c, p] = sum_i gain_i[c] * (u_i[c, p] + start_i[c, p]) + constant[c]

Synapses, pooling and joints emit nodes that make the signals u; BatchNorm, scales and biases only change the numbers.
A form is closed by an activation (thresholds), a max pool (a tracker) or the readout.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from isospike.graph import BatchNorm, MaxPool
from isospike.graph.nodes import is_integer

Gains = list[Fraction]


@dataclass(frozen=True, eq=False)
class Term:
    """``gain * (u + start)``, u being what a node of the spiking graph has given so far.

    Attributes:
        node: its name.
        gains: per channel.
        start: what is there before any spike comes, of the node's shape and in units of u; None for nothing.
        whole: whether u and start are integers.
        counts: whether u are counts (or pixels), perhaps pooled or joined, that a max-pool tracker can follow.
    """

    node: str
    gains: Gains
    start: np.ndarray | None = None
    whole: bool = True
    counts: bool = False


@dataclass(frozen=True, eq=False)
class Form:
    """A sum of terms and a constant per channel.

    Attributes:
        terms: at least one.
        constant: per channel.
        chain: the synapses that alone give the one term, and the average pools behind them, while nothing else takes
            them: their weights may still be negated.
        pools: max pools of currents, which wait for the activation (a rising function may come first), each with 1 or
            -1 per channel: BatchNorm with gamma < 0 turns a maximum into a minimum.
        name: of the ANN's sum, where that is what the form is; "" else.
    """

    terms: tuple[Term, ...]
    constant: Gains
    chain: tuple[str, ...] = ()
    pools: tuple[tuple[MaxPool, list[int]], ...] = ()
    name: str = ""

    @property
    def whole(self) -> bool:
        """Whether all signals are integers."""
        return all(term.whole for term in self.terms)

    @property
    def is_constant_free(self) -> bool:
        """Whether nothing is added to the signals."""
        return not any(self.constant) and all(term.start is None for term in self.terms)


def normalise_form(form: Form, norm: BatchNorm) -> Form:
    """``gamma * (value - mean) / sigma + beta``."""
    gamma, beta, mean, sigma = map(to_rationals, (norm.gamma, norm.beta, norm.mean, norm.sigma))
    slopes = [g / s for g, s in zip(gamma, sigma, strict=True)]
    constant = [s * (k - m) + b for s, k, m, b in zip(slopes, form.constant, mean, beta, strict=True)]
    terms = tuple(replace(term, gains=_multiply(term.gains, slopes)) for term in form.terms)
    turned = [-1 if slope < 0 else 1 for slope in slopes]
    pools = tuple((pool, [a * b for a, b in zip(signs, turned, strict=True)]) for pool, signs in form.pools)
    return replace(form, terms=terms, constant=constant, pools=pools)


def absorb_start(term: Term, constant: Gains) -> tuple[Term, Gains]:
    """Move a start that is the same all over each channel into the constant."""
    if term.start is None:
        return term, constant
    flat = term.start.reshape(len(term.start), -1)
    if (flat != flat[:, :1]).any():
        return term, constant
    moved = [k + gain * Fraction(v) for k, gain, v in zip(constant, term.gains, flat[:, 0].tolist(), strict=True)]
    return replace(term, start=None), moved


def share_units(gains: Gains, span: int) -> bool:
    """Whether each ``span`` channels in a row are worth the same."""
    return all(gains[channel] == gains[channel - channel % span] for channel in range(len(gains)))


def spread(gains: Gains, positions: int) -> Gains:
    """Per channel to per feature, in the order of flattening."""
    return [gain for gain in gains for _ in range(positions)]


def to_rationals(array: np.ndarray) -> Gains:
    """The rational number that each element is."""
    return [Fraction(value) for value in array.tolist()]


def to_floats(gains: Gains) -> np.ndarray:
    """The nearest float64 of each."""
    return np.array([float(gain) for gain in gains])


def _multiply(gains: Gains, slopes: Gains) -> Gains:
    return [gain * slope for gain, slope in zip(gains, slopes, strict=True)]


def turn_weights(weight: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Weights times 1, 0 or -1 per output channel, in their own type where it holds them: -128 as int8 has no negative.

    Args:
        weight: (out, ...), integers or floats.
        signs: int64 (out,).
    """
    turned = weight * signs.reshape(-1, *[1] * (weight.ndim - 1))
    if not is_integer(weight):
        return turned
    low, high = int(turned.min(initial=0)), int(turned.max(initial=0))
    kinds = (weight.dtype, *map(np.dtype, (np.int8, np.int16, np.int32)))
    fitting = (kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return turned.astype(next(fitting, np.dtype(np.int64)))
