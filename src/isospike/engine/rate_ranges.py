"""The range of every current of a rate-coded graph in 32 bits, proved before anything runs."""

from dataclasses import replace

import numpy as np

from isospike.engine.ranges import LARGEST, check_numbers, estimate, split_outputs
from isospike.errors import GraphError
from isospike.graph import Affine, Convolution, Dense, IntegrateAndFire, MaxPool, Node, Readout, SpikingGraph
from isospike.graph.intervals import Interval, join_intervals
from isospike.graph.rate_intervals import bound_current, bound_spikes

LARGEST_POTENTIAL = 2.0**50
MOST_STEPS = 1 << 16


def bound_rate_ranges(graph: SpikingGraph, steps: int) -> dict[str, Interval]:
    """Bound what every node of a rate-coded graph gives in one step, and prove that 32 bits hold it.

    Membranes have 64 bits, which currents of 32 bits cannot leave in 2^16 steps where potentials begin below 2^50; the
    logits and the counts of max-pool trackers are sums over time, which 32 bits must hold. Everything is looked at in
    floats first, so that numbers of any size in a graph file are refused rather than wrapped around.

    Raises:
        GraphError: a sum needs more bits, a tensor holds floats, or a max pool takes pixels; the message names the
            layer.
    """
    total = graph.tau + steps
    if total > MOST_STEPS:
        raise GraphError(f"steps: the engine runs at most {MOST_STEPS}, tau included, got {total}: use engine='torch'")
    check_numbers(graph)
    constant: set[str] = set()
    currents: dict[str, Interval] = {}
    for node in graph:
        if not isinstance(node, IntegrateAndFire) and all(name in constant for name in node.inputs):
            constant.add(node.name)
        currents[node.name] = _bound_node(node, currents, graph, total, node.name in constant)
    return currents


def _bound_node(node: Node, currents: dict[str, Interval], graph: SpikingGraph, steps: int, constant: bool) -> Interval:
    if isinstance(node, IntegrateAndFire):
        largest = max(float(np.abs(array.astype(np.float64)).max()) for array in node.arrays.values())
        if not largest <= LARGEST_POTENTIAL:
            raise GraphError(
                f"{node.name}: potentials of {largest:.3g} are above the engine's 2^50: use engine='torch'"
            )
        return bound_spikes(graph.shapes[node.name][0], -1 if node.lower is not None else 0)
    if isinstance(node, MaxPool) and constant:
        raise GraphError(f"{node.name}: the engine has no max pool of pixels in a rate-coded graph: use engine='torch'")
    if isinstance(node, Readout):
        _check(node, steps * _estimate_current(node, currents), f"in {steps} time steps")
        return currents[node.inputs[0]]
    times = steps if isinstance(node, MaxPool) else 1
    _check(node, times * _estimate_current(node, currents), f"in {times} time steps")
    parts = [bound_current(part, currents, graph) for part in _split(node)]
    return join_intervals(parts)


def _estimate_current(node: Node, currents: dict[str, Interval]) -> float:
    """An upper bound of every partial sum of one step, the bias included, and of the integers a node holds."""
    if isinstance(node, Affine):
        gain = np.abs(node.gain.astype(np.float64))
        largest = float(max((gain * currents[node.inputs[0]].magnitude).max(), gain.max()))
    elif isinstance(node, Readout):
        return estimate(node, currents, 1)
    else:
        largest = estimate(node, currents, 1)
    if isinstance(node, Affine | Convolution | Dense) and node.bias is not None:
        largest += float(np.abs(node.bias.astype(np.float64)).max())
    return largest


def _split(node: Node) -> list[Node]:
    """As :func:`split_outputs`, with the biases."""
    if not isinstance(node, Convolution | Dense) or node.bias is None:
        return list(split_outputs(node))
    parts: list[Node] = []
    first = 0
    for part in split_outputs(replace(node, bias=None)):
        if isinstance(part, Convolution | Dense):
            last = first + len(part.weight)
            parts.append(replace(part, bias=node.bias[first:last]))
            first = last
    return parts


def _check(node: Node, largest: float, when: str) -> None:
    if not largest <= LARGEST:
        raise GraphError(
            f"{node.name}: its sums may reach {largest:.3g} {when}, and the engine's integers have 32 bits: convert "
            "with integer_bits=8, run fewer steps, or use engine='torch'"
        )
