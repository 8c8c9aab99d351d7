"""What the lossless methods share: a captured ANN to counting neurons."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from isospike.conversion.integers import fit_thresholds
from isospike.conversion.structure import check_layers
from isospike.conversion.thresholds import derive_staircases
from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    AveragePool,
    BatchNorm,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
    most_spikes,
)
from isospike.graph.intervals import Interval, add_interval
from isospike.graph.nodes import is_integer


@dataclass
class _Pending:
    """A layer on its way: synapses and BatchNorm that wait for the activation."""

    synapses: Convolution | Dense
    units: list[Fraction]
    norm: BatchNorm | None = None


class CountingConversion:
    """Walks a captured ANN and replaces each BatchNorm and activation by counting neurons.

    Args:
        ann: from :func:`isospike.networks.capture`.
        t_max: the most time steps that the graph may run.
        limit: m, the most spikes per neuron and step; None for as many as there are levels.

    Raises:
        ConversionError: an activation without levels where ``limit`` is None; a layer that does not fit in.
    """

    def __init__(self, ann: SpikingGraph, t_max: int, limit: int | None) -> None:
        if t_max < 1:
            raise ConversionError(f"t_max: expected at least 1 time step, got {t_max}")
        if ann.is_converted:
            raise ConversionError("convert: expected a captured ANN, got a graph that spikes already")
        check_layers(ann)
        self.ann, self.t_max, self.limit = ann, t_max, limit
        self.units: dict[str, list[Fraction]] = {}
        self.intervals: dict[str, Interval] = {}
        self.pending: _Pending | None = None
        self.most_levels = 1
        self.nodes: list[Node] = []

    def run(self) -> SpikingGraph:
        """The spiking graph."""
        for node in self.ann:
            self._convert(node)
        return SpikingGraph(tuple(self.nodes), self.t_max)

    def _convert(self, node: Node) -> None:
        if isinstance(node, Input):
            self._emit(node, [Fraction(1, node.divisor)] * node.shape[0])
        elif isinstance(node, Convolution | Dense):
            self.pending = _Pending(node, self._scale_units(node))
        elif isinstance(node, BatchNorm):
            self._layer().norm = node
        elif isinstance(node, Activation):
            self._convert_activation(node, self._layer())
        elif isinstance(node, AveragePool):
            size = node.kernel[0] * node.kernel[1]
            self._emit(node, [unit / size for unit in self._units_of(node)])
        elif isinstance(node, MaxPool):
            self._emit(replace(node, limit=self.limit or self.most_levels), self._units_of(node))
        elif isinstance(node, Flatten):
            positions = int(np.prod(self.ann.shapes[node.inputs[0]][1:]))
            self._emit(node, [unit for unit in self._units_of(node) for _ in range(positions)])
        elif isinstance(node, Readout):
            self._convert_classifier(node, self._layer())
        else:
            raise ConversionError(f"{node.name}: cannot convert a {type(node).__name__} to counting neurons")

    def _convert_activation(self, node: Activation, pending: _Pending) -> None:
        limit = self.limit if self.limit is not None else node.levels
        if limit is None:
            raise ConversionError(
                f"{node.name}: its activation has no highest level, and scatter-and-gather needs one neuron per level: "
                "train with quantise.bound=2"
            )
        self.most_levels = max(self.most_levels, limit)
        staircases = derive_staircases(node, pending.norm, pending.synapses.bias, pending.units)
        synapses = _apply_signs(pending.synapses, [s.sign for s in staircases])
        self._emit(replace(synapses, scale=None, bias=None), [])
        membrane = self.intervals[synapses.name]
        if is_integer(synapses.weight):
            draft = CountingNeuron(node.name, (), np.zeros(1), None, None, node.levels, limit)
            cap = most_spikes(draft, self.t_max) or 0
            most = cap + 1 if node.levels is None else min(node.levels, cap + 1)
            fit = fit_thresholds(node.name, staircases, membrane, most)
            neuron = CountingNeuron(
                node.name, (synapses.name,), fit.threshold, fit.step, fit.fraction_bits, node.levels, limit
            )
        else:
            first = np.array([float(s.first) for s in staircases])
            step = np.array([float(s.step) for s in staircases])
            neuron = CountingNeuron(node.name, (synapses.name,), first, step, None, node.levels, limit)
        self._emit(neuron, [node.step] * len(staircases))

    def _convert_classifier(self, node: Readout, pending: _Pending) -> None:
        synapses = pending.synapses
        self._emit(replace(synapses, scale=None, bias=None), [])
        if not is_integer(synapses.weight):
            worth = pending.units[0]
            bias = np.array([float(Fraction(value) / worth) for value in node.bias.tolist()])
        else:
            worth = pending.units[0]
            if any(unit != worth for unit in pending.units):
                raise ConversionError(
                    f"{synapses.name}: its classes have scales of their own, so integer logits cannot be compared: "
                    "quantise the classifier with one scale (Int8(per_channel=False))"
                )
            bias = np.array([round_half_up(Fraction(value) / worth) for value in node.bias.tolist()], dtype=np.int64)
        self._emit(Readout(node.name, (synapses.name,), bias, float(worth)), [])

    def _emit(self, node: Node, units: list[Fraction]) -> None:
        """Append a node, with what one unit of its signal is worth per channel."""
        self.nodes.append(node)
        self.units[node.name] = units
        add_interval(node, self.intervals, self.ann.shapes, self.t_max)

    def _layer(self) -> _Pending:
        """The layer on its way."""
        if self.pending is None:
            raise ConversionError("convert: expected synapses before BatchNorm, activation and readout")
        return self.pending

    def _units_of(self, node: Node) -> list[Fraction]:
        return self.units[node.inputs[0]]

    def _scale_units(self, node: Convolution | Dense) -> list[Fraction]:
        """What one unit of the current is worth, per output channel."""
        units = set(self._units_of(node))
        if len(units) != 1:
            raise ConversionError(
                f"{node.name}: the spikes coming in are worth {len(units)} different steps, expected one"
            )
        (unit,) = units
        if node.scale is None:
            return [unit] * len(node.weight)
        return [unit * Fraction(value) for value in node.scale.tolist()]


def round_half_up(value: Fraction) -> int:
    """The nearest integer, half upwards."""
    return (value + Fraction(1, 2)).__floor__()


def _apply_signs(synapses: Convolution | Dense, signs: list[int]) -> Convolution | Dense:
    """Negate the weights of channels where gamma < 0; clear those of constant channels."""
    sign = np.array(signs, dtype=synapses.weight.dtype)
    return replace(synapses, weight=synapses.weight * sign.reshape(-1, *[1] * (synapses.weight.ndim - 1)))
