"""Counting work: what a spike costs (SOPs) and what the ANN costs (MACs)."""

from dataclasses import dataclass

import numpy as np

from isospike.errors import GraphError
from isospike.graph import AveragePool, Convolution, Dense, Flatten, Node, SpikingGraph


@dataclass(frozen=True, eq=False)
class Reach:
    """How many synapses of ``layer`` a spike of ``source`` reaches.

    Attributes:
        layer: the node with the weights.
        source: the node whose spikes come in, through pooling and flattening if any.
        synapses: int64, (height, width) by the position of the spike, or () for a dense source.
    """

    layer: str
    source: str
    synapses: np.ndarray


def measure_reach(graph: SpikingGraph) -> list[Reach]:
    """The synapses that each spike reaches: kernel positions that exist for it (borders exact, strides too) times
    output channels, zero weights included. One entry per layer after the encoder, the classifier last.

    Source: DESIGN, "Counting work".
    """
    return [_walk_back(graph, node) for node in graph.synapses[1:]]


def count_macs(graph: SpikingGraph, classifier: bool = False) -> int:
    """Multiply-accumulates of one image through the ANN, from layer 2 to the last hidden layer, or to the classifier.

    ``out positions * kernel positions * in channels / groups * out channels``; as profilers do, kernel positions in the
    padding count.
    """
    total = 0
    for node in graph.synapses[1:] if classifier else graph.synapses[1:-1]:
        positions = int(np.prod(graph.shapes[node.name][1:]))
        total += positions * int(node.arrays["weight"].size)
    return total


def _walk_back(graph: SpikingGraph, layer: Node) -> Reach:
    shape = graph.shapes[layer.inputs[0]]
    if isinstance(layer, Convolution):
        axes = [_windows_over(shape[axis + 1], graph.shapes[layer.name][axis + 1], layer, axis) for axis in (0, 1)]
        fan = len(layer.weight) // layer.groups
    elif isinstance(layer, Dense):
        axes, fan = [], len(layer.weight)
    else:
        raise GraphError(f"{layer.name}: expected synapses, got {type(layer).__name__}")
    node = graph[layer.inputs[0]]
    while isinstance(node, Flatten | AveragePool):
        source = node.inputs[0]
        shape = graph.shapes[source]
        if isinstance(node, Flatten):
            axes = [np.ones(length, dtype=np.int64) for length in shape[1:]]
        else:
            axes = [_windows_over(shape[axis + 1], axes[axis], node, axis) for axis in (0, 1)]
        node = graph[source]
    synapses = np.multiply.outer(axes[0], axes[1]) if axes else np.ones((), dtype=np.int64)
    return Reach(layer.name, node.name, synapses * fan)


def _windows_over(length: int, windows: int | np.ndarray, node: Convolution | AveragePool, axis: int) -> np.ndarray:
    """How often each position along an axis is covered, window i counting ``windows[i]`` times (or each once)."""
    weights = np.ones(windows, dtype=np.int64) if isinstance(windows, int) else windows
    kernel = node.weight.shape[axis + 2] if isinstance(node, Convolution) else node.kernel[axis]
    dilation = node.dilation[axis] if isinstance(node, Convolution) else 1
    covered = np.zeros(length, dtype=np.int64)
    for window, weight in enumerate(weights.tolist()):
        positions = window * node.stride[axis] - node.padding[axis] + dilation * np.arange(kernel)
        covered[positions[(positions >= 0) & (positions < length)]] += weight
    return covered
