"""Thresholds folded into weights: a rate-coded graph of the same spikes in which every threshold is 1."""

from dataclasses import replace

import numpy as np

from isospike.errors import ExportError
from isospike.graph import (
    Add,
    Affine,
    AveragePool,
    Convolution,
    Dense,
    Flatten,
    IntegrateAndFire,
    Node,
    Readout,
    SpikingGraph,
)


def fold_thresholds(graph: SpikingGraph) -> SpikingGraph:
    """The same spikes at thresholds of 1, gains of 1 where branches meet, and logits that are the classifier's current.

    ``V / threshold`` obeys the same rule with currents divided by the threshold, so synapses are divided, channel by
    channel. The readout's scale and bias go into the classifier.

    Args:
        graph: rate-coded.

    Raises:
        ExportError: no dense classifier before the readout.
    """
    folding = Folding(graph)
    for node in graph:
        if isinstance(node, IntegrateAndFire):
            scaled = folding.scale(node.inputs[0], 1 / node.threshold)
            initial = node.initial / node.threshold
            folding.put(replace(node, inputs=(scaled,), threshold=np.ones_like(node.threshold), initial=initial))
        elif isinstance(node, Readout):
            folding.put(_fold_readout(node, folding))
    for node in list(folding.nodes.values()):
        if isinstance(node, Add) and node.gains is not None and (node.gains != 1).any():
            folding.put(folding.spread_gains(node, np.ones(node.gains.shape[1])))
    return folding.finish()


def average_pools(graph: SpikingGraph) -> SpikingGraph:
    """Weights such that every sum over a window may be read as the mean: a graph for readers that know no sum pooling.

    What comes back is right only where its pools are means.
    """
    folding = Folding(graph)
    for node in graph:
        if isinstance(node, AveragePool):
            area = float(node.kernel[0] * node.kernel[1])
            channels = graph.shapes[node.name][0]
            users = [user for user in graph if node.name in user.inputs]
            if len(users) == 1 and isinstance(users[0], Flatten):
                users = [user for user in graph if users[0].name in user.inputs]
            if users and all(isinstance(user, Convolution | Dense) for user in users):
                for user in users:
                    current = folding.nodes[user.name]
                    folding.put(replace(current, weight=current.arrays["weight"] * area))  # type: ignore[call-arg]
            else:
                folding.put(replace(node, inputs=(folding.scale(node.inputs[0], np.full(channels, area)),)))
    return folding.finish()


class Folding:
    """A graph whose nodes are being replaced."""

    def __init__(self, graph: SpikingGraph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {node.name: node for node in graph}
        self.after: dict[str, list[str]] = {}

    def put(self, node: Node) -> None:
        """Replace the node of this name."""
        self.nodes[node.name] = node

    def scale(self, name: str, factor: np.ndarray) -> str:
        """The name of ``factor`` (channels,) times the signal ``name``: the same name, where only one node takes it."""
        node = self.nodes[name]
        alone = sum(user.inputs.count(name) for user in self.nodes.values()) == 1
        if alone and isinstance(node, Convolution | Dense):
            spread = factor.reshape(-1, *[1] * (node.weight.ndim - 1))
            bias = None if node.bias is None else node.bias * factor
            self.put(replace(node, weight=node.weight * spread, bias=bias))
            return name
        if alone and isinstance(node, Affine):
            bias = None if node.bias is None else node.bias * factor
            self.put(replace(node, gain=node.gain * factor, bias=bias))
            return name
        if alone and isinstance(node, AveragePool):
            self.put(replace(node, inputs=(self.scale(node.inputs[0], factor),)))
            return name
        if alone and isinstance(node, Add):
            self.put(self.spread_gains(node, factor))
            return name
        return self._insert(name, factor)

    def spread_gains(self, node: Add, factor: np.ndarray) -> Add:
        """A sum whose gains, times ``factor``, have gone into its branches."""
        gains = np.ones((len(node.inputs), len(factor))) if node.gains is None else node.gains
        inputs = tuple(self.scale(name, row * factor) for name, row in zip(node.inputs, gains, strict=True))
        return replace(node, inputs=inputs, gains=np.ones(gains.shape))

    def finish(self) -> SpikingGraph:
        """The graph of the nodes as they are now."""
        nodes: list[Node] = []
        for node in self.graph:
            self._append(node.name, nodes)
        return SpikingGraph(tuple(nodes), self.graph.t_max, self.graph.tau)

    def _append(self, name: str, nodes: list[Node]) -> None:
        nodes.append(self.nodes[name])
        for added in self.after.get(name, ()):
            self._append(added, nodes)

    def _insert(self, name: str, factor: np.ndarray) -> str:
        """A node of its own that scales; right after its source."""
        if (factor == 1).all():
            return name
        number = len(self.after.setdefault(name, []))
        added = Affine(f"{name}.scale{number}", (name,), factor)
        self.after[name].append(added.name)
        self.put(added)
        return added.name


def _fold_readout(node: Readout, folding: Folding) -> Readout:
    classifier = folding.nodes[node.inputs[0]]
    if not isinstance(classifier, Dense):
        raise ExportError(f"{node.name}: NIR export expects a dense classifier before it, got {classifier.name}")
    weight = classifier.weight * node.scale
    bias = node.scale * (node.bias + (0 if classifier.bias is None else classifier.bias))
    folding.put(replace(classifier, weight=weight, bias=bias))
    return replace(node, bias=np.zeros(len(node.bias)), scale=1.0)
