"""Memory in bits of the integers that are stored, not of the floats they came from."""

from dataclasses import dataclass

import numpy as np

from isospike.graph import CountingNeuron, IntegrateAndFire, MaxPool, SpikingGraph, count_membrane_bits, most_spikes
from isospike.graph.intervals import CONTAINERS, Interval, bound_signals
from isospike.graph.nodes import Synapses, is_integer
from isospike.graph.rate_intervals import bound_rate_signals
from isospike.metrics.work import find_driven

_FLOAT = 64


@dataclass(frozen=True)
class Footprint:
    """Bits.

    Attributes:
        weights: of all synapses.
        parameters: of everything stored: weights, thresholds, steps, biases, gains, starting potentials.
        state: of everything that changes while one image runs: membranes, and the counts that neurons and max-pool
            trackers keep; None for a captured ANN.
    """

    weights: int
    parameters: int
    state: int | None


def measure_footprint(graph: SpikingGraph) -> Footprint:
    """The memory of a graph in bits.

    Weights from -2 to 1 (ternary, binary) take 2 bits, other weights those of their type; all other integers the
    smallest of 8, 16, 24, 32 and 64 bits that holds the whole array; floats 64. A membrane has its container
    (``count_membrane_bits``), a count the container of the largest that T_max steps allow. A max-pool tracker keeps the
    sum of what it has received, in the container of the interval that this lies in, and what it has emitted; both are
    signed where the interval's low end is below 0.
    """
    weights = sum(node.arrays["weight"].size * choose_weight_bits(node.arrays["weight"]) for node in graph.synapses)
    parameters = weights
    for node in graph:
        for name, array in node.arrays.items():
            if not (name == "weight" and isinstance(node, Synapses)):
                parameters += array.size * _choose_bits(array)
    return Footprint(weights, parameters, _measure_state(graph) if graph.is_converted else None)


def choose_weight_bits(weight: np.ndarray) -> int:
    """Bits of one weight."""
    if not is_integer(weight):
        return _FLOAT
    if weight.size and weight.min() >= -2 and weight.max() <= 1:
        return 2
    return weight.dtype.itemsize * 8


def _measure_state(graph: SpikingGraph) -> int:
    total = 0
    driven = find_driven(graph)
    for name, bits in count_membrane_bits(graph).items():
        total += int(np.prod(graph.shapes[name])) * (bits or _FLOAT)
    for node in graph:
        neurons = int(np.prod(graph.shapes[node.name]))
        if isinstance(node, MaxPool) and node.name in driven:  # of constant pixels it keeps nothing
            received, emitted = _size_tracker(graph, node)
            total += int(np.prod(graph.shapes[node.inputs[0]])) * received + neurons * emitted
        elif isinstance(node, CountingNeuron):
            total += neurons * _contain(0, most_spikes(node, graph.t_max or 1) or 1)
        elif isinstance(node, IntegrateAndFire) and node.lower is not None:  # it takes back only what it has fired
            total += neurons * _contain(0, graph.t_max or 1)
    return total


def _size_tracker(graph: SpikingGraph, node: MaxPool) -> tuple[int, int]:
    """Bits of one sum that a max-pool tracker has received, and of one that it has emitted."""
    (source,) = node.inputs
    steps = graph.t_max or 1
    if graph.is_rate_coded:
        steps = max(steps, graph.tau)
        once = bound_rate_signals(graph)[0][source]  # of one step
        sums, most = Interval(steps * once.low, steps * once.high, steps * once.magnitude), steps
    else:
        sums, most = bound_signals(graph, steps)[source], (node.limit or 1) * steps
    if not is_integer(sums.low):
        return _FLOAT, _FLOAT
    low, high = int(sums.low.min()), int(sums.high.max())
    return _contain(low, high), _contain(max(low, -most), min(high, most))


def _choose_bits(array: np.ndarray) -> int:
    if not is_integer(array):
        return _FLOAT
    largest = max(int(array.max(initial=0)), -int(array.min(initial=0)) - 1, 0)
    return next((size for size in CONTAINERS if size > largest.bit_length()), CONTAINERS[-1])


def _contain(low: int, high: int) -> int:
    """The smallest container of ``low`` to ``high``: unsigned, or in two's complement where ``low`` is below 0."""
    bits = high.bit_length() if low >= 0 else max((-low - 1).bit_length(), high.bit_length()) + 1
    return next((size for size in CONTAINERS if size >= bits), CONTAINERS[-1])
