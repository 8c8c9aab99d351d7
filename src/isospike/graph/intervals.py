"""Interval analysis: what every membrane potential is bounded by, and the bits it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isospike.errors import GraphError
from isospike.graph.nodes import (
    Add,
    AveragePool,
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    is_integer,
)
from isospike.graph.spiking_graph import SpikingGraph

CONTAINERS = (8, 16, 24, 32, 64)


@dataclass(frozen=True, eq=False)
class Interval:
    """Bounds per channel, ends included. ``magnitude`` bounds every partial sum of absolute values too."""

    low: np.ndarray
    high: np.ndarray
    magnitude: np.ndarray

    @property
    def bits(self) -> int:
        """The fewest bits of a two's complement integer that holds both ends."""
        low, high = int(np.min(self.low)), int(np.max(self.high))
        return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1


def most_spikes(node: CountingNeuron | MaxPool, t_max: int) -> int | None:
    """The largest count that a spiking node can reach in ``t_max`` steps: ``min(N, m * T_max)``."""
    if node.limit is None:
        return None
    reach = node.limit * t_max
    levels = node.levels if isinstance(node, CountingNeuron) else None
    return reach if levels is None else min(levels, reach)


def bound_signals(graph: SpikingGraph, t_max: int) -> dict[str, Interval]:
    """Bound what each node gives, summed over time: currents (so membranes) and counts.

    A spiking node's count lies in ``[0, min(N, m * T_max)]``; every linear node takes intervals to intervals. Since
    V = A(counts), the interval of a neuron's input is that of its membrane potential. Zero lies in every interval of a
    signal, so padding and partial sums over time stay inside.

    Args:
        graph: a spiking graph.
        t_max: time steps.

    Raises:
        GraphError: the graph is a captured ANN.
    """
    if not graph.is_converted:
        raise GraphError("interval analysis expects a spiking graph, got a captured ANN: convert it first")
    intervals: dict[str, Interval] = {}
    for node in graph:
        add_interval(node, intervals, graph.shapes, t_max)
    return intervals


def add_interval(node: Node, intervals: dict[str, Interval], shapes: Mapping[str, tuple[int, ...]], t_max: int) -> None:
    """Bound one more node's signal, from ``intervals`` of the nodes before it and their ``shapes``."""
    if isinstance(node, Input):
        offset = _widen(node.offset)
        low, high = np.minimum(-offset, 0), np.maximum(255 - offset, 0)  # padding adds zeros
        intervals[node.name] = Interval(low, high, np.maximum(-low, high))
    elif isinstance(node, Add):
        intervals[node.name] = _add_up(node, [intervals[source] for source in node.inputs])
    elif isinstance(node, Concatenate):
        intervals[node.name] = join_intervals([intervals[source] for source in node.inputs])
    else:
        (source,) = node.inputs
        intervals[node.name] = _propagate(node, intervals[source], shapes[source], t_max)


def bound_membranes(graph: SpikingGraph) -> dict[str, Interval]:
    """Bound the membrane potential of every neuron and of the readout, by name (see :func:`bound_signals`)."""
    if graph.is_rate_coded:
        from isospike.graph.rate_intervals import bound_rate_membranes  # it builds on this module

        return bound_rate_membranes(graph)
    signals = bound_signals(graph, graph.t_max or 0)
    membranes = {}
    for node in graph:
        if isinstance(node, CountingNeuron):
            membranes[node.name] = bound_potential(node, signals[node.inputs[0]])
        elif isinstance(node, Readout):
            membranes[node.name] = signals[node.name]
    return membranes


def bound_potential(node: CountingNeuron, current: Interval) -> Interval:
    """Bound the membrane potential of one neuron layer, from the interval of its current summed over time."""
    if node.start is None:
        return current
    start = _widen(node.start).reshape(len(node.start), -1)
    return Interval(current.low + start.min(1), current.high + start.max(1), current.magnitude + abs(start).max(1))


def join_intervals(parts: Sequence[Interval]) -> Interval:
    """The intervals of consecutive channels as one."""
    low, high, magnitude = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("low", "high", "magnitude")
    )
    return Interval(low, high, magnitude)


