"""Counting work: what a spike costs (SOPs) and what the ANN costs (MACs)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Rectifier,
    SpikingGraph,
)
from isospike.graph.nodes import Spiking

_FIRING = (*Spiking, Activation, Rectifier)


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
    output channels, zero weights included. At least one entry per layer that spikes reach; a layer where branches meet
    has one for each of its sources, pixels among them perhaps.

    Pooling, flattening, sums and concatenations are passed through, and so are synapses whose currents enter others (a
    spike then reaches those of every current that it makes). A spike that reaches a sum through no synapses, as on an
    identity shortcut, is one operation for each term that it changes: these belong to the layer of the :class:`Add`.

    Source: counted as in the scatter-and-gather and negative-spike papers (docs/methods.md, "Counting work"), which
    say nothing of shortcuts.
    """
    found: dict[tuple[str, str], np.ndarray] = {}
    for layer in list_working_layers(graph):
        node = graph[layer]
        for source, synapses in _spread_back(graph, node, _Cover.of(graph.shapes[layer]), layer):
            known = found.get((layer, source))
            found[layer, source] = synapses if known is None else known + synapses
    return [Reach(layer, source, synapses) for (layer, source), synapses in found.items()]


def list_working_layers(graph: SpikingGraph, classifier: bool = True) -> list[str]:
    """The names of the layers that operations are counted for, in the order of the graph: synapses that spikes reach,
    and the sums that spikes reach through no synapses; without ``classifier``, those that lead to a neuron.

    Synapses that pixels alone reach are the encoder's (:func:`list_encoding_layers`)."""
    driven = find_driven(graph)
    names = []
    for node in graph:
        bare = isinstance(node, Add) and any(_brings_spikes(graph, source, driven) for source in node.inputs)
        if (isinstance(node, Convolution | Dense) and driven.intersection(node.inputs)) or bare:
            names.append(node.name)
    hidden = names if classifier else _find_hidden(graph)
    return [name for name in names if name in hidden]


def list_encoding_layers(graph: SpikingGraph) -> list[str]:
    """The names of the encoder's synapses, in the order of the graph: those that pixels reach and no spikes.

    One layer in most networks; several where branches begin at the pixels, or where no neuron is between two layers;
    none where neurons, or max-pool trackers of a counting graph, sit on the pixels themselves. A max pool of pixels in
    a rate-coded graph gives the same at every step, and fires nothing."""
    driven = find_driven(graph)
    return [node.name for node in graph.synapses if not driven.intersection(node.inputs)]


def list_encoders(graph: SpikingGraph) -> list[str]:
    """The names of the neurons and max-pool trackers that no spikes reach: what they fire is the image, encoded."""
    driven = find_driven(graph)
    return [node.name for node in graph.spiking if node.name in driven and not driven.intersection(node.inputs)]


def count_macs(graph: SpikingGraph, classifier: bool = False) -> int:
    """Multiply-accumulates of one image through the ANN, from layer 2 to the last hidden layer, or to the classifier.

    ``out positions * kernel positions * in channels / groups * out channels``; as profilers do, kernel positions in the
    padding count. Those of pixels (:func:`measure_pixel_macs`) are the encoder's, and no part of this. In a captured
    ANN a max pool counts as what it becomes in a counting graph, a tracker that fires.
    """
    macs, pixels = measure_macs(graph), measure_pixel_macs(graph)
    return sum(macs.get(name, 0) - pixels.get(name, 0) for name in list_working_layers(graph, classifier))


def measure_macs(graph: SpikingGraph) -> dict[str, int]:
    """Multiply-accumulates of one image through each layer with weights, the encoder's and the classifier's too (see
    :func:`count_macs`)."""
    positions = {node.name: int(np.prod(graph.shapes[node.name][1:])) for node in graph.synapses}
    return {node.name: positions[node.name] * int(node.arrays["weight"].size) for node in graph.synapses}


