"""Counts and the work of a spike once more, slowly and plainly: pure Python, fractions, loops.

Nothing of the package is used but the arrays of the graph.
"""

from fractions import Fraction
from itertools import product

from isospike.graph import (
    Add,
    AveragePool,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    MaxPool,
    Node,
    SpikingGraph,
)

Signal = dict[tuple[int, ...], Fraction]


def count_exactly(level: Fraction, most: int | None) -> int:
    """``clip(floor(level + 1/2), 0, most)``."""
    count = max(0, (level + Fraction(1, 2)).__floor__())
    return count if most is None else min(count, most)


def count_synapses(graph: SpikingGraph, name: str, place: tuple[int, ...], bare: bool = True) -> dict[str, int]:
    """How many synapses a spike (or, if not ``bare``, a current) of ``name`` at ``place`` reaches, by the layer they
    belong to; a spike that reaches a sum through no synapses is one operation of the sum."""
    reached: dict[str, int] = {}
    for node in graph:
        for branch, source in enumerate(node.inputs):
            if source != name or not isinstance(node, Dense | Convolution | AveragePool | Flatten | Add | Concatenate):
                continue
            targets = _find_targets(graph, node, branch, place)
            synaptic = isinstance(node, Dense | Convolution)
            if synaptic or (bare and isinstance(node, Add)):
                _merge(reached, {node.name: len(targets)})
            for target in targets:
                _merge(reached, count_synapses(graph, node.name, target, bare and not synaptic))
    return reached


def _find_targets(graph: SpikingGraph, node: Node, branch: int, place: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The output places that read ``place`` of an input, as often as they do."""
    if isinstance(node, Dense):
        return places(graph.shapes[node.name])
    if isinstance(node, Flatten):
        return [(flat_place(place, graph.shapes[node.inputs[0]]),)]
    if isinstance(node, Add):
        return [place]
    if isinstance(node, Concatenate):
        first = sum(graph.shapes[each][0] for each in node.inputs[:branch])
        return [(place[0] + first, *place[1:])]
    outputs = places(graph.shapes[node.name])
    return [target for target in outputs for source in list_sources(node, target) if source == place]


def places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every index of an array of this shape."""
    return list(product(*map(range, shape)))


def _merge(reached: dict[str, int], more: dict[str, int]) -> None:
    for layer, number in more.items():
        reached[layer] = reached.get(layer, 0) + number


def flat_place(place: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return (place[0] * shape[1] + place[1]) * shape[2] + place[2]


def list_sources(node: Node, target: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Where the inputs of an output position come from, in the order of the kernel, outside of the map included."""
    if isinstance(node, Convolution):
        per_group = node.weight.shape[1]
        first = target[0] // (len(node.weight) // node.groups) * per_group
        channels = range(first, first + per_group)
        kernel, dilation = node.weight.shape[2:], node.dilation
    elif isinstance(node, AveragePool | MaxPool):
        channels, kernel, dilation = range(target[0], target[0] + 1), node.kernel, (1, 1)
    else:
        raise TypeError(node)
    return [
        (
            channel,
            target[1] * node.stride[0] - node.padding[0] + dilation[0] * row,
            target[2] * node.stride[1] - node.padding[1] + dilation[1] * column,
        )
        for channel in channels
        for row in range(kernel[0])
        for column in range(kernel[1])
    ]
