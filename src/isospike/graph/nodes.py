"""The nodes of a graph: frozen dataclasses of NumPy arrays and plain values.

Arrays have the layout of PyTorch: a convolution's weight is ``(out, in / groups, height, width)``, a dense
weight ``(out, in)``. Per-channel arrays are ``(channels,)``. Integer arrays mean exact integer arithmetic,
``float64`` arrays mean float arithmetic; no other types occur.
"""

from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

import numpy as np

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Node:
    """Something that takes signals from the nodes named in ``inputs`` and gives one signal."""

    name: str
    inputs: tuple[str, ...]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The node's tensors by field name; what is absent (None) is left out."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    @property
    def settings(self) -> dict[str, Any]:
        """The node's plain values by field name, its name and inputs left out; absent arrays left out."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in ("name", "inputs") and "ndarray" not in str(item.type)
        }


@dataclass(frozen=True, eq=False)
class Input(Node):
    """Raw pixels p (uint8), presented as the integers ``p - offset``, each worth ``1 / divisor``.

    ``offset`` is one integer per channel (the rounded mean), so that zero padding of what this node gives is
    padding by the mean.

    With ``floats`` the network takes float images as they are, normalised by its user: divisor 1, offset 0. Such a
    captured ANN can be evaluated, but says nothing about pixels.
    """

    shape: tuple[int, int, int]
    divisor: int
    offset: np.ndarray
    floats: bool = False


@dataclass(frozen=True, eq=False)
class Convolution(Node):
    """``u = weight * s`` (cross-correlation). In a captured ANN ``scale`` (per output channel) and ``bias`` are
    what turns the integers of a quantised weight into the real current: ``scale * u + bias``. In a converted graph
    both are None: they have moved into the thresholds. In a rate-coded one ``bias`` is a constant current, given at
    every step."""

    weight: np.ndarray
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    scale: np.ndarray | None = None
    bias: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Dense(Node):
    """``u = weight @ s``; ``scale`` and ``bias`` as in :class:`Convolution`."""

    weight: np.ndarray
    scale: np.ndarray | None = None
    bias: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class AveragePool(Node):
    """The *sum* over each window. The divisor, ``kernel[0] * kernel[1]`` (padding counted), is part of the next
    thresholds; in a captured ANN, what this node stands for is the mean."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)


@dataclass(frozen=True, eq=False)
class Flatten(Node):
    """``(channel, height, width)`` to ``(features,)``, in that order."""


@dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """Maximum over each window. In a converted graph it is a tracker of its input's counts that emits at most
    ``limit`` spikes a step, of either sign: ``clip(max(counts) - emitted, -limit, limit)``.

    ``signs`` (channels,), converted graphs only: 1, or -1 where a channel's *minimum* is tracked, because what its
    counts stand for falls as they climb; None where every channel's maximum is.
    """

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    limit: int | None = None
    signs: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class BatchNorm(Node):
    """``gamma * (u - mean) / sigma + beta`` per channel, ``sigma = sqrt(var + eps)`` in float64. Captured ANNs only."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray


@dataclass(frozen=True, eq=False)
class Activation(Node):
    """The level activation ``step * clip(floor(z / step + 1/2), 0, levels)``. Captured ANNs only.

    ``levels`` is None where the staircase has no end. With ``ratios`` (channels,), float64 above 0, channel c has the
    step ``step * ratios[c]``, as calibration channel by channel leaves it.
    """

    step: Fraction
    levels: int | None
    ratios: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Rectifier(Node):
    """``min(max(z, 0), ceiling)``: ReLU, or ReLU6 with a ceiling of 6; None for no ceiling. Captured ANNs only."""

    ceiling: float | None = None


@dataclass(frozen=True, eq=False)
class Add(Node):
    """The sum of two or more signals of one shape, where branches meet. An input may occur twice.

    Without ``gains`` it is a plain sum. With ``gains`` (inputs, channels), in converted graphs only, it is
    ``V = sum_i gains[i, c] * u_i``; there a single input is allowed too, whose channels the gains scale or negate.
    Integer gains make integers of integers; float64 gains go with floats.
    """

    gains: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Concatenate(Node):
    """Two or more signals one after another along their channels (or features), in the order of ``inputs``."""


@dataclass(frozen=True, eq=False)
class CountingNeuron(Node):
    """Integrates its current and fires so that its spike count follows what its membrane potential deserves.

    With ``V`` the membrane potential and ``c`` the count so far, the count deserved is
    ``n = clip(floor((V - threshold) / step) + 1, 0, levels)`` and the spikes fired ``clip(n - c, -limit, limit)``.

    ``fraction_bits`` is None for float thresholds. With integers, ``threshold`` and ``step`` count units of
    ``2 ** -fraction_bits``; where no line of integers serves, ``threshold`` is the whole table ``(channels, n)`` of
    first integers that deserve count n, and ``step`` is None.

    ``start`` is the membrane potential before the first time step, of the shape of the neurons (channels, height,
    width) and of the thresholds' kind; None for 0 everywhere. It holds constants that depend on the position, such as
    what zero padding leaves of a BatchNorm before it.
    """

    threshold: np.ndarray
    step: np.ndarray | None
    fraction_bits: int | None
    levels: int | None
    limit: int
    start: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Affine(Node):
    """``gain * u + bias`` per channel, in a rate-coded graph alone: weighs the spikes of a shortcut, or stands for a
    BatchNorm that follows no synapses. The bias is a constant current, given at every step."""

    gain: np.ndarray
    bias: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class IntegrateAndFire(Node):
    """Integrates its current and fires unit spikes with reset by subtraction; rate-coded.

    ``V += I``, then ``s = +1`` where ``V >= threshold``, ``s = -1`` where ``V < lower`` and more positive than negative
    spikes have been fired so far, else 0; then ``V -= s * threshold``. All arrays are (channels,), in units of V, which
    are those of the weights that come before: so integer weights stay integers.

    Attributes:
        threshold: above 0.
        initial: V before the first step.
        lower: below this it takes a spike back; None where it never does.
        residual: after the first ``tau`` steps of the graph (see :class:`SpikingGraph`) a neuron whose V is not above
            this is silenced for the steps that count; None for none.
    """

    threshold: np.ndarray
    initial: np.ndarray
    lower: np.ndarray | None = None
    residual: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Readout(Node):
    """The classifier's membrane: integrates and never fires. ``logits = scale * (V + bias)``.

    With an integer bias the graph's own logits are the integers ``V + bias``; ``scale`` says what one is worth. In a
    rate-coded graph the bias is a constant current, and logits are means over time: ``scale * (V_t / t + bias)``; or,
    where the whole graph is of integers, the sums ``V_t + t * bias``, of which one is worth ``scale / t``.
    """

    bias: np.ndarray
    scale: float = field(default=1.0)


Synapses = (Convolution, Dense)
Spiking = (CountingNeuron, IntegrateAndFire, MaxPool)
Joining = (Add, Concatenate)
KINDS: dict[str, type[Node]] = {
    kind.__name__: kind
    for kind in (
        Input,
        Convolution,
        Dense,
        AveragePool,
        Flatten,
        MaxPool,
        BatchNorm,
        Activation,
        Rectifier,
        Add,
        Concatenate,
        CountingNeuron,
        Affine,
        IntegrateAndFire,
        Readout,
    )
}


def is_integer(array: np.ndarray) -> bool:
    """Whether an array holds integers."""
    return bool(np.issubdtype(array.dtype, np.integer))
