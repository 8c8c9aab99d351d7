"""SpikingGraph: the one thing that crosses rooms."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isospike.errors import GraphError
from isospike.graph.nodes import (
    Activation,
    Add,
    Affine,
    BatchNorm,
    CountingNeuron,
    Input,
    IntegrateAndFire,
    Joining,
    MaxPool,
    Node,
    Readout,
    Rectifier,
    Spiking,
    Synapses,
    is_integer,
)
from isospike.graph.shapes import Shape, infer_shape


@dataclass(frozen=True, eq=False)
class SpikingGraph:
    """A network as nodes in the order of computation, and ``t_max``, the most time steps it may run.

    A graph with ``t_max=None`` is a captured ANN (BatchNorm and activations still in it), which ``convert`` turns
    into a spiking one. A *rate-coded* graph has integrate-and-fire neurons instead of counting ones.

    Attributes:
        tau: steps that a rate-coded graph runs before those that count, to find the neurons to silence; it takes
            ``tau + T`` steps for an answer after T.

    Raises:
        GraphError: names that are not unique, inputs that do not come earlier, shapes that do not fit, values that
            are not finite.
    """

    nodes: tuple[Node, ...]
    t_max: int | None = None
    tau: int = 0

    def __post_init__(self) -> None:
        _check_order(self.nodes)
        _check_values(self.nodes, self.t_max)
        _check_rate_coding(self)
        _ = self.shapes

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        try:
            return self._by_name[name]
        except KeyError:
            raise GraphError(f"no node is called {name!r}; there are {', '.join(self._by_name)}") from None

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each node's signal, for one image."""
        shapes: dict[str, Shape] = {}
        for node in self.nodes:
            shapes[node.name] = infer_shape(node, [shapes[name] for name in node.inputs])
        return shapes

    @property
    def input(self) -> Input:
        """The node that takes the pixels."""
        node = self.nodes[0]
        if not isinstance(node, Input):
            raise GraphError(f"{node.name}: expected the first node to be an Input, got {type(node).__name__}")
        return node

    @property
    def readout(self) -> Readout:
        """The node that gives the logits."""
        node = self.nodes[-1]
        if not isinstance(node, Readout):
            raise GraphError(f"{node.name}: expected the last node to be a Readout, got {type(node).__name__}")
        return node

    @cached_property
    def spiking(self) -> tuple[Node, ...]:
        """Everything that keeps a count: neurons and max-pool trackers."""
        return tuple(node for node in self.nodes if isinstance(node, Spiking))

    @cached_property
    def neurons(self) -> tuple[CountingNeuron | IntegrateAndFire, ...]:
        """The neurons, from the encoder (hidden layer 1) to the last hidden layer."""
        return tuple(node for node in self.nodes if isinstance(node, CountingNeuron | IntegrateAndFire))

    @cached_property
    def is_rate_coded(self) -> bool:
        """Whether its neurons are integrate-and-fire neurons: the image is presented at every step."""
        return any(isinstance(node, IntegrateAndFire) for node in self.nodes)

    @cached_property
    def synapses(self) -> tuple[Node, ...]:
        """The nodes with weights, from the encoder's to the classifier's."""
        return tuple(node for node in self.nodes if isinstance(node, Synapses))

    @cached_property
    def is_integer(self) -> bool:
        """Whether no float occurs between pixel and logit (the worth of a logit aside)."""
        return all(is_integer(array) for node in self.nodes for array in node.arrays.values())

    @property
    def is_converted(self) -> bool:
        """Whether this graph spikes, rather than being a captured ANN."""
        return self.t_max is not None


def _check_order(nodes: tuple[Node, ...]) -> None:
    seen: set[str] = set()
    if not nodes or not isinstance(nodes[0], Input) or not isinstance(nodes[-1], Readout):
        raise GraphError("expected a graph that begins with an Input and ends with a Readout; convert the network anew")
    for node in nodes:
        if node.name in seen:
            raise GraphError(f"{node.name}: two nodes have this name; each needs its own")
        missing = [name for name in node.inputs if name not in seen]
        if missing:
            raise GraphError(f"{node.name}: its input {missing[0]!r} does not come before it")
        seen.add(node.name)
        if isinstance(node, Input | Readout) and node is not nodes[0] and node is not nodes[-1]:
            raise GraphError(
                f"{node.name}: expected a {type(node).__name__} only at an end of the graph; convert it anew"
            )
        if isinstance(node, Joining):
            least = 1 if isinstance(node, Add) and node.gains is not None else 2
            if len(node.inputs) < least:
                raise GraphError(f"{node.name}: expected at least {least} inputs, got {len(node.inputs)}")
            continue
        expected = 0 if isinstance(node, Input) else 1
        if len(node.inputs) != expected:
            raise GraphError(f"{node.name}: expected {expected} input(s), got {len(node.inputs)}")


