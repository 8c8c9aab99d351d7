"""From a spiking graph to the native network that runs it."""

from collections import Counter
from typing import Any

import numpy as np

from isospike.engine.native_module import require_native
from isospike.engine.ranges import bound_membrane, bound_ranges, tabulate_thresholds
from isospike.engine.rate_ranges import bound_rate_ranges
from isospike.errors import GraphError
from isospike.graph import (
    Add,
    Affine,
    AveragePool,
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    IntegrateAndFire,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.metrics import measure_reach

KNOWN = (
    Add,
    Affine,
    AveragePool,
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    IntegrateAndFire,
    MaxPool,
    Readout,
)
_MOST_LIMIT = 65535


class Lowering:
    """Walks a graph and adds each node to a native network.

    Signals there are channels-last. A dense layer is a convolution whose kernel is the whole map, so flattening before
    it costs nothing; a ternary layer that takes spikes and feeds counting neurons only becomes one native node with
    them. A rate-coded graph runs its ``tau`` steps and ``steps`` in one go.

    Args:
        graph: an integer spiking graph.
        steps: time steps, at most its T_max.
        isa: instruction set.

    Raises:
        GraphError: the graph is not integer, needs more than 32 bits, or holds what the engine cannot run.
    """

    def __init__(self, graph: SpikingGraph, steps: int, isa: str) -> None:
        self.graph, self.steps = graph, steps
        _check_kinds(graph)
        bound = bound_rate_ranges if graph.is_rate_coded else bound_ranges
        self.ranges = bound(graph, steps)
        self.network = require_native().Network(graph.tau + steps, isa, graph.is_rate_coded, graph.tau)
        self.numbers: dict[str, int] = {}
        self.flattened: dict[str, str] = {}
        self.spiking: list[str] = []
        self.work: list[str] = []
        consumers = Counter(name for node in graph for name in node.inputs)
        neurons = [node for node in graph if isinstance(node, CountingNeuron)]
        self.fused = {node.inputs[0]: node for node in neurons if consumers[node.inputs[0]] == 1 and node.start is None}
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
        elif isinstance(node, Add):
            sources = [self._find(name) for name in node.inputs]
            channels = self.graph.shapes[node.name][0]
            gains = np.ones((len(sources), channels)) if node.gains is None else node.gains
            self.numbers[node.name] = self.network.add_sum(sources, _as_int32(gains.reshape(-1)))
        elif isinstance(node, Concatenate):
            self.numbers[node.name] = self.network.add_concatenation([self._find(name) for name in node.inputs])
        elif isinstance(node, Flatten):
            self.flattened[node.name] = self.flattened.get(node.inputs[0], node.inputs[0])
        elif isinstance(node, CountingNeuron):
            if node.name not in self.numbers:  # else it is part of its ternary layer, and listed with it
                self.numbers[node.name] = self.network.add_neuron(
                    self._source(node), *self._thresholds(node), _place_start(node)
                )
                self.spiking.append(node.name)
        elif isinstance(node, IntegrateAndFire):
            fields = (node.threshold, node.initial, node.lower, node.residual)
            potentials = [np.zeros(0, dtype=np.int64) if each is None else _as_int64(each) for each in fields]
            self.numbers[node.name] = self.network.add_integrate_and_fire(self._source(node), *potentials)
            self.spiking.append(node.name)
        elif isinstance(node, Affine):
            self._add_affine(node.name, self._source(node), node.gain, node.bias)
        elif isinstance(node, Readout):
            self.numbers[node.name] = self.network.add_readout(self._source(node), _as_int32(node.bias))

    def _source(self, node: Node) -> int:
        """The number of what comes in."""
        return self._find(node.inputs[0])

    def _find(self, name: str) -> int:
        """The number of a node, features in the order that :class:`Flatten` gives them."""
        if name in self.flattened and name not in self.numbers:
            self.numbers[name] = self.network.add_flatten(self.numbers[self.flattened[name]])
        return self.numbers[name]

    def _add_dense(self, node: Dense) -> None:
        origin = self.flattened.get(node.inputs[0], node.inputs[0])
        shape = self.graph.shapes[origin]
        kernel = shape if len(shape) == 3 else (*shape, 1, 1)
        weight = node.weight.reshape(len(node.weight), *kernel)
        self._add_synapses(node, self.numbers[origin], weight, ((1, 1), (0, 0), (1, 1), 1))

    def _add_synapses(
        self, node: Convolution | Dense, source: int, weight: np.ndarray, settings: tuple[Any, ...]
    ) -> None:
        neuron = self.fused.get(node.name)
        ternary = neuron is not None and bool((np.abs(weight.astype(np.float64)) <= 1).all())
        if neuron is not None and ternary and self._accepts(source, weight, settings):
            narrow = np.ascontiguousarray(weight, dtype=np.int8)
            number = self.network.add_ternary(source, narrow, *settings, *self._thresholds(neuron))
            self.numbers[neuron.name] = number
            self.spiking.append(neuron.name)  # the native network has it from here on
        else:
            number = self.network.add_convolution(source, _as_int32(weight), *settings)
            self.numbers[node.name] = number
            if node.bias is not None:
                self._add_affine(node.name, number, np.ones_like(node.bias), node.bias)

    def _add_affine(self, name: str, source: int, gain: np.ndarray, bias: np.ndarray | None) -> None:
        shift = np.zeros_like(gain) if bias is None else bias
        self.numbers[name] = self.network.add_affine(source, _as_int32(gain), _as_int32(shift))

    def _accepts(self, source: int, weight: np.ndarray, settings: tuple[Any, ...]) -> bool:
        stride, padding, dilation, _ = settings
        return bool(self.network.accepts_ternary(source, weight.shape[2:], stride, padding, dilation))

    def _thresholds(self, node: CountingNeuron) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        membrane = bound_membrane(node, self.ranges[node.inputs[0]])
        first = tabulate_thresholds(node, membrane, self.steps)
        return first, _as_int32(membrane.low), _as_int32(membrane.high), min(node.limit, len(first))

    def _add_max_pool(self, node: MaxPool) -> None:
        if self.graph.is_rate_coded:
            self._add_rate_pool(node)
            return
        interval = self.ranges[node.name]
        limit = min(node.limit or 1, max(int(interval.high.max() - interval.low.min()), 1))
        if limit > _MOST_LIMIT:
            raise GraphError(
                f"{node.name}: it may emit {limit} spikes in a step, more than the engine lists: use engine='torch'"
            )
        signs = _as_int32(np.ones(self.graph.shapes[node.name][0]) if node.signs is None else node.signs)
        self.numbers[node.name] = self.network.add_max_pool(
            self._source(node), node.kernel, node.stride, node.padding, limit, signs
        )
        self.spiking.append(node.name)

    def _add_rate_pool(self, node: MaxPool) -> None:
        """A tracker that emits one spike a step at most, whatever its limit says."""
        signs = _as_int32(np.ones(self.graph.shapes[node.name][0]) if node.signs is None else node.signs)
        self.numbers[node.name] = self.network.add_max_pool(
            self._source(node), node.kernel, node.stride, node.padding, 1, signs
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


def _check_kinds(graph: SpikingGraph) -> None:
    for node in graph:
        if not isinstance(node, KNOWN):
            raise GraphError(f"{node.name}: the engine does not know {type(node).__name__}: use engine='torch'")


def _place_start(node: CountingNeuron) -> np.ndarray:
    """The membranes before the first step, position by position; empty for zero."""
    if node.start is None:
        return np.zeros(0, dtype=np.int32)
    return _as_int32(node.start.reshape(len(node.start), -1).T.reshape(-1))


def _as_int64(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.int64)


def _as_int32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.int32)
