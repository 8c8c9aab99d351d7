"""The range of every sum of a C program, proved to fit 32 bits before anything is written."""

from dataclasses import replace
from typing import Any

import numpy as np

from isospike.errors import ExportError
from isospike.graph import CountingNeuron, Input, Node, SpikingGraph
from isospike.graph.intervals import Interval, add_interval, bound_potential

LARGEST = 2**31 - 2


def bound_sums(graph: SpikingGraph) -> dict[str, Interval]:
    """Bound every signal of an integer graph, summed over its T_max steps (see :func:`isospike.graph.bound_signals`).

    A program adds one spike after another, so sums must fit in between too: they do, because an interval holds whatever
    counts are within reach, neuron by neuron. Everything is bounded in floats first, so that numbers of any size in a
    graph file are refused rather than wrapped around.

    Raises:
        ExportError: a tensor holds floats or nothing; a sum needs more than 32 bits; the message names the layer.
    """
    if graph.input.floats:
        raise ExportError(f"{graph.input.name}: C takes pixels, and this graph takes floats: convert it anew")
    for node in graph:
        for field, array in node.arrays.items():
            if array.dtype.kind not in "iu" or not array.size:
                raise ExportError(
                    f"{node.name}.{field}: C has no float here and expects integers, got {array.dtype} "
                    f"{array.shape}: convert with all-integer"
                )
    _check_bounds(graph)
    ranges: dict[str, Interval] = {}
    for node in graph:
        _add(node, ranges, graph)
    return ranges


def _check_bounds(graph: SpikingGraph) -> None:
    rough: dict[str, Interval] = {}
    for node in graph:
        held: dict[str, Any] = {field: array.astype(np.float64) for field, array in node.arrays.items()}
        own = [float(abs(held[field]).max()) for field in ("weight", "bias", "gains", "start") if field in held]
        try:
            _add(replace(node, **held), rough, graph)
        except (OverflowError, ValueError) as error:
            raise ExportError(f"{node.name}: its sums cannot be bounded ({error}): convert it anew") from error
        largest = max([float(rough[node.name].magnitude.max()), *own])
        if isinstance(node, CountingNeuron):
            largest = max(largest, float(bound_potential(node, rough[node.inputs[0]]).magnitude.max()))
        if not largest <= LARGEST:
            raise ExportError(
                f"{node.name}: its sums may reach {largest:.3g} in {graph.t_max} time steps, and those of a C program "
                "have 32 bits: convert with a smaller t_max"
            )


def _add(node: Node, ranges: dict[str, Interval], graph: SpikingGraph) -> None:
    add_interval(node, ranges, graph.shapes, graph.t_max or 0)
    if isinstance(node, Input):  # padding adds zeros, whatever the offset
        pixels = ranges[node.name]
        ranges[node.name] = replace(pixels, low=np.minimum(pixels.low, 0), high=np.maximum(pixels.high, 0))
