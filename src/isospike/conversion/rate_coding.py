"""What the rate-coded methods share: a captured ANN to integrate-and-fire neurons."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from isospike.conversion.forms import turn_weights
from isospike.conversion.pool_order import pool_spikes
from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    Input,
    IntegrateAndFire,
    MaxPool,
    Node,
    Readout,
    Rectifier,
    SpikingGraph,
)

Threshold = float | np.ndarray
"""Of a layer, in units of its activations: one number, or one for each channel."""


@dataclass(frozen=True)
class Dynamics:
    """How the neurons behave; potentials are in thresholds.

    Attributes:
        initial: V before the first step.
        lower: below this a neuron takes a spike back; None where it never does.
        residual: a neuron whose V is not above this after ``tau`` steps is silenced; None for none.
        tau: steps before those that count.
    """

    initial: float = 0.0
    lower: float | None = None
    residual: float | None = None
    tau: int = 0


class RateConversion:
    """Walks a captured ANN and replaces each activation by integrate-and-fire neurons.

    A spike is a unit event that stands for the layer's threshold, in units of its activations. What a unit of each
    signal is worth is followed through the network and ends up in the thresholds: weights stay as they were captured
    (integers stay integers), BatchNorm and biases become a constant current. Only where channels of different worth
    meet in one convolution are they folded into float weights; where branches meet, the sum has a gain for each.

    Args:
        ann: from :func:`isospike.networks.capture`, prepared by :func:`pool_spikes`.
        t_max: the most time steps that the graph may run.
        thresholds: of each activation, by the node's name.
        dynamics: how neurons begin, whether they take spikes back, which are silenced.

    Raises:
        ConversionError: a layer that does not fit in, or a threshold that is not above 0.
    """

    def __init__(
        self, ann: SpikingGraph, t_max: int, thresholds: Mapping[str, Threshold], dynamics: Dynamics | None = None
    ) -> None:
        self.ann, self.t_max, self.thresholds, self.dynamics = ann, t_max, thresholds, dynamics or Dynamics()
        self.nodes: dict[str, Node] = {}
        self.places: dict[str, str] = {}  # captured name -> the converted node that gives its signal
        self.worth: dict[str, np.ndarray] = {}  # converted name -> what a unit is worth, per channel
        self.users = {node.name: [user for user in ann if node.name in user.inputs] for node in ann}

    def run(self) -> SpikingGraph:
        """The spiking graph."""
        for node in self.ann:
            if node.name not in self.places:
                self._convert(node)
        return SpikingGraph(tuple(self.nodes.values()), self.t_max, self.dynamics.tau)

    def _convert(self, node: Node) -> None:
        if isinstance(node, Input):
            self._emit(node, np.full(node.shape[0], 1 / node.divisor))
        elif isinstance(node, Convolution | Dense):
            self._convert_synapses(node)
        elif isinstance(node, BatchNorm):
            self._convert_norm(node)
        elif isinstance(node, Activation | Rectifier):
            self._convert_activation(node)
        elif isinstance(node, AveragePool):
            self._emit(node, self._worth_of(node) / (node.kernel[0] * node.kernel[1]))
        elif isinstance(node, MaxPool):
            self._emit(replace(node, limit=1), self._worth_of(node))
        elif isinstance(node, Flatten):
            self._emit(node, np.repeat(self._worth_of(node), int(np.prod(self.ann.shapes[node.inputs[0]][1:]))))
        elif isinstance(node, Concatenate):
            self._emit(node, np.concatenate([self.worth[self.places[name]] for name in node.inputs]))
        elif isinstance(node, Add):
            self._convert_sum(node)
        elif isinstance(node, Readout):
            self._convert_readout(node)
        else:
            raise ConversionError(f"{node.name}: cannot convert a {type(node).__name__} to integrate-and-fire neurons")

    def _convert_synapses(self, node: Convolution | Dense) -> None:
        channels = len(node.weight)
        scale = np.ones(channels) if node.scale is None else node.scale
        bias = np.zeros(channels) if node.bias is None else node.bias
        followers = self.users[node.name]
        norm = followers[0] if len(followers) == 1 and isinstance(followers[0], BatchNorm) else None
        if isinstance(norm, BatchNorm):
            gain = norm.gamma / norm.sigma
            scale, bias = scale * gain, gain * (bias - norm.mean) + norm.beta
            self.places[norm.name] = node.name
        weight, incoming = node.weight, self._worth_of(node)
        if (incoming == incoming[0]).all():
            worth = np.abs(scale) * incoming[0]
        else:
            weight, worth = _weigh_inputs(node, incoming), np.abs(scale)
        worth = np.where(worth > 0, worth, 1.0)  # a channel without input is all bias
        weight = turn_weights(weight, np.sign(scale).astype(np.int64))
        self._emit(replace(node, weight=weight, scale=None, bias=_or_none(bias / worth)), worth)

    def _convert_norm(self, node: BatchNorm) -> None:
        """A BatchNorm that follows no synapses of its own."""
        gain = node.gamma / node.sigma
        worth = self._worth_of(node)
        self._emit(Affine(node.name, node.inputs, gain, _or_none((node.beta - gain * node.mean) / worth)), worth)

    def _convert_activation(self, node: Activation | Rectifier) -> None:
        worth, rules = self._worth_of(node), self.dynamics
        height = np.broadcast_to(np.asarray(self.thresholds[node.name], dtype=np.float64), worth.shape)
        if not (np.isfinite(height) & (height > 0)).all():
            raise ConversionError(
                f"{node.name}: expected a threshold above 0, got {height.min():g}: its neurons never fire on these "
                "images; give more images, or a higher percentile"
            )
        threshold = height / worth
        lower, residual = (None if share is None else share * threshold for share in (rules.lower, rules.residual))
        self._emit(
            IntegrateAndFire(node.name, node.inputs, threshold, rules.initial * threshold, lower, residual),
            height.copy(),
        )

    def _convert_sum(self, node: Add) -> None:
        """Weigh each branch by what its units are worth, unless all are worth the same."""
        worths = [self.worth[self.places[name]] for name in node.inputs]
        if all((worth == worths[0]).all() for worth in worths):
            self._emit(node, worths[0])
        else:
            self._emit(replace(node, gains=np.stack(worths)), np.ones_like(worths[0]))

    def _convert_readout(self, node: Readout) -> None:
        place = self.places[node.inputs[0]]
        worth = self.worth[place]
        if not (worth == worth[0]).all():  # logits that are to be compared count in one unit
            gain = Affine(f"{node.name}.gain", (place,), worth)
            self.nodes[gain.name], self.worth[gain.name] = gain, np.ones_like(worth)
            place = gain.name
        unit = float(self.worth[place][0])
        self.nodes[node.name] = Readout(node.name, (place,), node.bias / unit, unit)

    def _emit(self, node: Node, worth: np.ndarray) -> None:
        """Append a node of the captured name, with what a unit of its signal is worth."""
        inputs = tuple(self.places[name] for name in node.inputs)
        self.nodes[node.name], self.worth[node.name] = replace(node, inputs=inputs), worth
        self.places[node.name] = node.name

    def _worth_of(self, node: Node) -> np.ndarray:
        return self.worth[self.places[node.inputs[0]]]


def prepare(ann: SpikingGraph, t_max: int) -> SpikingGraph:
    """A captured ANN as the rate-coded methods take it.

    Raises:
        ConversionError: a graph that spikes already, a ``t_max`` below 1, a max pool that cannot be tracked.
    """
    if t_max < 1:
        raise ConversionError(f"t_max: expected at least 1 time step, got {t_max}")
    if ann.is_converted:
        raise ConversionError("convert: expected a captured ANN, got a graph that spikes already")
    return pool_spikes(ann)


def read_bounds(ann: SpikingGraph, method: str) -> dict[str, Threshold]:
    """The highest value of each activation, ``levels * step``: the threshold of a network trained with levels.

    Raises:
        ConversionError: an activation that has no highest value of its own.
    """
    bounds: dict[str, Threshold] = {}
    for node in ann:
        if isinstance(node, Rectifier):
            raise ConversionError(
                f"{node.name}: {method} takes its threshold from a level activation, got a ReLU: train with "
                "quantise.levels=qcfs, or use percentile, opi or calibrated"
            )
        if isinstance(node, Activation):
            if node.levels is None:
                raise ConversionError(
                    f"{node.name}: {method} needs a highest level as its threshold, and this activation has none: "
                    "train with quantise.bound or quantise.levels=qcfs"
                )
            height = float(node.step * node.levels)
            bounds[node.name] = height if node.ratios is None else height * node.ratios
    return bounds


def _weigh_inputs(node: Convolution | Dense, worth: np.ndarray) -> np.ndarray:
    """Float weights, with what a unit of each incoming channel is worth folded in."""
    if isinstance(node, Dense):
        return node.weight * worth
    by_group = np.repeat(worth.reshape(node.groups, -1), len(node.weight) // node.groups, axis=0)
    return node.weight * by_group[:, :, None, None]


def _or_none(bias: np.ndarray) -> np.ndarray | None:
    return bias if bias.any() else None
