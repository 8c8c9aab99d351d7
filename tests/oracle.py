"""The quantised ANN and the work of a spike once more, slowly and plainly: pure Python, fractions, loops.

Nothing of the package is used but the arrays of the graph.
"""

from fractions import Fraction
from itertools import product

import numpy as np

from isospike.graph import (
    Activation,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)

Signal = dict[tuple[int, ...], Fraction]


def evaluate_exactly(ann: SpikingGraph, image: np.ndarray) -> tuple[dict[str, list[int]], list[Fraction]]:
    """Counts by activation and max pool, flattened, and the real logits of an image (channel, height, width).

    The bias of an integer classifier is rounded to whole spikes, half upwards.
    """
    signals: dict[str, Signal] = {}
    counts: dict[str, list[int]] = {}
    steps: dict[str, Fraction] = {}
    for node in ann:
        before = signals[node.inputs[0]] if node.inputs else {}
        step = steps[node.inputs[0]] if node.inputs else Fraction(0)
        shape = ann.shapes[node.name]
        if isinstance(node, Input):
            signal = {
                place: Fraction(int(image[place]) - int(node.offset[place[0]]), node.divisor) for place in places(shape)
            }
        elif isinstance(node, Activation):
            step = node.step
            signal = {place: step * count_exactly(z / step, node.levels) for place, z in before.items()}
        elif isinstance(node, Readout):
            signal = _read(node, before, _bias_unit(ann, node, step))
        else:
            signal = {place: _compute(node, before, place, ann.shapes) for place in places(shape)}
        signals[node.name], steps[node.name] = signal, step
        if isinstance(node, AveragePool):
            steps[node.name] = step / (node.kernel[0] * node.kernel[1])
        if isinstance(node, Activation | MaxPool):
            counts[node.name] = [int(signal[place] / step) for place in places(shape)]
    return counts, [signals[ann.readout.name][place] for place in places(ann.shapes[ann.readout.name])]


def count_exactly(level: Fraction, most: int | None) -> int:
    """``clip(floor(level + 1/2), 0, most)``."""
    count = max(0, (level + Fraction(1, 2)).__floor__())
    return count if most is None else min(count, most)


def count_synapses(graph: SpikingGraph, name: str, place: tuple[int, ...]) -> dict[str, int]:
    """How many synapses a spike of ``name`` at ``place`` reaches, by the layer they belong to."""
    reached: dict[str, int] = {}
    for node in graph:
        if name not in node.inputs:
            continue
        if isinstance(node, Dense):
            reached[node.name] = len(node.weight)
        elif isinstance(node, Flatten):
            _merge(reached, count_synapses(graph, node.name, (_flat(place, graph.shapes[name]),)))
        elif isinstance(node, AveragePool | Convolution):
            for target in places(graph.shapes[node.name]):
                hits = sum(source == place for source in _sources(node, target))
                if isinstance(node, Convolution):
                    reached[node.name] = reached.get(node.name, 0) + hits
                elif hits:
                    _merge(reached, count_synapses(graph, node.name, target))
    return reached


def places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every index of an array of this shape."""
    return list(product(*map(range, shape)))


def _merge(reached: dict[str, int], more: dict[str, int]) -> None:
    for layer, number in more.items():
        reached[layer] = reached.get(layer, 0) + number


def _flat(place: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return (place[0] * shape[1] + place[1]) * shape[2] + place[2]


def _sources(node: Node, target: tuple[int, ...]) -> list[tuple[int, ...]]:
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


def _compute(node: Node, before: Signal, place: tuple[int, ...], shapes: dict[str, tuple[int, ...]]) -> Fraction:
    channel = place[0]
    if isinstance(node, Flatten):
        return next(z for source, z in before.items() if _flat(source, shapes[node.inputs[0]]) == place[0])
    if isinstance(node, AveragePool):
        inside = [before[source] for source in _sources(node, place) if source in before]
        return sum(inside, Fraction(0)) / (node.kernel[0] * node.kernel[1])
    if isinstance(node, MaxPool):
        return max(before[source] for source in _sources(node, place) if source in before)
    if isinstance(node, BatchNorm):
        gamma, beta, mean, sigma = (
            Fraction(float(array[channel])) for array in (node.gamma, node.beta, node.mean, node.sigma)
        )
        return gamma * (before[place] - mean) / sigma + beta
    if isinstance(node, Convolution):
        weights = [Fraction(w) for w in node.weight[channel].flatten().tolist()]
        sources = _sources(node, place)
    elif isinstance(node, Dense):
        weights, sources = [Fraction(w) for w in node.weight[channel].tolist()], list(before)
    else:
        raise TypeError(node)
    u = sum((w * before.get(source, Fraction(0)) for w, source in zip(weights, sources, strict=True)), Fraction(0))
    scale = Fraction(1) if node.scale is None else Fraction(float(node.scale[channel]))
    return scale * u + (Fraction(0) if node.bias is None else Fraction(float(node.bias[channel])))


def _bias_unit(ann: SpikingGraph, node: Readout, step: Fraction) -> Fraction | None:
    """What a logit's bias is rounded to: one spike (or a part of one, after average pooling) times the scale."""
    synapses = ann[node.inputs[0]]
    if not isinstance(synapses, Dense | Convolution) or synapses.weight.dtype == np.float64:
        return None
    return step * (Fraction(1) if synapses.scale is None else Fraction(float(synapses.scale[0])))


def _read(node: Readout, before: Signal, unit: Fraction | None) -> Signal:
    biases = [Fraction(float(bias)) for bias in node.bias]
    if unit is not None:
        biases = [unit * (bias / unit + Fraction(1, 2)).__floor__() for bias in biases]
    return {place: z + biases[place[0]] for place, z in before.items()}
