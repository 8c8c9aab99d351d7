"""Counting work: what a spike costs (SOPs) and what the ANN costs (MACs)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    Convolution,
    Dense,
    Flatten,
    Input,
    Node,
    Rectifier,
    SpikingGraph,
)
from isospike.graph.nodes import Spiking


@dataclass(frozen=True, eq=False)
class Reach:
    """How many synapses of ``layer`` a spike of ``source`` reaches.

    Attributes:
        layer: the node with the weights, or the :class:`Add` at the end of an identity shortcut.
        source: the node whose spikes (or pixels) come in, through pooling and flattening if any.
        synapses: int64, (height, width) by the position of the spike, or () for a dense source.
    """

    layer: str
    source: str
    synapses: np.ndarray


def measure_reach(graph: SpikingGraph) -> list[Reach]:
    """The synapses that each spike reaches: kernel positions that exist for it (borders exact, strides too) times
    output channels, zero weights included. At least one entry per layer that spikes reach, the encoder's left out; a
    layer where branches meet has one for each of its sources.

    Pooling, flattening, sums and concatenations are passed through, and so are synapses whose currents enter others (a
    spike then reaches those of every current that it makes). A spike that reaches a sum through no synapses, as on an
    identity shortcut, is one operation for each term that it changes: these belong to the layer of the :class:`Add`.

    Source: DESIGN, "Counting work"; it says nothing of shortcuts.
    """
    found: dict[tuple[str, str], np.ndarray] = {}
    for layer in list_working_layers(graph):
        node = graph[layer]
        for source, synapses in _spread_back(graph, node, _Cover.of(graph.shapes[layer]), layer):
            known = found.get((layer, source))
            found[layer, source] = synapses if known is None else known + synapses
    return [Reach(layer, source, synapses) for (layer, source), synapses in found.items()]


def list_working_layers(graph: SpikingGraph, classifier: bool = True) -> list[str]:
    """The names of the layers that operations are counted for, in the order of the graph: synapses after the encoder's,
    and the sums that spikes reach through no synapses; without ``classifier``, those that lead to a neuron."""
    encoder = graph.synapses[0].name if graph.synapses else ""
    names = []
    for node in graph:
        bare = isinstance(node, Add) and any(_brings_spikes(graph, source) for source in node.inputs)
        if (isinstance(node, Convolution | Dense) and node.name != encoder) or bare:
            names.append(node.name)
    hidden = names if classifier else _find_hidden(graph)
    return [name for name in names if name in hidden]


def count_macs(graph: SpikingGraph, classifier: bool = False) -> int:
    """Multiply-accumulates of one image through the ANN, from layer 2 to the last hidden layer, or to the classifier.

    ``out positions * kernel positions * in channels / groups * out channels``; as profilers do, kernel positions in the
    padding count.
    """
    names = list_working_layers(graph, classifier)
    return sum(macs for name, macs in measure_macs(graph).items() if name in names)


def measure_macs(graph: SpikingGraph) -> dict[str, int]:
    """Multiply-accumulates of one image through each layer with weights, the encoder's and the classifier's too (see
    :func:`count_macs`)."""
    positions = {node.name: int(np.prod(graph.shapes[node.name][1:])) for node in graph.synapses}
    return {node.name: positions[node.name] * int(node.arrays["weight"].size) for node in graph.synapses}


def _find_hidden(graph: SpikingGraph) -> set[str]:
    """The nodes that lead to a neuron, or in an ANN to an activation."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        if isinstance(node, (*Spiking, Activation, Rectifier)) or node.name in found:
            found.update(node.inputs)
    return found


@dataclass(frozen=True, eq=False)
class _Cover:
    """How often each position of a signal is read: ``times * outer(axes)``, the same for all channels."""

    axes: tuple[np.ndarray, ...]
    times: int = 1

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "_Cover":
        """Each position once."""
        return cls(tuple(np.ones(length, dtype=np.int64) for length in shape[1:]))

    @property
    def synapses(self) -> np.ndarray:
        """(height, width), or () for features."""
        if not self.axes:
            return np.array(self.times, dtype=np.int64)
        return self.times * np.multiply.outer(self.axes[0], self.axes[1])


def _spread_back(graph: SpikingGraph, node: Node, cover: _Cover, layer: str) -> Iterator[tuple[str, np.ndarray]]:
    """The sources of the spikes that reach ``layer`` through ``node``, whose outputs are read as ``cover`` says."""
    cover = _read_inputs(graph, node, cover)
    for name in node.inputs:
        source = graph[name]
        if isinstance(source, (*Spiking, Input)):
            yield name, cover.synapses
        elif not (isinstance(graph[layer], Add) and isinstance(source, Convolution | Dense)):
            # the operations of a sum are those of the spikes that come through no synapses
            yield from _spread_back(graph, source, cover, layer)


def _read_inputs(graph: SpikingGraph, node: Node, cover: _Cover) -> _Cover:
    """How often each position of a node's inputs is read."""
    shape = graph.shapes[node.inputs[0]]
    if isinstance(node, Convolution):
        axes = tuple(_windows_over(shape[axis + 1], cover.axes[axis], node, axis) for axis in (0, 1))
        return _Cover(axes, cover.times * (len(node.weight) // node.groups))
    if isinstance(node, Dense):
        return _Cover((), cover.times * len(node.weight))
    if isinstance(node, AveragePool):
        axes = tuple(_windows_over(shape[axis + 1], cover.axes[axis], node, axis) for axis in (0, 1))
        return _Cover(axes, cover.times)
    if isinstance(node, Flatten):
        return _Cover(_Cover.of(shape).axes, cover.times)
    return cover


def _brings_spikes(graph: SpikingGraph, name: str) -> bool:
    """Whether spikes (or pixels) come out of a node, perhaps pooled or joined, but through no synapses."""
    node = graph[name]
    if isinstance(node, (*Spiking, Input)):
        return True
    return not isinstance(node, Convolution | Dense) and any(_brings_spikes(graph, each) for each in node.inputs)


def _windows_over(length: int, windows: np.ndarray, node: Convolution | AveragePool, axis: int) -> np.ndarray:
    """How often each position along an axis is covered, window i counting ``windows[i]`` times."""
    kernel = node.weight.shape[axis + 2] if isinstance(node, Convolution) else node.kernel[axis]
    dilation = node.dilation[axis] if isinstance(node, Convolution) else 1
    covered = np.zeros(length, dtype=np.int64)
    for window, weight in enumerate(windows.tolist()):
        positions = window * node.stride[axis] - node.padding[axis] + dilation * np.arange(kernel)
        covered[positions[(positions >= 0) & (positions < length)]] += weight
    return covered
