"""Interval analysis of rate-coded graphs: what the potentials of integrate-and-fire neurons are bounded by."""

import numpy as np

from isospike.graph.intervals import Interval, add_interval
from isospike.graph.nodes import Affine, Convolution, Dense, IntegrateAndFire, Node, Readout, is_integer
from isospike.graph.spiking_graph import SpikingGraph


def bound_rate_membranes(graph: SpikingGraph) -> dict[str, Interval]:
    """Bound the potential of every layer of neurons over ``t_max`` (or ``tau``) steps, and the readout's sum, by name.

    With the current of one step in ``low .. high`` a potential is at least ``min(V_0, 0) + T min(low, 0)``, and, before
    its reset, at most ``max(V_0, theta) + high + T max(high - theta, 0)``. The sum of an integer readout, its logits,
    has its bias in it.
    """
    return bound_rate_signals(graph)[1]


def bound_rate_signals(graph: SpikingGraph) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """What every node gives in one step, by name; and the bounds of :func:`bound_rate_membranes`."""
    steps = max(graph.t_max or 0, graph.tau)
    currents: dict[str, Interval] = {}
    membranes: dict[str, Interval] = {}
    for node in graph:
        if isinstance(node, IntegrateAndFire):
            membranes[node.name] = _bound_potential(node, currents[node.inputs[0]], steps)
            least = -1 if node.lower is not None else 0
            currents[node.name] = bound_spikes(graph.shapes[node.name][0], least)
        elif isinstance(node, Readout):
            (source,) = node.inputs
            total = currents[source]
            if graph.is_integer:
                total = _give_always(total, node.bias)
                total = Interval(np.minimum(total.low, 0), np.maximum(total.high, 0), total.magnitude)
            membranes[node.name] = Interval(steps * total.low, steps * total.high, steps * total.magnitude)
        else:
            currents[node.name] = bound_current(node, currents, graph)
    return currents, membranes


def bound_spikes(channels: int, least: int) -> Interval:
    """What neurons give in one step: ``least`` (0, or -1 where they take spikes back) to 1."""
    ones = np.ones(channels, dtype=np.int64)
    return Interval(ones * least, ones, ones)


def bound_current(node: Node, currents: dict[str, Interval], graph: SpikingGraph) -> Interval:
    """What a node gives in one step; zero included, so that it may be padded with zeros."""
    if isinstance(node, Affine):
        source = currents[node.inputs[0]]
        gain = node.gain.astype(np.int64) if is_integer(node.gain) else node.gain
        ends = gain * source.low, gain * source.high
        bound = Interval(np.minimum(*ends), np.maximum(*ends), abs(gain) * source.magnitude)
    else:
        given = dict(currents)
        add_interval(node, given, graph.shapes, 1)
        bound = given[node.name]
    if isinstance(node, Affine | Convolution | Dense) and node.bias is not None:
        bound = _give_always(bound, node.bias)
    return Interval(np.minimum(bound.low, 0), np.maximum(bound.high, 0), bound.magnitude)


def _give_always(current: Interval, bias: np.ndarray) -> Interval:
    """A current with a constant one added."""
    bias = bias.astype(np.int64) if is_integer(bias) else bias
    return Interval(current.low + bias, current.high + bias, current.magnitude + abs(bias))


def _bound_potential(node: IntegrateAndFire, current: Interval, steps: int) -> Interval:
    low = np.minimum(node.initial, 0) + steps * current.low
    rest = np.maximum(node.initial, node.threshold)
    high = rest + current.high + steps * np.maximum(current.high - node.threshold, 0)
    return Interval(low, high, rest + steps * current.magnitude)
