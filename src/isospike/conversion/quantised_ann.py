"""The quantised ANN, evaluated exactly: what every conversion is compared with.

Nothing here is shared with the conversion but the captured arrays: counts come from ``floor(z / q + 1/2)`` itself,
worked out per channel as a quotient of integers, with the weights as they were trained (no sign folded in).
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from isospike.conversion.structure import check_layers
from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.graph.nodes import is_integer
from isospike.simulator.arithmetic import per_channel, to_tensor
from isospike.simulator.linear import Linear, make_linear
from isospike.simulator.neurons import pool_counts

_EXACT = 2**53
_MOST_LEVELS = 1 << 20


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Counts (batch, ...) int64 by activation or max pool, and logits (batch, classes) float64: whole numbers where the
    classifier is integer, as in :class:`isospike.simulator.Simulation`."""

    counts: dict[str, Tensor]
    logits: Tensor


class QuantisedAnn:
    """A captured ANN in exact arithmetic; layers with float weights in float64.

    Args:
        ann: from :func:`isospike.networks.capture`.
        device: "cpu" or "cuda".

    Raises:
        ConversionError: the graph is not a captured ANN.
    """

    def __init__(self, ann: SpikingGraph, device: str = "cpu") -> None:
        if ann.is_converted:
            raise ConversionError("quantised ANN: expected a captured ANN, got a graph that spikes")
        check_layers(ann)
        self.ann, self.device = ann, torch.device(device)
        self.linear: dict[str, Linear] = {}
        self.layers: dict[str, _Layer] = {}
        self.units: dict[str, Fraction] = {}
        synapses: Convolution | Dense | None = None
        norm: BatchNorm | None = None
        for node in ann:
            unit = self.units[node.inputs[0]] if node.inputs else Fraction(0)
            if isinstance(node, Input):
                unit = Fraction(1, node.divisor)
            elif isinstance(node, Convolution | Dense):
                synapses, norm = node, None
            elif isinstance(node, BatchNorm):
                norm = node
            elif isinstance(node, AveragePool):
                unit /= node.kernel[0] * node.kernel[1]
            elif isinstance(node, Activation | Readout) and synapses is not None:
                self.layers[node.name] = _Layer(synapses, norm, node, unit)
                unit = node.step if isinstance(node, Activation) else unit
            self.units[node.name] = unit
            if not isinstance(node, Input | BatchNorm | Activation | MaxPool | Readout):
                self.linear[node.name] = make_linear(node, torch.float64, self.device)

    def evaluate(self, images: Tensor) -> Evaluation:
        """Counts and logits of uint8 ``images`` (batch, channel, height, width)."""
        counts: dict[str, Tensor] = {}
        signals: dict[str, Tensor] = {}
        logits = torch.empty(0)
        with torch.inference_mode():
            for node in self.ann:
                signal = signals[node.inputs[0]] if node.inputs else images
                if isinstance(node, Input):
                    offset = per_channel(to_tensor(node.offset, torch.float64, self.device), 4)
                    signal = images.to(self.device).to(torch.float64) - offset
                elif isinstance(node, MaxPool):
                    signal = pool_counts(signal, node)
                elif isinstance(node, Activation):
                    signal = self.layers[node.name].count(signal)
                elif isinstance(node, Readout):
                    logits = self.layers[node.name].read(signal)
                elif not isinstance(node, BatchNorm):
                    self._check_exact(node, signal)
                    signal = self.linear[node.name](signal)
                signals[node.name] = signal
                if isinstance(node, Activation | MaxPool):
                    counts[node.name] = signal.to("cpu", torch.int64)
        return Evaluation(counts, logits.cpu())

    def classify(self, images: Tensor) -> Tensor:
        """The class of each image, int64 (batch,)."""
        return self.evaluate(images).logits.argmax(1)

    def _check_exact(self, node: Node, signal: Tensor) -> None:
        if isinstance(node, Convolution | Dense) and is_integer(node.weight):
            most = int(np.abs(node.weight.reshape(len(node.weight), -1).astype(np.int64)).sum(1).max())
            if most * float(signal.abs().max()) >= _EXACT:
                raise ConversionError(f"{node.name}: its sums exceed 2^53, beyond which float64 products are not exact")


