"""The quantised ANN, evaluated exactly: what every conversion is compared with.

Nothing here is shared with the conversion but the captured arrays: signals are followed in the order of the ANN itself,
with the weights as they were trained (no sign folded in, no gain), and counts come from ``floor(z / q + 1/2)`` itself,
worked out per channel as a quotient of integers. Convolutions are matrix products, never the simulator's compiled sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from isospike.conversion.exact_signals import Parts, Worth, check_exact, combine, lift, spread_over
from isospike.conversion.staircases import ExactStaircase, count_in_float, read_steps
from isospike.conversion.structure import check_network
from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.graph.nodes import is_integer
from isospike.simulator.arithmetic import to_tensor
from isospike.simulator.linear import make_linear

Operation = Callable[[Sequence[Parts]], Parts]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Counts (batch, ...) int64 by activation or max pool of counts, and logits (batch, classes) float64: whole numbers
    where the classifier is integer, as in :class:`isospike.simulator.Simulation`."""

    counts: dict[str, Tensor]
    logits: Tensor


class QuantisedAnn:
    """A captured ANN in exact arithmetic; from float weights to the next counts in float64.

    Where integer branches meet or channels of different worth enter integer weights, gains are rounded as
    :func:`isospike.conversion.exact_signals.combine` says: that network is the quantised ANN.

    Args:
        ann: from :func:`isospike.networks.capture`.
        device: "cpu" or "cuda".

    Raises:
        ConversionError: the graph is not a captured ANN, or has activations without levels.
    """

    def __init__(self, ann: SpikingGraph, device: str = "cpu") -> None:
        if ann.is_converted:
            raise ConversionError("quantised ANN: expected a captured ANN, got a graph that spikes")
        check_network(ann)
        self.ann, self.device = ann, torch.device(device)
        self.worths: dict[str, Worth] = {}
        self.operations: dict[str, Operation] = {}
        self.last_use = {source: node.name for node in ann for source in node.inputs}
        for node in ann:
            plan = self._plan(node, [self.worths[source] for source in node.inputs])
            self.operations[node.name], self.worths[node.name] = plan

    def evaluate(self, images: Tensor, *, keep_counts: bool = True) -> Evaluation:
        """Counts (none of them, if not asked for) and logits of uint8 ``images`` (batch, channel, height, width)."""
        counts: dict[str, Tensor] = {}
        signals: dict[str, Parts] = {}
        with torch.inference_mode():
            for node in self.ann:
                sources = [signals[name] for name in node.inputs] if node.inputs else [[images]]
                result = signals[node.name] = self.operations[node.name](sources)
                if keep_counts and self.worths[node.name].counts and isinstance(node, Activation | MaxPool):
                    counts[node.name] = result[0].to("cpu", torch.int64)
                for name in set(node.inputs):
                    if self.last_use[name] == node.name:
                        del signals[name]
        return Evaluation(counts, signals[self.ann.readout.name][0].cpu())

    def classify(self, images: Tensor) -> Tensor:
        """The class of each image, int64 (batch,)."""
        return self.evaluate(images, keep_counts=False).logits.argmax(1)

    def _plan(self, node: Node, worths: Sequence[Worth]) -> tuple[Operation, Worth]:
        """What a node does to the parts of its inputs, and what comes out is worth."""
        if isinstance(node, Input):
            return self._present(node)
        if isinstance(node, Add | Concatenate):
            return self._join(node, worths)
        (worth,) = worths
        if isinstance(node, Convolution | Dense):
            return self._connect(node, worth) if not self._is_whole(node, worth) else self._connect_whole(node, worth)
        if isinstance(node, BatchNorm):
            return self._normalise(node, worth)
        if isinstance(node, AveragePool):
            return self._average(node, worth)
        if isinstance(node, MaxPool):
            return self._pool_maxima(node, worth)
        if isinstance(node, Flatten):
            return self._flatten(node, worth)
        if isinstance(node, Activation):
            return self._count(node, worth)
        if isinstance(node, Readout):
            return self._read(node, worth)
        raise ConversionError(f"{node.name}: a {type(node).__name__} does not occur in a quantised ANN")

    def _present(self, node: Input) -> tuple[Operation, Worth]:
        offset = to_tensor(node.offset, torch.float64, self.device)
        worth = Worth(([Fraction(1, node.divisor)] * len(offset),), [Fraction(0)] * len(offset), counts=True)
        return lambda sources: [sources[0][0].to(self.device, torch.float64) - offset.view(-1, 1, 1)], worth

    def _is_whole(self, node: Convolution | Dense, worth: Worth) -> bool:
        return is_integer(node.weight) and not worth.is_real

    def _connect_whole(self, node: Convolution | Dense, worth: Worth) -> tuple[Operation, Worth]:
        """Integers of integers."""
        out = len(node.weight)
        groups = node.groups if isinstance(node, Convolution) else 1
        span = len(worth.constant) // groups
        if worth.shares_unit(span):
            join: Callable[[Parts], Tensor] = _take_first
            units = worth.gains[0] if worth.gains else []
        else:
            join, units = combine(node.name, worth, span, constant=True)
        run = make_linear(node, torch.float64, self.device, spikes=False)
        most = int(np.abs(node.weight.reshape(out, -1).astype(np.int64)).sum(1).max())

        def operate(sources: Sequence[Parts]) -> Parts:
            signal = join(sources[0])
            check_exact(node.name, most * float(signal.abs().max()))
            return [run(signal)]

        scales = [Fraction(1)] * out if node.scale is None else _rationals(node.scale)
        gains = [units[channel // (out // groups) * span] * scale for channel, scale in enumerate(scales)]
        constant = [Fraction(0)] * out if node.bias is None else _rationals(node.bias)
        return operate, Worth((gains,), constant)

    def _connect(self, node: Convolution | Dense, worth: Worth) -> tuple[Operation, Worth]:
        """Real currents, in float64."""
        out = len(node.weight)
        run = make_linear(node, torch.float64, self.device, spikes=False)
        scale = None if node.scale is None else to_tensor(node.scale, torch.float64, self.device)
        bias = to_tensor(np.zeros(out) if node.bias is None else node.bias, torch.float64, self.device)
        unit, join = 1.0, lift(worth)
        if worth.gains is not None and worth.shares_unit(len(worth.constant)):
            unit, join = float(worth.gains[0][0]), _take_first

        def operate(sources: Sequence[Parts]) -> Parts:
            current = run(join(sources[0])) * unit
            if scale is not None:
                current = current * spread_over(scale, current)
            return [current + spread_over(bias, current)]

        return operate, _make_real(out)

    def _normalise(self, node: BatchNorm, worth: Worth) -> tuple[Operation, Worth]:
        if worth.gains is None:
            tensors = [to_tensor(a, torch.float64, self.device) for a in (node.gamma, node.mean, node.sigma, node.beta)]

            def operate(sources: Sequence[Parts]) -> Parts:
                z = sources[0][0]
                gamma, mean, sigma, beta = (spread_over(tensor, z) for tensor in tensors)
                return [gamma * (z - mean) / sigma + beta]

            return operate, worth
        gamma, beta, mean, sigma = (_rationals(a) for a in (node.gamma, node.beta, node.mean, node.sigma))
        rows = tuple([a * g / s for a, g, s in zip(row, gamma, sigma, strict=True)] for row in worth.gains)
        constant = [
            g * (value - m) / s + b for g, value, m, s, b in zip(gamma, worth.constant, mean, sigma, beta, strict=True)
        ]
        return _pass_on, Worth(rows, constant, worth.counts)

    def _average(self, node: AveragePool, worth: Worth) -> tuple[Operation, Worth]:
        run = make_linear(node, torch.float64, self.device, spikes=False)  # the sum over each window
        size = node.kernel[0] * node.kernel[1]
        if worth.gains is None:
            return lambda sources: [run(sources[0][0]) / size], worth
        if any(node.padding) and any(worth.constant):  # zeros are padded to the value, constant and all
            join, units = combine(node.name, worth, 1, constant=True)
            whole = Worth(([unit / size for unit in units],), [Fraction(0)] * len(units))
            return lambda sources: [run(join(sources[0]))], whole
        rows = tuple([gain / size for gain in row] for row in worth.gains)
        return lambda sources: [run(part) for part in sources[0]], Worth(rows, worth.constant, worth.counts)

    def _pool_maxima(self, node: MaxPool, worth: Worth) -> tuple[Operation, Worth]:
        def pool(signal: Tensor) -> Tensor:
            return functional.max_pool2d(signal, node.kernel, node.stride, node.padding)

        if worth.gains is None:
            return lambda sources: [pool(sources[0][0])], worth
        join, units = self._make_one(node, worth)
        signs = torch.tensor([-1.0 if unit < 0 else 1.0 for unit in units], dtype=torch.float64)

        def operate(sources: Sequence[Parts]) -> Parts:
            signal = join(sources[0])
            rising = spread_over(signs, signal)
            return [rising * pool(rising * signal)]

        return operate, Worth((units,), worth.constant, worth.counts)

    def _make_one(self, node: Node, worth: Worth) -> tuple[Callable[[Parts], Tensor], list[Fraction]]:
        """One integer signal, each channel in a unit of its own; the constant stays apart."""
        if worth.gains is not None and len(worth.gains) == 1:
            return _take_first, worth.gains[0]
        return combine(node.name, worth, 1, constant=False)

    def _join(self, node: Add | Concatenate, worths: Sequence[Worth]) -> tuple[Operation, Worth]:
        channels = self.ann.shapes[node.name][0]
        if any(worth.is_real for worth in worths):
            lifts = [lift(worth) for worth in worths]

            def meet(sources: Sequence[Parts]) -> Parts:
                values = [each(parts) for each, parts in zip(lifts, sources, strict=True)]
                return [sum(values[1:], values[0]) if isinstance(node, Add) else torch.cat(values, 1)]

            return meet, _make_real(channels)
        if isinstance(node, Add):
            rows = tuple(row for worth in worths for row in worth.gains or ())
            constant = [sum(values, Fraction(0)) for values in zip(*(worth.constant for worth in worths), strict=True)]
            return lambda sources: [part for parts in sources for part in parts], Worth(rows, constant)
        joins = [self._make_one(node, worth) for worth in worths]

        def line_up(sources: Sequence[Parts]) -> Parts:
            return [torch.cat([join(parts) for (join, _), parts in zip(joins, sources, strict=True)], 1)]

        units = [unit for _, each in joins for unit in each]
        constant = [value for worth in worths for value in worth.constant]
        return line_up, Worth((units,), constant, all(worth.counts for worth in worths))

    def _flatten(self, node: Flatten, worth: Worth) -> tuple[Operation, Worth]:
        positions = self.ann.shapes[node.name][0] // len(worth.constant)

        def repeat(values: list[Fraction]) -> list[Fraction]:
            return [value for value in values for _ in range(positions)]

        rows = None if worth.gains is None else tuple(repeat(row) for row in worth.gains)
        return lambda sources: [part.flatten(1) for part in sources[0]], Worth(
            rows, repeat(worth.constant), worth.counts
        )

    def _count(self, node: Activation, worth: Worth) -> tuple[Operation, Worth]:
        steps = read_steps(node, self.ann.shapes[node.name][0])
        counts = Worth((steps,), [Fraction(0)] * len(steps), counts=True)
        if worth.gains is None:
            return lambda sources: [count_in_float(node, sources[0][0])], counts
        join, units = self._make_one(node, worth)
        staircase = ExactStaircase(node, units, worth.constant)
        return lambda sources: [staircase.count(join(sources[0]))], counts

    def _read(self, node: Readout, worth: Worth) -> tuple[Operation, Worth]:
        """Logits: integers, or real numbers where weights are floats."""
        if worth.gains is None:
            real = to_tensor(node.bias, torch.float64, self.device)
            return lambda sources: [sources[0][0] + real], worth
        (units, *others) = worth.gains
        join: Callable[[Parts], Tensor] = _take_first
        if others or len(set(units)) > 1 or units[0] <= 0:
            join, units = combine(node.name, worth, len(units), constant=False)
        biases = [value + extra for value, extra in zip(_rationals(node.bias), worth.constant, strict=True)]
        whole = [float((value / units[0] + Fraction(1, 2)).__floor__()) for value in biases]
        bias = torch.tensor(whole, dtype=torch.float64)
        return lambda sources: [join(sources[0]) + bias.to(self.device)], worth


def _take_first(parts: Parts) -> Tensor:
    return parts[0]


def _pass_on(sources: Sequence[Parts]) -> Parts:
    return list(sources[0])


def _make_real(channels: int) -> Worth:
    return Worth(None, [Fraction(0)] * channels)


def _rationals(array: np.ndarray) -> list[Fraction]:
    return [Fraction(value) for value in array.tolist()]
