"""What a graph is made of, node by node, in numbers that hardware people ask for."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isospike.graph import (
    Activation,
    Convolution,
    CountingNeuron,
    Dense,
    IntegrateAndFire,
    MaxPool,
    Node,
    Rectifier,
    SpikingGraph,
    count_membrane_bits,
)
from isospike.graph.nodes import is_integer

Range = tuple[float, float]


@dataclass(frozen=True)
class NodeDescription:
    """One node. What it does not have is None.

    Attributes:
        name: of the node.
        kind: its class, e.g. "Convolution" or "CountingNeuron".
        inputs: the nodes whose signals it takes.
        shape: of what it gives for one image.
        neurons: how many there are; the readout's membranes are the classes, and no neurons.
        synapses: connections that exist, those into the padding left out.
        weights: numbers that are stored for them.
        weight_type: "ternary", "binary", "int8" (or wider), "float".
        weight_range: the lowest and the highest weight, as stored.
        threshold: the lowest and the highest threshold over all channels: of the first spike where neurons count, the
            top of the staircase of an :class:`Activation`, the ceiling of a :class:`Rectifier`.
        step: the lowest and the highest distance between thresholds.
        levels: the highest count; None where there is no end.
        limit: the most spikes in a step.
        membrane_bits: container of an integer membrane: 8, 16, 24, 32 or 64; None for floats.
        fraction_bits: f; None for floats. Thresholds and steps are shown divided by ``2 ** f``.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    neurons: int | None = None
    synapses: int | None = None
    weights: int | None = None
    weight_type: str | None = None
    weight_range: Range | None = None
    threshold: Range | None = None
    step: Range | None = None
    levels: int | None = None
    limit: int | None = None
    membrane_bits: int | None = None
    fraction_bits: int | None = None


@dataclass(frozen=True)
class Description:
    """A graph.

    Attributes:
        kind: "counting", "rate-coded", or "captured" for an ANN that is not converted.
        in_shape: (channel, height, width) of the images.
        classes: how many logits.
        t_max: the most time steps that it may run; None for a captured ANN.
        tau: steps before those that count.
        integer: whether no float occurs between pixel and logit.
        neurons: in all.
        synapses: in all.
        weights: stored in all.
        membrane_bits: the widest membrane; None where one is a float, or the graph is captured.
        nodes: one after another, in the order of computation.
    """

    kind: str
    in_shape: tuple[int, int, int]
    classes: int
    t_max: int | None
    tau: int
    integer: bool
    neurons: int
    synapses: int
    weights: int
    membrane_bits: int | None
    nodes: tuple[NodeDescription, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; keys are the attributes' names, and stay."""
        return asdict(self)


def describe(graph: SpikingGraph) -> Description:
    """Shapes, neurons, synapses, weights, thresholds and membranes of a graph, captured or converted."""
    counting = graph.is_converted and not graph.is_rate_coded
    bits = count_membrane_bits(graph) if graph.is_converted else {}
    nodes = tuple(_describe(graph, node, bits.get(node.name)) for node in graph)
    widest = [size for size in bits.values() if size is not None]
    return Description(
        kind="counting" if counting else "rate-coded" if graph.is_converted else "captured",
        in_shape=graph.input.shape,
        classes=graph.shapes[graph.readout.name][0],
        t_max=graph.t_max,
        tau=graph.tau,
        integer=graph.is_integer,
        neurons=sum(node.neurons or 0 for node in nodes),
        synapses=sum(node.synapses or 0 for node in nodes),
        weights=sum(node.weights or 0 for node in nodes),
        membrane_bits=max(widest) if widest and len(widest) == len(bits) else None,
        nodes=nodes,
    )


def _describe(graph: SpikingGraph, node: Node, bits: int | None) -> NodeDescription:
    shape = graph.shapes[node.name]
    facts: dict[str, Any] = {"membrane_bits": bits}
    if isinstance(node, Convolution | Dense):
        facts |= {
            "synapses": _count_synapses(graph, node),
            "weights": int(node.weight.size),
            "weight_type": _name_type(node.weight),
            "weight_range": _find_range(node.weight),
        }
    elif isinstance(node, CountingNeuron):
        first = node.threshold if node.step is not None else node.threshold[:, 0]
        scale = 2.0 ** -(node.fraction_bits or 0)
        facts |= {
            "threshold": _find_range(first * scale),
            "step": None if node.step is None else _find_range(node.step * scale),
            "levels": node.levels,
            "limit": node.limit,
            "fraction_bits": node.fraction_bits,
        }
    elif isinstance(node, IntegrateAndFire):
        facts |= {"threshold": _find_range(node.threshold), "limit": 1}
    elif isinstance(node, Activation):
        steps = float(node.step) * (np.ones(1) if node.ratios is None else node.ratios)
        facts |= {"step": _find_range(steps), "levels": node.levels}
        facts["threshold"] = None if node.levels is None else _find_range(steps * node.levels)
    elif isinstance(node, Rectifier) and node.ceiling is not None:
        facts["threshold"] = (node.ceiling, node.ceiling)
    elif isinstance(node, MaxPool):
        facts["limit"] = node.limit
    if isinstance(node, CountingNeuron | IntegrateAndFire | Activation | Rectifier):
        facts["neurons"] = int(np.prod(shape))
    return NodeDescription(node.name, type(node).__name__, node.inputs, shape, **facts)


def _count_synapses(graph: SpikingGraph, node: Convolution | Dense) -> int:
    """Pairs of a neuron and a signal coming in that a weight connects; those into the padding are none."""
    if isinstance(node, Dense):
        return int(node.weight.size)
    before, after = graph.shapes[node.inputs[0]], graph.shapes[node.name]
    pairs = 1
    for axis in (0, 1):
        windows = np.arange(after[axis + 1]) * node.stride[axis] - node.padding[axis]
        places = windows[:, None] + node.dilation[axis] * np.arange(node.weight.shape[axis + 2])
        pairs *= int(((places >= 0) & (places < before[axis + 1])).sum())
    return pairs * node.weight.shape[0] * node.weight.shape[1]


def _name_type(weight: np.ndarray) -> str:
    if not is_integer(weight):
        return "float"
    if weight.size and (weight.min() < -1 or weight.max() > 1):
        return str(weight.dtype)
    return "ternary" if (weight == 0).any() else "binary"


def _find_range(values: np.ndarray) -> Range | None:
    return (float(values.min()), float(values.max())) if values.size else None
