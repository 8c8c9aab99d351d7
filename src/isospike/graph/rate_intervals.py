"""Interval analysis of rate-coded graphs: what the potentials of integrate-and-fire neurons are bounded by."""

import numpy as np

from isospike.graph.intervals import Interval, add_interval
from isospike.graph.nodes import Affine, Convolution, Dense, IntegrateAndFire, Node, Readout
from isospike.graph.spiking_graph import SpikingGraph


def bound_rate_membranes(graph: SpikingGraph) -> dict[str, Interval]:
    """Bound the potential of every layer of neurons over ``t_max`` (or ``tau``) steps, and the readout's sum, by name.

    With the current of one step in ``low .. high`` a potential is at least ``min(V_0, 0) + T min(low, 0)``, and, before
    its reset, at most ``max(V_0, theta) + high + T max(high - theta, 0)``.
    """
    steps = max(graph.t_max or 0, graph.tau)
    currents: dict[str, Interval] = {}
    membranes: dict[str, Interval] = {}
    for node in graph:
        if isinstance(node, IntegrateAndFire):
            membranes[node.name] = _bound_potential(node, currents[node.inputs[0]], steps)
            least = -1 if node.lower is not None else 0
            ones = np.ones(graph.shapes[node.name][0], dtype=np.int64)
            currents[node.name] = Interval(ones * least, ones, ones)
        elif isinstance(node, Readout):
            (source,) = node.inputs
            total = currents[source]
            membranes[node.name] = Interval(steps * total.low, steps * total.high, steps * total.magnitude)
        else:
            currents[node.name] = _bound_current(node, currents, graph)
    return membranes


def _bound_current(node: Node, currents: dict[str, Interval], graph: SpikingGraph) -> Interval:
    """What a node gives in one step; zero included, so that it may be padded with zeros."""
    if isinstance(node, Affine):
        source = currents[node.inputs[0]]
        ends = node.gain * source.low, node.gain * source.high
        bound = Interval(np.minimum(*ends), np.maximum(*ends), abs(node.gain) * source.magnitude)
    else:
        given = dict(currents)
        add_interval(node, given, graph.shapes, 1)
        bound = given[node.name]
    if isinstance(node, Affine | Convolution | Dense) and node.bias is not None:
        bound = Interval(bound.low + node.bias, bound.high + node.bias, bound.magnitude + abs(node.bias))
    return Interval(np.minimum(bound.low, 0), np.maximum(bound.high, 0), bound.magnitude)


def _bound_potential(node: IntegrateAndFire, current: Interval, steps: int) -> Interval:
    low = np.minimum(node.initial, 0) + steps * current.low
    rest = np.maximum(node.initial, node.threshold)
    high = rest + current.high + steps * np.maximum(current.high - node.threshold, 0)
    return Interval(low, high, rest + steps * current.magnitude)