def count_membrane_bits(graph: SpikingGraph) -> dict[str, int | None]:
    """The container (8, 16, 24, 32 or 64 bits) of each membrane potential; None where it is a float."""
    bits: dict[str, int | None] = {}
    for name, interval in bound_membranes(graph).items():
        whole = is_integer(interval.low)
        bits[name] = next(size for size in CONTAINERS if size >= interval.bits) if whole else None
    return bits


def _propagate(node: Node, interval: Interval, shape: tuple[int, ...], t_max: int) -> Interval:
    if isinstance(node, Convolution | Dense):
        return _propagate_weights(node, interval)
    if isinstance(node, AveragePool):
        size = node.kernel[0] * node.kernel[1]
        return Interval(interval.low * size, interval.high * size, interval.magnitude * size)
    if isinstance(node, Flatten):
        repeat = int(np.prod(shape[1:]))
        return Interval(*(np.repeat(bound, repeat) for bound in (interval.low, interval.high, interval.magnitude)))
    if isinstance(node, MaxPool):
        return interval
    if isinstance(node, CountingNeuron):
        count = np.full(interval.low.shape, most_spikes(node, t_max), dtype=np.int64)
        return Interval(np.zeros_like(count), count, count)
    if isinstance(node, Readout):
        bias = _widen(node.bias)
        return Interval(
            np.minimum(interval.low, interval.low + bias),
            np.maximum(interval.high, interval.high + bias),
            interval.magnitude + abs(bias),
        )
    raise GraphError(f"{node.name}: interval analysis does not know {type(node).__name__}")


def _add_up(node: Add, branches: Sequence[Interval]) -> Interval:
    gains = np.ones((len(branches), 1), dtype=np.int64) if node.gains is None else _widen(node.gains)
    if all(is_integer(each.low) for each in branches):
        _check_width(node, sum(abs(gain) * _float(each) for gain, each in zip(gains, branches, strict=True)))
    weighed = list(zip(gains, branches, strict=True))
    ends = [(_multiply(gain, each.low), _multiply(gain, each.high)) for gain, each in weighed]
    return Interval(
        sum(np.minimum(*pair) for pair in ends),
        sum(np.maximum(*pair) for pair in ends),
        sum(np.abs(_multiply(gain, each.magnitude)) for gain, each in weighed),
    )


def _propagate_weights(node: Convolution | Dense, interval: Interval) -> Interval:
    wide = np.int64 if is_integer(node.weight) else np.float64
    weight = node.weight.astype(wide)
    out = weight.shape[0]
    if isinstance(node, Convolution):
        positive = np.maximum(weight, 0).sum((2, 3))
        negative = np.minimum(weight, 0).sum((2, 3))
        groups = node.groups
    else:
        positive, negative, groups = np.maximum(weight, 0), np.minimum(weight, 0), 1
    group_of = np.repeat(np.arange(groups), out // groups)
    low, high, size = (
        bound.reshape(groups, -1)[group_of] for bound in (interval.low, interval.high, interval.magnitude)
    )
    if wide is np.int64 and is_integer(interval.low):
        _check_width(node, ((positive - negative) * size.astype(np.float64)).sum(1))
    return Interval(
        (_multiply(positive, low) + _multiply(negative, high)).sum(1),
        (_multiply(positive, high) + _multiply(negative, low)).sum(1),
        _multiply(positive - negative, size).sum(1),
    )


def _multiply(weight: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """``weight * bound``, in which nothing times a bound of infinity is nothing."""
    shape = np.broadcast_shapes(weight.shape, bound.shape)
    product = np.zeros(shape, dtype=np.result_type(weight, bound))
    return np.multiply(weight, bound, out=product, where=weight != 0)


def _widen(array: np.ndarray) -> np.ndarray:
    """Integers as int64, in which their negatives and sums are what they should be; floats as they are."""
    return array.astype(np.int64) if is_integer(array) else array


def _float(interval: Interval) -> np.ndarray:
    return interval.magnitude.astype(np.float64)


def _check_width(node: Node, magnitude: np.ndarray) -> None:
    """Refuse sums of integers that int64 might not hold.

    Raises:
        GraphError: there are some.
    """
    if float(magnitude.max(initial=0)) > 2.0**62:
        raise GraphError(f"{node.name}: its sums may need more than 64 bits: use smaller weights or a smaller T_max")
