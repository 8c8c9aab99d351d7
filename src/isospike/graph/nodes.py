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
    both are None: they have moved into the thresholds."""

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
    ``limit`` spikes a step, of either sign: ``clip(max(counts) - emitted, -limit, limit)``."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    limit: int | None = None


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

    ``levels`` is None where the staircase has no end.
    """

    step: Fraction
    levels: int | None


@dataclass(frozen=True, eq=False)
class Rectifier(Node):
    """``min(max(z, 0), ceiling)``: ReLU, or ReLU6 with a ceiling of 6; None for no ceiling. Captured ANNs only."""

    ceiling: float | None = None


@dataclass(frozen=True, eq=False)
class Add(Node):
    """The sum of two or more signals of one shape, where branches meet. An input may occur twice."""


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
    """

    threshold: np.ndarray
    step: np.ndarray | None
    fraction_bits: int | None
    levels: int | None
    limit: int


@dataclass(frozen=True, eq=False)
class Readout(Node):
    """The classifier's membrane: integrates and never fires. ``logits = scale * (V + bias)``.

    With an integer bias the graph's own logits are the integers ``V + bias``; ``scale`` says what one is worth.
    """

    bias: np.ndarray
    scale: float = field(default=1.0)


Synapses = (Convolution, Dense)
Spiking = (CountingNeuron, MaxPool)
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
        Readout,
    )
}


def is_integer(array: np.ndarray) -> bool:
    """Whether an array holds integers."""
    return bool(np.issubdtype(array.dtype, np.integer))