def measure_pixel_macs(graph: SpikingGraph) -> dict[str, int]:
    """Those of :func:`measure_macs` that a spiking network has to do too, by layer; layers without any are left out.

    They are of the input channels that pixels reach without passing a neuron or a max-pool tracker: all of the
    encoder's, and, of a layer that takes pixels (or currents of pixels) beside spikes, those of the pixels' channels.
    """
    driven = find_driven(graph)
    found: dict[str, int] = {}
    reached: dict[str, np.ndarray] = {}
    for node in graph:
        if isinstance(node, Input):
            reached[node.name] = np.ones(node.shape[0], dtype=bool)
        elif _fires(graph, node) or (isinstance(node, MaxPool) and node.name in driven):
            reached[node.name] = np.zeros(graph.shapes[node.name][0], dtype=bool)
        else:
            reached[node.name] = _spread_pixels(graph, node, [reached[name] for name in node.inputs])
        if isinstance(node, Convolution | Dense) and reached[node.inputs[0]].any():
            groups = node.groups if isinstance(node, Convolution) else 1
            taps = int(np.prod(node.weight.shape[2:])) * (len(node.weight) // groups)
            positions = int(np.prod(graph.shapes[node.name][1:]))
            found[node.name] = positions * taps * int(reached[node.inputs[0]].sum())
    return found


def _spread_pixels(graph: SpikingGraph, node: Node, incoming: list[np.ndarray]) -> np.ndarray:
    """Which channels (or features) of a node's signal pixels reach, bool, from those of its inputs."""
    if isinstance(node, Concatenate):
        return np.concatenate(incoming)
    if isinstance(node, Add):
        return np.logical_or.reduce(incoming)
    if isinstance(node, Flatten):
        return np.repeat(incoming[0], int(np.prod(graph.shapes[node.inputs[0]][1:])))
    if isinstance(node, Convolution):
        return np.repeat(incoming[0].reshape(node.groups, -1).any(1), len(node.weight) // node.groups)
    if isinstance(node, Dense):
        return np.full(len(node.weight), incoming[0].any())
    return incoming[0]


def _fires(graph: SpikingGraph, node: Node) -> bool:
    """Whether what a node gives is spikes of its own whatever comes in, or in an ANN what becomes spikes."""
    return isinstance(node, _FIRING) and not (isinstance(node, MaxPool) and graph.is_rate_coded)


def find_driven(graph: SpikingGraph) -> set[str]:
    """The nodes whose signals depend on spikes, their own ones included; the others depend on the pixels alone."""
    driven: set[str] = set()
    for node in graph:
        if _fires(graph, node) or driven.intersection(node.inputs):
            driven.add(node.name)
    return driven


def _find_hidden(graph: SpikingGraph) -> set[str]:
    """The nodes that lead to a neuron, or in an ANN to an activation."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        if isinstance(node, _FIRING) or node.name in found:
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


def _brings_spikes(graph: SpikingGraph, name: str, driven: set[str]) -> bool:
    """Whether spikes come out of a node, perhaps pooled or joined, but through no synapses."""
    node = graph[name]
    if name not in driven or isinstance(node, Convolution | Dense):
        return False
    return isinstance(node, _FIRING) or any(_brings_spikes(graph, each, driven) for each in node.inputs)


def _windows_over(length: int, windows: np.ndarray, node: Convolution | AveragePool, axis: int) -> np.ndarray:
    """How often each position along an axis is covered, window i counting ``windows[i]`` times."""
    kernel = node.weight.shape[axis + 2] if isinstance(node, Convolution) else node.kernel[axis]
    dilation = node.dilation[axis] if isinstance(node, Convolution) else 1
    covered = np.zeros(length, dtype=np.int64)
    for window, weight in enumerate(windows.tolist()):
        positions = window * node.stride[axis] - node.padding[axis] + dilation * np.arange(kernel)
        covered[positions[(positions >= 0) & (positions < length)]] += weight
    return covered
