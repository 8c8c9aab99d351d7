"""Rate-coded graphs of integers: weights of 8 or 16 bits, and everything else in their units."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from isospike.conversion.gains import round_gains
from isospike.errors import ConversionError
from isospike.graph import (
    Add,
    Affine,
    AveragePool,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    Input,
    IntegrateAndFire,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.graph.nodes import is_integer
from isospike.graph.rate_intervals import bound_rate_signals

_DTYPES = {8: np.int8, 16: np.int16}
_LARGEST_CURRENT = 2.0**29
_LARGEST_POTENTIAL = 2.0**50


@dataclass(frozen=True, eq=False)
class Units:
    """What an integer signal is: ``float signal = unit * integer signal``, per channel.

    Attributes:
        unit: float64 (channels,), above 0.
        fine: bool (channels,): whether the unit is a share of a weight; else it is a pixel step or a spike, too coarse
            for the constants of what follows.
    """

    unit: np.ndarray
    fine: np.ndarray


def round_rates(graph: SpikingGraph, bits: int | None) -> SpikingGraph:
    """A rate-coded graph of floats as one of integers; the graph itself where ``bits`` is None.

    Each output channel of a layer has a unit q of its own; weights, bias currents, thresholds and potentials become
    integers in q:

    * Float weights: the largest of the channel is ``2^(bits - 1) - 1`` units, the others are rounded to the nearest.
      Integer weights are multiplied by the largest power of two that keeps them within the bits, so they lose nothing.
      Where a current of one step might pass 2^29 units, q is larger.
    * Bias currents, thresholds (at least 1) and initial potentials are rounded to the nearest; ``lower`` up, residuals
      down: ``V < lower`` and ``V > residual`` decide on integers as before.
    * Where branches meet, the gains are integers by the rule of :func:`round_gains` for branches in fine units, channel
      by channel; spikes that are added to them are rounded to their unit.
    * The classifier has one unit for all classes, such that ``t_max`` steps stay within 30 bits. Logits are the
      integers ``V_t + t * bias``, one of which is worth ``scale / t``.

    It is a rounded network of its own: a rounded threshold or current acts at every step, so its rates tend to those of
    a slightly different network, and :func:`isospike.conversion.measure_loss` says how far that is from the ANN.

    Raises:
        ConversionError: ``bits`` that are neither 8 nor 16, or a network that takes float images.
    """
    if bits is None:
        return graph
    if bits not in _DTYPES:
        raise ConversionError(f"integer_bits: expected 8 or 16, or None for floats, got {bits}")
    if graph.input.floats:
        raise ConversionError(
            f"{graph.input.name}: integer_bits expects pixels, and this network takes floats: put Pixels before it"
        )
    return _Rounding(_fold_readout_gain(graph), bits).run()


class _Rounding:
    """Walks a rate-coded graph of floats and emits its integer nodes."""

    def __init__(self, graph: SpikingGraph, bits: int) -> None:
        self.graph, self.bits = graph, bits
        self.most = 2 ** (bits - 1) - 1
        self.magnitudes = {name: bound.magnitude for name, bound in bound_rate_signals(graph)[0].items()}
        self.classifier = _find_classifier(graph)
        self.nodes: list[Node] = []
        self.units: dict[str, Units] = {}
        self.places: dict[str, str] = {}  # the graph's name -> the node that gives its signal in integers

    def run(self) -> SpikingGraph:
        """The graph of integers."""
        for node in self.graph:
            self._round(node)
        return SpikingGraph(tuple(self.nodes), self.graph.t_max, self.graph.tau)

    def _round(self, node: Node) -> None:
        if isinstance(node, Convolution | Dense):
            self._round_synapses(node)
        elif isinstance(node, Affine):
            self._round_affine(node)
        elif isinstance(node, Add):
            self._round_sum(node)
        elif isinstance(node, IntegrateAndFire):
            self._round_neurons(node)
        elif isinstance(node, Readout):
            self._round_readout(node)
        elif isinstance(node, Input):
            self._emit(node, _count_units(node.shape[0]))
        else:
            self._emit(node, self._carry(node))

    def _carry(self, node: Node) -> Units:
        """The units of what passes a signal on."""
        parts = [self.units[self.places[name]] for name in node.inputs]
        if isinstance(node, Concatenate):
            return Units(np.concatenate([each.unit for each in parts]), np.concatenate([each.fine for each in parts]))
        (units,) = parts
        if isinstance(node, Flatten):
            positions = int(np.prod(self.graph.shapes[node.inputs[0]][1:]))
            return Units(np.repeat(units.unit, positions), np.repeat(units.fine, positions))
        if isinstance(node, AveragePool | MaxPool):
            return units
        raise ConversionError(f"{node.name}: integer_bits cannot round a {type(node).__name__}")

    def _round_synapses(self, node: Convolution | Dense) -> None:
        incoming = self._units_of(node).unit
        axes = tuple(range(1, node.weight.ndim))
        whole = is_integer(node.weight) and bool((incoming == 1).all())
        weight = node.weight if whole else _weigh(node, incoming)
        peak = np.abs(weight.astype(np.float64)).max(axes)
        unit = self._choose_units(node.name, peak, whole)
        shape = (-1, *[1] * len(axes))
        integers = np.rint(weight / unit.reshape(shape)).astype(_DTYPES[self.bits])
        bias = None if node.bias is None else _nearest(node.bias / unit)
        self._emit(replace(node, weight=integers, bias=bias), Units(unit, np.ones(len(unit), dtype=bool)))

    def _choose_units(self, name: str, peak: np.ndarray, whole: bool) -> np.ndarray:
        """A unit for each output channel whose largest weight is ``peak``."""
        largest = self.magnitudes[name]
        least = largest / _LARGEST_CURRENT
        if name in self.classifier and self.graph.t_max is not None:
            least = np.maximum(least, self.graph.t_max * self._find_logits() / 2.0**30)
        silent = np.where(largest > 0, largest / self.most, 1.0)  # a channel without weights is all bias
        unit = np.where(peak > 0, np.maximum(peak / self.most, least), np.maximum(silent, least))
        powers = 2.0 ** np.floor(np.log2(np.where(unit > 0, 1 / unit, 1)))
        if whole:
            unit = np.where((powers >= 1) & (peak > 0), 1 / powers, unit)
        return np.full_like(unit, unit.max()) if name in self.classifier else unit

    def _find_logits(self) -> float:
        """The largest current that the readout may take in a step, its bias included."""
        readout = self.graph.readout
        return float((self.magnitudes[readout.inputs[0]] + np.abs(readout.bias)).max())

    def _round_affine(self, node: Affine) -> None:
        """Gains that move into the units, where these are fine; else integers as weights are."""
        units = self._units_of(node)
        gain = node.gain * units.unit
        kept = units.fine & (np.abs(gain) * _LARGEST_CURRENT > np.abs(0 if node.bias is None else node.bias))
        unit = np.where(kept, np.abs(gain), self._choose_units(node.name, np.abs(gain), False))
        bias = None if node.bias is None else _nearest(node.bias / unit)
        self._emit(replace(node, gain=_nearest(gain / unit), bias=bias), Units(unit, np.ones(len(unit), dtype=bool)))

    def _round_sum(self, node: Add) -> None:
        parts = [self.units[self.places[name]] for name in node.inputs]
        unit, fine = (np.stack([getattr(each, field) for each in parts]) for field in ("unit", "fine"))
        if node.gains is None and (unit == unit[0]).all():
            self._emit(node, Units(unit[0], np.logical_or.reduce(fine)))
            return
        worth = unit * (1 if node.gains is None else node.gains)
        common = self._choose_units(node.name, np.abs(worth).max(0), False)  # where no branch is fine
        for channel in np.flatnonzero(fine.any(0)):
            column = [[Fraction(float(value))] for value in worth[fine[:, channel], channel]]
            shared = float(round_gains(column, None, 1)[2][0])
            common[channel] = max(shared, self.magnitudes[node.name][channel] / _LARGEST_CURRENT)
        gains = _nearest(worth / common)
        self._emit(replace(node, gains=gains), Units(common, np.ones(len(common), dtype=bool)))

    def _round_neurons(self, node: IntegrateAndFire) -> None:
        source = self._refine(node)
        unit = self.units[source].unit
        threshold = np.maximum(_nearest(np.minimum(node.threshold / unit, _LARGEST_POTENTIAL)), 1)
        share = threshold / node.threshold  # below 1 / unit only for thresholds that no membrane reaches
        scale = np.where(node.threshold / unit > _LARGEST_POTENTIAL, share, 1 / unit)
        initial = _nearest(node.initial * scale)
        lower = None if node.lower is None else np.minimum(np.ceil(node.lower * scale).astype(np.int64), initial)
        residual = None if node.residual is None else np.floor(node.residual * scale).astype(np.int64)
        rounded = replace(node, threshold=threshold, initial=initial, lower=lower, residual=residual)
        self._put(replace(rounded, inputs=(source,)), node.name, _count_units(len(unit)))

    def _round_readout(self, node: Readout) -> None:
        source = self._refine(node)
        unit = self.units[source].unit
        if not (unit == unit[0]).all():
            gains, _, shared = round_gains([[Fraction(float(each)) for each in unit]], None, len(unit))
            gain = Affine(f"{node.name}.rounding", (source,), gains[0])
            source = self._put(gain, gain.name, Units(np.array([float(each) for each in shared]), unit > 0))
            unit = self.units[source].unit
        self.nodes.append(Readout(node.name, (source,), _nearest(node.bias / unit), float(node.scale * unit[0])))

    def _refine(self, node: IntegrateAndFire | Readout) -> str:
        """What comes in, in fine units: counts of spikes or pixels are multiplied by a power of two."""
        place = self.places[node.inputs[0]]
        units = self.units[place]
        if units.fine.all():
            return place
        factor = (self.most + 1) // 2
        gain = Affine(f"{node.name}.unit", (place,), np.where(units.fine, 1, factor))
        return self._put(gain, gain.name, Units(units.unit / gain.gain, np.ones(len(units.unit), dtype=bool)))

    def _emit(self, node: Node, units: Units) -> None:
        self._put(replace(node, inputs=tuple(self.places[name] for name in node.inputs)), node.name, units)

    def _put(self, node: Node, name: str, units: Units) -> str:
        self.nodes.append(node)
        self.units[node.name] = units
        self.places[name] = node.name
        return node.name

    def _units_of(self, node: Node) -> Units:
        return self.units[self.places[node.inputs[0]]]


def _count_units(channels: int) -> Units:
    """Pixel steps or spikes."""
    return Units(np.ones(channels), np.zeros(channels, dtype=bool))


def _weigh(node: Convolution | Dense, incoming: np.ndarray) -> np.ndarray:
    """Float weights for integers of these units per incoming channel."""
    groups = node.groups if isinstance(node, Convolution) else 1
    by_output = np.repeat(incoming.reshape(groups, -1), len(node.weight) // groups, axis=0)
    return node.weight * by_output.reshape(*by_output.shape, *[1] * (node.weight.ndim - 2))


def _nearest(values: np.ndarray) -> np.ndarray:
    """The nearest integers; half goes up."""
    integers: np.ndarray = np.floor(values + 0.5).astype(np.int64)
    return integers


def _find_classifier(graph: SpikingGraph) -> set[str]:
    """The layer whose currents are the logits, pooled or flattened on their way at most."""
    node = graph[graph.readout.inputs[0]]
    while isinstance(node, Flatten | AveragePool):
        node = graph[node.inputs[0]]
    return {node.name} if isinstance(node, Convolution | Dense) else set()


def _fold_readout_gain(graph: SpikingGraph) -> SpikingGraph:
    """A classifier whose classes were of different worth has its gains in its weights, so that one unit serves all."""
    gain = graph[graph.readout.inputs[0]]
    if not isinstance(gain, Affine):
        return graph
    layer = graph[gain.inputs[0]]
    if not isinstance(layer, Convolution | Dense) or sum(layer.name in node.inputs for node in graph) > 1:
        return graph
    weight = layer.weight * gain.gain.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = np.zeros(len(weight)) if layer.bias is None else layer.bias * gain.gain
    bias = bias if gain.bias is None else bias + gain.bias
    folded = replace(layer, weight=weight, bias=bias if bias.any() else None)
    readout = replace(graph.readout, inputs=(layer.name,))
    changed = {layer.name: folded, readout.name: readout}
    nodes = tuple(changed.get(node.name, node) for node in graph if node is not gain)
    return SpikingGraph(nodes, graph.t_max, graph.tau)
