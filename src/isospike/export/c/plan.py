"""What every part of a C program needs to know of the graph: names, ranges, who takes whose spikes."""

import re
from dataclasses import dataclass, field

import numpy as np

from isospike.errors import ExportError
from isospike.export.c.constants import Constant, choose_type, size_of
from isospike.export.c.ranges import bound_sums
from isospike.graph import (
    Add,
    AveragePool,
    Concatenate,
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
from isospike.graph.intervals import Interval

LINEAR = (Convolution, Dense, AveragePool, Flatten, Add, Concatenate)


@dataclass(frozen=True)
class Member:
    """An array in the state: ``<type> <name>[<length>]``."""

    name: str
    type: str
    length: int

    @property
    def bytes(self) -> int:
        """The RAM it takes."""
        return size_of(self.type) * self.length


@dataclass
class Plan:
    """A graph made ready to be written as C.

    Signals are channels-last: neuron (channel c, row y, column x) is number ``(y * width + x) * channels + c``, so that
    what one spike reaches lies side by side. After a Flatten the numbers are those of the features.

    Attributes:
        graph: an integer spiking graph.
        name: the prefix of everything that the program shows outside.
        packed: whether ternary weights take two bits, or eight.
        ranges: bounds of each signal, summed over time.
        labels: C identifiers by node.
        users: who takes each signal and needs it, each with the number of the input. What leads nowhere is left out.
        reached: the spiking nodes that the spikes of each node come to, in the order of the graph.
        members: the arrays of the state.
        constants: the arrays in flash.
    """

    graph: SpikingGraph
    name: str
    packed: bool
    ranges: dict[str, Interval]
    labels: dict[str, str]
    users: dict[str, list[tuple[Node, int]]]
    reached: dict[str, list[str]]
    members: list[Member] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)

    @property
    def t_max(self) -> int:
        """The most steps."""
        return self.graph.t_max or 0

    def shape(self, name: str) -> tuple[int, int, int]:
        """A signal's channels, height and width; features are channels of one position."""
        shape = self.graph.shapes[name]
        return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)

    def size(self, name: str) -> int:
        """The neurons of a node."""
        return int(np.prod(self.graph.shapes[name]))

    def shares_counts(self, node: MaxPool) -> bool:
        """Whether a pool can look at its input's own counts: these are the sums of the spikes it has received."""
        return isinstance(self.graph[node.inputs[0]], CountingNeuron | MaxPool)

    def add_member(self, name: str, low: int, high: int, length: int) -> Member:
        """An array of the state for numbers from ``low`` to ``high``."""
        member = Member(name, choose_type(low, high), length)
        self.members.append(member)
        return member


def make_plan(graph: SpikingGraph, name: str, packed: bool) -> Plan:
    """Check that C can say this graph, and bound all its sums.

    Raises:
        ExportError: the graph is a captured ANN, holds floats, needs more than 32 bits, or holds an unknown node.
    """
    if graph.t_max is None:
        raise ExportError("export c: expected a spiking graph, got a captured ANN: convert it first")
    for node in graph:
        if not isinstance(node, (*LINEAR, Input, CountingNeuron, MaxPool, Readout)):
            raise ExportError(
                f"{node.name}: the C export knows counting neurons alone, and a {type(node).__name__} belongs to a "
                "rate-coded graph: convert with all-integer, or use 'isospike export nir'"
            )
    ranges = bound_sums(graph)
    labels = {node.name: f"{number}_{_spell(node.name)}" for number, node in enumerate(graph)}
    return Plan(graph, name, packed, ranges, labels, *_follow(graph))


def _follow(graph: SpikingGraph) -> tuple[dict[str, list[tuple[Node, int]]], dict[str, list[str]]]:
    """Who takes each signal, and which spiking nodes it comes to."""
    users: dict[str, list[tuple[Node, int]]] = {node.name: [] for node in graph}
    reached: dict[str, set[str]] = {node.name: set() for node in graph}
    for node in reversed(graph.nodes):
        linear = isinstance(node, LINEAR)
        if linear and not users[node.name]:
            continue
        for place, source in reversed(list(enumerate(node.inputs))):
            users[source].insert(0, (node, place))
            if linear:
                reached[source] |= reached[node.name]
            elif not isinstance(node, Readout):
                reached[source].add(node.name)
    order = [node.name for node in graph.spiking]
    return users, {name: [other for other in order if other in found] for name, found in reached.items()}


def channels_last(array: np.ndarray) -> np.ndarray:
    """(channels, height, width) in the order of :class:`Plan`, flat; features as they are."""
    return array.transpose(1, 2, 0).reshape(-1) if array.ndim == 3 else array.reshape(-1)


def _spell(name: str) -> str:
    """A node's name as part of a C identifier or a comment."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name)[:40].strip("_") or "node"