def _check_values(nodes: tuple[Node, ...], t_max: int | None) -> None:
    if t_max is not None and (not isinstance(t_max, int) or t_max < 1):
        raise GraphError(f"T_max: expected at least 1 time step, as a whole number, got {t_max}")
    currents = {"bias"} if any(isinstance(node, IntegrateAndFire) for node in nodes) else set()
    for node in nodes:
        for field, array in node.arrays.items():
            if not (is_integer(array) or array.dtype == np.float64):
                raise GraphError(f"{node.name}.{field}: expected integers or float64, got {array.dtype}")
            if not np.isfinite(array).all():
                raise GraphError(f"{node.name}.{field}: holds NaN or infinity; train or load the network anew")
        if t_max is not None and isinstance(node, BatchNorm | Activation | Rectifier):
            raise GraphError(f"{node.name}: a {type(node).__name__} does not occur in a spiking graph; convert it anew")
        if t_max is not None and isinstance(node, Synapses) and not node.arrays.keys() <= ({"weight"} | currents):
            raise GraphError(f"{node.name}: scale and bias do not occur in a spiking graph; convert it anew")
        if t_max is not None and isinstance(node, MaxPool) and node.limit is None:
            raise GraphError(f"{node.name}: a max-pool tracker needs the most spikes it may emit in a step")
        if isinstance(node, Add) and t_max is None and node.gains is not None:
            raise GraphError(f"{node.name}: gains belong to the sums of a spiking graph, not to a captured ANN")
        if isinstance(node, MaxPool) and node.signs is not None and (t_max is None or (abs(node.signs) != 1).any()):
            raise GraphError(f"{node.name}.signs: expected 1 or -1 per channel of a spiking graph")
        if isinstance(node, BatchNorm) and (node.sigma <= 0).any():
            raise GraphError(f"{node.name}.sigma: expected deviations above 0, got {node.sigma.min()}")
        if isinstance(node, Input) and node.divisor < 1:
            raise GraphError(f"{node.name}: expected a divisor of at least 1, got {node.divisor}")
        if isinstance(node, Activation) and (node.step <= 0 or (node.levels is not None and node.levels < 1)):
            raise GraphError(f"{node.name}: expected a step above 0 and levels, got {node.step} and {node.levels}")
        if isinstance(node, Activation) and node.ratios is not None and (node.ratios <= 0).any():
            raise GraphError(f"{node.name}.ratios: expected ratios above 0, got {node.ratios.min()}")
        if isinstance(node, Rectifier) and node.ceiling is not None and not 0 < node.ceiling < float("inf"):
            raise GraphError(f"{node.name}: expected a ceiling above 0, or None for none, got {node.ceiling}")
        if isinstance(node, CountingNeuron):
            _check_neuron(node)


def _check_neuron(node: CountingNeuron) -> None:
    if node.limit < 1 or (node.levels is not None and node.levels < 1):
        raise GraphError(
            f"{node.name}: expected at least 1 level and 1 spike per step, got {node.levels}, {node.limit}"
        )
    if (node.fraction_bits is None) == is_integer(node.threshold):
        raise GraphError(f"{node.name}: fraction_bits goes with integer thresholds, and only with them")
    if node.fraction_bits is not None and not 0 <= node.fraction_bits <= 24:
        raise GraphError(f"{node.name}: expected 0 to 24 fraction bits, got {node.fraction_bits}")
    if (node.step is None) != (node.threshold.ndim == 2):
        raise GraphError(f"{node.name}: expected one threshold and one step per channel, or a table and no step")
    if node.step is not None and (node.step <= 0).any():
        raise GraphError(f"{node.name}.step: expected steps above 0, got {node.step.min()}")
    if node.start is not None and is_integer(node.start) != is_integer(node.threshold):
        raise GraphError(f"{node.name}.start: expected the numbers of its thresholds, got {node.start.dtype}")


def _check_rate_coding(graph: SpikingGraph) -> None:
    """What integrate-and-fire neurons ask of their graph."""
    if not isinstance(graph.tau, int) or graph.tau < 0 or (graph.tau and not graph.is_rate_coded):
        raise GraphError(f"tau: expected 0 or more steps, as a whole number, of a rate-coded graph, got {graph.tau}")
    for node in graph:
        if isinstance(node, Affine | IntegrateAndFire) and not (graph.is_converted and graph.is_rate_coded):
            raise GraphError(f"{node.name}: a {type(node).__name__} only occurs in a rate-coded graph; convert it anew")
        if isinstance(node, CountingNeuron) and graph.is_rate_coded:
            raise GraphError(f"{node.name}: counting and integrate-and-fire neurons do not mix; convert it anew")
        if isinstance(node, IntegrateAndFire):
            if (node.threshold <= 0).any():
                raise GraphError(f"{node.name}.threshold: expected thresholds above 0, got {node.threshold.min()}")
            if node.lower is not None and (node.lower > node.initial).any():
                raise GraphError(f"{node.name}.lower: expected at most the initial potential, or rest would fire")
