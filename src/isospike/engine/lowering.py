"""From a spiking graph to the native network that runs it."""

from collections import Counter
from typing import Any

import numpy as np

from isospike.engine.native_module import require_native
from isospike.engine.ranges import bound_ranges, tabulate_thresholds
from isospike.errors import GraphError
from isospike.graph import (
    AveragePool,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.metrics import measure_reach

_MOST_LIMIT = 65535


class Lowering:
    """Walks a graph and adds each node to a native network.

    Signals there are channels-last. A dense layer is a convolution whose kernel is the whole map, so flattening before
    it costs nothing; a ternary layer that takes spikes and feeds neurons only becomes one native node with them.

    Args:
        graph: an integer spiking graph.
        steps: time steps, at most its T_max.
        isa: instruction set.

    Raises:
        GraphError: the graph is not integer, needs more than 32 bits, or holds what the engine cannot run.
    """

    def __init__(self, graph: SpikingGraph, steps: int, isa: str) -> None:
        self.graph, self.steps = graph, steps
        self.ranges = bound_ranges(graph, steps)
        self.network = require_native().Network(steps, isa)
        self.numbers: dict[str, int] = {}
        self.flattened: dict[str, str] = {}
        self.spiking: list[str] = []
        self.work: list[str] = []
        consumers = Counter(name for node in graph for name in node.inputs)
        neurons = [node for node in graph if isinstance(node, CountingNeuron)]
        self.fused = {node.inputs[0]: node for node in neurons if consumers[node.inputs[0]] == 1}
        for node in graph:
            try:
                self._add(node)
            except (TypeError, ValueError, OverflowError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise GraphError(f"{node.name}: the engine cannot run it ({reason}): convert it anew") from error
        self._add_work()

    def _add(self, node: Node) -> None:
        if isinstance(node, Input):
            self.numbers[node.name] = self.network.add_input(node.shape, _as_int32(node.offset))
        elif isinstance(node, Convolution):
            settings = (node.stride, node.padding, node.dilation, node.groups)
            self._add_synapses(node, self._source(node), node.weight, settings)
        elif isinstance(node, Dense):
            self._add_dense(node)
        elif isinstance(node, AveragePool):
            number = self.network.add_sum_pool(self._source(node), node.kernel, node.stride, node.padding)
            self.numbers[node.name] = number
        elif isinstance(node, MaxPool):
            self._add_max_pool(node)
        elif isinstance(node, Flatten):
            self.flattened[node.name] = self.flattened.get(node.inputs[0], node.inputs[0])
        elif isinstance(node, CountingNeuron):
            if node.name not in self.numbers:  # else it is part of its ternary layer
                self.numbers[node.name] = self.network.add_neuron(self._source(node), *self._thresholds(node))
            self.spiking.append(node.name)
        elif isinstance(node, Readout):
            self.numbers[node.name] = self.network.add_readout(self._source(node), _as_int32(node.bias))
        else:
            raise GraphError(f"{node.name}: the engine does not know {type(node).__name__}: use engine='torch'")

    def _source(self, node: Node) -> int:
        """The number of what comes in, features in the order that :class:`Flatten` gives them."""
        name = node.inputs[0]
        if name in self.flattened and name not in self.numbers:
            self.numbers[name] = self.network.add_flatten(self.numbers[self.flattened[name]])
        return self.numbers[name]

    def _add_dense(self, node: Dense) -> None:
        origin = self.flattened.get(node.inputs[0], node.inputs[0])
        shape = self.graph.shapes[origin]
        kernel = shape if len(shape) == 3 else (*shape, 1, 1)
        weight = node.weight.reshape(len(node.weight), *kernel)
        self._add_synapses(node, self.numbers[origin], weight, ((1, 1), (0, 0), (1, 1), 1))

    def _add_synapses(self, node: Node, source: int, weight: np.ndarray, settings: tuple[Any, ...]) -> None:
        neuron = self.fused.get(node.name)
        ternary = neuron is not None and bool((np.abs(weight.astype(np.float64)) <= 1).all())
        if neuron is not None and ternary and self._accepts(source, weight, settings):
            narrow = np.ascontiguousarray(weight, dtype=np.int8)
            number = self.network.add_ternary(source, narrow, *settings, *self._thresholds(neuron))
            self.numbers[neuron.name] = number
        else:
            self.numbers[node.name] = self.network.add_convolution(source, _as_int32(weight), *settings)

    def _accepts(self, source: int, weight: np.ndarray, settings: tuple[Any, ...]) -> bool:
        stride, padding, dilation, _ = settings
        return bool(self.network.accepts_ternary(source, weight.shape[2:], stride, padding, dilation))

    def _thresholds(self, node: CountingNeuron) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        membrane = self.ranges[node.inputs[0]]
        first = tabulate_thresholds(node, membrane, self.steps)
        return first, _as_int32(membrane.low), _as_int32(membrane.high), min(node.limit, len(first))

    def _add_max_pool(self, node: MaxPool) -> None:
        interval = self.ranges[node.name]
        limit = min(node.limit or 1, max(int(interval.high.max() - interval.low.min()), 1))
        if limit > _MOST_LIMIT:
            raise GraphError(
                f"{node.name}: it may emit {limit} spikes in a step, more than the engine lists: use engine='torch'"
            )
        self.numbers[node.name] = self.network.add_max_pool(
            self._source(node), node.kernel, node.stride, node.padding, limit
        )
        self.spiking.append(node.name)

    def _add_work(self) -> None:
        """Have the synapses counted that spikes reach; what is no spike reaches none."""
        spiking = set(self.spiking)
        for reach in measure_reach(self.graph):
            if reach.source in spiking:
                synapses = np.ascontiguousarray(reach.synapses.reshape(-1), dtype=np.int64)
                self.network.add_work(self.numbers[reach.source], synapses)
                self.work.append(reach.layer)


def _as_int32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.int32)
