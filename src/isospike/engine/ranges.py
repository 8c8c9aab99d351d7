"""The range of every sum in 32 bits, proved before anything runs; and thresholds as tables inside it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from isospike.errors import GraphError
from isospike.graph import (
    Add,
    AveragePool,
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
    most_spikes,
)
from isospike.graph.intervals import Interval, add_interval, bound_potential, join_intervals

LARGEST = 2**31 - 2
_MOST_THRESHOLDS = 1 << 26
_OUTPUTS_AT_ONCE = 64


def bound_ranges(graph: SpikingGraph, steps: int) -> dict[str, Interval]:
    """Bound every signal of ``graph``, summed over ``steps`` time steps, and prove that 32 bits hold it.

    The bounds are those of :func:`isospike.graph.bound_signals`; they are looked at in floats first, so that numbers of
    any size in a graph file are refused rather than wrapped around.

    Raises:
        GraphError: a sum needs more than 32 bits, or a tensor holds floats; the message names the layer.
    """
    intervals: dict[str, Interval] = {}
    check_numbers(graph)
    for node in graph:
        intervals[node.name] = join_intervals(
            [_bound_node(part, intervals, graph, steps) for part in split_outputs(node)]
        )
        if isinstance(node, Input):  # padding adds zeros, whatever the offset
            pixels = intervals[node.name]
            low, high = np.minimum(pixels.low, 0), np.maximum(pixels.high, 0)
            intervals[node.name] = Interval(low, high, pixels.magnitude)
    return intervals


def check_numbers(graph: SpikingGraph) -> None:
    """See that a graph takes pixels, and holds integers alone.

    Raises:
        GraphError: it does not; the message names the layer.
    """
    if graph.input.floats:
        raise GraphError(f"{graph.input.name}: the engine expects pixels, and this graph takes floats: convert it anew")
    for node in graph:
        for field, array in node.arrays.items():
            if not array.size:
                raise GraphError(
                    f"{node.name}.{field}: expected some numbers, got the shape {array.shape}: convert anew"
                )
            if array.dtype.kind not in "iu":
                raise GraphError(
                    f"{node.name}.{field}: the engine expects integers, got {array.dtype}: convert with all-integer, "
                    "or use engine='torch'"
                )


def split_outputs(node: Node) -> Iterator[Node]:
    """A layer as layers of a few outputs each: interval analysis makes copies of weights, which should stay small."""
    if not isinstance(node, Convolution | Dense) or (isinstance(node, Convolution) and node.groups > 1):
        yield node
        return
    for first in range(0, len(node.weight), _OUTPUTS_AT_ONCE):
        yield replace(node, weight=node.weight[first : first + _OUTPUTS_AT_ONCE])


def bound_membrane(node: CountingNeuron, current: Interval) -> Interval:
    """Bound the membranes of a neuron layer, 0 included, from its current summed over time."""
    membrane = bound_potential(node, current)
    return Interval(np.minimum(membrane.low, 0), np.maximum(membrane.high, 0), membrane.magnitude)


def _bound_node(node: Node, intervals: dict[str, Interval], graph: SpikingGraph, steps: int) -> Interval:
    largest = estimate(node, intervals, steps)
    if not largest <= LARGEST:
        raise GraphError(
            f"{node.name}: its sums may reach {largest:.3g} in {steps} time steps, and the engine's integers have "
            "32 bits: run fewer steps, or use engine='torch'"
        )
    known = dict(intervals)
    add_interval(node, known, graph.shapes, steps)
    return known[node.name]


def estimate(node: Node, intervals: dict[str, Interval], steps: int) -> float:
    """An upper bound of every partial sum of a node, and of the integers it holds, in floats; thresholds aside."""
    branches = [intervals[name].magnitude.astype(np.float64) for name in node.inputs]
    magnitude = branches[0] if branches else np.zeros(1)
    if isinstance(node, Input):
        return float(np.abs(node.offset.astype(np.float64)).max()) + 255
    if isinstance(node, Convolution | Dense):
        weight = np.abs(node.weight.astype(np.float64))
        groups = node.groups if isinstance(node, Convolution) else 1
        by_input = magnitude.reshape(groups, 1, -1).repeat(len(weight) // groups, 1).reshape(len(weight), -1)
        sums = (weight.reshape(*weight.shape[:2], -1).sum(2) * by_input).sum(1)
        return float(max(sums.max(), weight.max(initial=0)))
    if isinstance(node, AveragePool):
        return float(magnitude.max()) * node.kernel[0] * node.kernel[1]
    if isinstance(node, CountingNeuron | MaxPool):
        limit, levels = node.limit, node.levels if isinstance(node, CountingNeuron) else None
        if not all(isinstance(value, int) for value in (limit, levels) if value is not None):
            raise GraphError(f"{node.name}: expected whole numbers, got limit {limit!r} and levels {levels!r}")
        if isinstance(node, MaxPool):
            return float(magnitude.max())
        start = np.zeros(1) if node.start is None else np.abs(node.start.astype(np.float64))
        return float(max(magnitude.max() + start.max(), most_spikes(node, steps) or 0))
    if isinstance(node, Add):
        gains = np.ones((len(branches), 1)) if node.gains is None else np.abs(node.gains.astype(np.float64))
        return float(max(sum(gain * each for gain, each in zip(gains, branches, strict=True)).max(), gains.max()))
    if isinstance(node, Concatenate):
        return float(max(each.max() for each in branches))
    if isinstance(node, Readout):
        return float((magnitude + np.abs(node.bias.astype(np.float64))).max())
    return float(magnitude.max())


def tabulate_thresholds(node: CountingNeuron, membrane: Interval, steps: int) -> np.ndarray:
    """The first membrane potential that deserves each count, clipped to ``low .. high + 1`` of the membrane.

    ``c_n = ceil((threshold + (n - 1) * step) / 2^f)`` for n = 1 up to the count that matters: the levels, what
    ``steps`` steps can reach and one more (which tells agreement), or what no membrane deserves.

    Returns:
        int32 (levels, channels), rising along the levels.

    Raises:
        GraphError: a table whose thresholds do not rise; more thresholds than memory should hold.
    """
    most = node.limit * steps + 1
    if node.levels is not None:
        most = min(most, node.levels)
    channels = len(membrane.low)
    if node.step is None:
        table = node.threshold.T.astype(np.int64)
        if (np.diff(table, axis=0) < 0).any():
            raise GraphError(f"{node.name}.threshold: expected a table that rises from level to level; convert it anew")
        most = min(most, len(table))
        _check_size(node, most, channels)
        firsts = table[:most]
    else:
        firsts = _tabulate_line(node, membrane, most)
    firsts = np.clip(firsts, membrane.low, membrane.high + 1)
    if not len(firsts):
        firsts = (membrane.high + 1)[None]
    return np.ascontiguousarray(firsts, dtype=np.int32)


def _tabulate_line(node: CountingNeuron, membrane: Interval, most: int) -> np.ndarray:
    threshold, step = node.threshold.astype(object), node.step.astype(object)  # type: ignore[union-attr]
    bits = node.fraction_bits or 0
    reachable = max(((membrane.high.astype(object) * 2**bits - threshold) // step + 1).max(), 1)
    most = min(most, int(reachable))
    _check_size(node, most, len(threshold))
    extreme = max(int(abs(threshold).max()), 1) + most * int(step.max())
    if extreme < 1 << 62:
        threshold, step = threshold.astype(np.int64), step.astype(np.int64)
    numbers = np.arange(most).astype(threshold.dtype)[:, None]
    ceilings = -((-(threshold + numbers * step)) // 2**bits)
    low, high = membrane.low.astype(ceilings.dtype), membrane.high.astype(ceilings.dtype) + 1
    return np.minimum(np.maximum(ceilings, low), high).astype(np.int64)


def _check_size(node: CountingNeuron, levels: int, channels: int) -> None:
    if levels * channels > _MOST_THRESHOLDS:
        raise GraphError(
            f"{node.name}: {levels} levels of {channels} channels are within reach, more than the engine tabulates: "
            "run fewer steps, or use engine='torch'"
        )