class _Layer:
    """From the integers (or floats) that synapses give to counts or logits, per channel."""

    def __init__(
        self, synapses: Convolution | Dense, norm: BatchNorm | None, end: Activation | Readout, unit: Fraction
    ) -> None:
        self.end, self.unit = end, unit
        self.integer = is_integer(synapses.weight)
        channels = len(synapses.weight)
        self.scale = [Fraction(1)] * channels if synapses.scale is None else _rationals(synapses.scale)
        bias = end.bias if isinstance(end, Readout) else synapses.bias
        self.bias = [Fraction(0)] * channels if bias is None else _rationals(bias)
        self.norm = norm
        self.boundaries = torch.empty(channels, 0, dtype=torch.float64)

    def count(self, u: Tensor) -> Tensor:
        """``clip(floor(z / q + 1/2), 0, N)`` of every neuron."""
        return self._count_exactly(u) if self.integer else self._count_in_float(u)

    def read(self, u: Tensor) -> Tensor:
        """Logits: integers, or real numbers where weights are floats."""
        if not self.integer:
            bias = torch.tensor([float(b) for b in self.bias], dtype=torch.float64, device=u.device)
            return u * float(self.unit) + bias
        worth = self.unit * self.scale[0]
        whole = [float((b / worth + Fraction(1, 2)).__floor__()) for b in self.bias]
        return u + torch.tensor(whole, dtype=torch.float64, device=u.device)

    def _lines(self) -> tuple[list[Fraction], list[Fraction]]:
        """Slope and intercept of ``z / q + 1/2`` over u."""
        q = self.end.step if isinstance(self.end, Activation) else Fraction(1)
        slopes = [self.unit * scale for scale in self.scale]
        intercepts = list(self.bias)
        if self.norm is not None:
            gamma, beta, mean, sigma = (
                _rationals(getattr(self.norm, name)) for name in ("gamma", "beta", "mean", "sigma")
            )
            intercepts = [
                g * (b - m) / s + shift for g, b, m, s, shift in zip(gamma, intercepts, mean, sigma, beta, strict=True)
            ]
            slopes = [slope * g / s for slope, g, s in zip(slopes, gamma, sigma, strict=True)]
        return [slope / q for slope in slopes], [value / q + Fraction(1, 2) for value in intercepts]

    def _count_exactly(self, u: Tensor) -> Tensor:
        slopes, intercepts = self._lines()
        by_channel = u.transpose(0, 1)
        flat = by_channel.reshape(len(slopes), -1)
        signs = torch.tensor([-1.0 if slope < 0 else 1.0 for slope in slopes], dtype=torch.float64, device=u.device)
        climbing = (flat * signs[:, None]).contiguous()
        self._extend(slopes, intercepts, climbing.amax(1).tolist())
        counts = torch.searchsorted(self.boundaries.to(u.device), climbing, right=True)
        return counts.reshape(by_channel.shape).transpose(0, 1).to(torch.float64)

    def _extend(self, slopes: list[Fraction], intercepts: list[Fraction], highest: list[float]) -> None:
        """List the first integer that earns each level, up to the highest level that this batch can reach."""
        levels = self.end.levels if isinstance(self.end, Activation) else None
        tops = [
            (abs(slope) * int(high) + intercept).__floor__()
            for slope, intercept, high in zip(slopes, intercepts, highest, strict=True)
        ]
        needed = max(0, *tops) if levels is None else min(levels, max(0, *tops))
        if needed > _MOST_LEVELS:
            raise ConversionError(
                f"{self.end.name}: counts reach {needed}, more than {_MOST_LEVELS}: bound the activation"
            )
        if needed <= self.boundaries.shape[1]:
            return
        rows = [_list_boundaries(slope, intercept, needed) for slope, intercept in zip(slopes, intercepts, strict=True)]
        self.boundaries = torch.tensor(rows, dtype=torch.float64)

    def _count_in_float(self, u: Tensor) -> Tensor:
        shape = (-1, *[1] * (u.dim() - 2))
        z = u * float(self.unit)

        def spread(values: list[Fraction] | np.ndarray) -> Tensor:
            return torch.tensor([float(v) for v in values], dtype=torch.float64, device=u.device).view(shape)

        z = z + spread(self.bias)
        if self.norm is not None:
            gamma, beta, mean, sigma = (
                spread(getattr(self.norm, name)) for name in ("gamma", "beta", "mean", "sigma")
            )
            z = gamma * (z - mean) / sigma + beta
        if not isinstance(self.end, Activation):
            return z
        return torch.floor(z / float(self.end.step) + 0.5).clamp(0, self.end.levels)


def _list_boundaries(slope: Fraction, intercept: Fraction, levels: int) -> list[float]:
    """The first integer v with ``|slope| v + intercept >= n``, for n = 1 .. levels."""
    if slope == 0:
        met = intercept.__floor__()
        return [float("-inf") if n <= met else float("inf") for n in range(1, levels + 1)]
    steep = abs(slope)
    return [float(-((intercept - n) / steep).__floor__()) for n in range(1, levels + 1)]


def _rationals(array: np.ndarray) -> list[Fraction]:
    return [Fraction(value) for value in array.tolist()]
