"""What the lossless methods share: a captured ANN to counting neurons."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from isospike.conversion.assembly import Assembly
from isospike.conversion.closing import Closing, round_half_up
from isospike.conversion.constant_maps import apply_weights, sum_windows
from isospike.conversion.forms import (
    Form,
    Gains,
    Term,
    absorb_start,
    normalise_form,
    share_units,
    spread,
    to_floats,
    to_rationals,
)
from isospike.conversion.structure import check_network
from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.graph.nodes import is_integer


class CountingConversion:
    """Walks a captured ANN and turns it into linear nodes and counting neurons.

    What each ANN node is worth is a linear form of the spiking graph's signals (:class:`Form`). BatchNorm, scales,
    biases and the divisors of average pooling only change its numbers; an activation closes it into thresholds.

    Args:
        ann: from :func:`isospike.networks.capture`.
        t_max: the most time steps that the graph may run.
        limit: m, the most spikes per neuron and step; None for as many as there are levels.

    Raises:
        ConversionError: a network that has no counts (ReLU, float images), an activation without levels where ``limit``
            is None, a max pool of currents with no activation behind it.
    """

    def __init__(self, ann: SpikingGraph, t_max: int, limit: int | None) -> None:
        if t_max < 1:
            raise ConversionError(f"t_max: expected at least 1 time step, got {t_max}")
        if limit is not None and limit < 1:
            raise ConversionError(f"limit: expected at least 1 spike per step, or None for all levels, got {limit}")
        if ann.is_converted:
            raise ConversionError("convert: expected a captured ANN, got a graph that spikes already")
        check_network(ann)
        self.ann = ann
        self.assembly = Assembly(t_max)
        self.closing = Closing(self.assembly, limit)
        self.forms: dict[str, Form] = {}
        self.uses = Counter(source for node in ann for source in node.inputs)

    def run(self) -> SpikingGraph:
        """The spiking graph."""
        for node in self.ann:
            self.forms[node.name] = self._convert(node, [self.forms[source] for source in node.inputs])
        return self.assembly.finish()

    def _convert(self, node: Node, forms: Sequence[Form]) -> Form:
        if isinstance(node, Input):
            units = [Fraction(1, node.divisor)] * node.shape[0]
            return Form((Term(self.assembly.add(node), units, counts=True),), [Fraction(0)] * node.shape[0])
        if isinstance(node, Add | Concatenate):
            return self._join(node, forms)
        form = self._take(node, forms[0])
        if isinstance(node, BatchNorm):
            return normalise_form(form, node)
        if isinstance(node, Activation):
            return self.closing.fire(node, form)
        if isinstance(node, MaxPool):
            return self._pool_maxima(node, form)
        if form.pools:
            raise _refuse_currents(form.pools[0][0], node)
        if isinstance(node, Convolution | Dense):
            return self._connect(node, form)
        if isinstance(node, AveragePool):
            return self._average(node, form)
        if isinstance(node, Flatten):
            return self._flatten(node, form)
        if isinstance(node, Readout):
            return self._read(node, form)
        raise ConversionError(f"{node.name}: cannot convert a {type(node).__name__} to counting neurons")

    def _take(self, node: Node, form: Form) -> Form:
        """What comes in; signs cannot move into weights that others use too."""
        return replace(form, chain=()) if form.chain and self.uses[node.inputs[0]] > 1 else form

    def _connect(self, node: Convolution | Dense, form: Form) -> Form:
        """Synapses: integers of integers, or float64."""
        groups = node.groups if isinstance(node, Convolution) else 1
        span = len(form.constant) // groups
        whole = is_integer(node.weight) and form.whole
        weight, start, gains = node.weight, None, [Fraction(1)] * len(node.weight)
        if whole:
            form = self.assembly.settle(form, f"{node.name}.gains", span, whole=True, constant=True)
        elif len(form.terms) > 1:
            form = self.assembly.settle(form, f"{node.name}.gains", 1, whole=False, constant=False)
        (term,) = form.terms
        if form.is_constant_free and share_units(term.gains, span):
            gains = self._fan_out(term.gains, span, len(weight))
        elif whole:
            gains = self._fan_out(term.gains, span, len(weight))
            start = None if term.start is None else apply_weights(node, term.start)
        else:
            values = self._map_constant(form, term)
            start = None if values is None else apply_weights(node, values)
            weight = _fold_gains(node, to_floats(term.gains), groups)
        name = self.assembly.add(replace(node, inputs=(term.node,), weight=weight, scale=None, bias=None))
        if node.scale is not None:
            gains = [gain * scale for gain, scale in zip(gains, to_rationals(node.scale), strict=True)]
        bias = [Fraction(0)] * len(weight) if node.bias is None else to_rationals(node.bias)
        return Form((Term(name, gains, start, whole),), bias, chain=(name,))

    def _fan_out(self, gains: Gains, span: int, out: int) -> Gains:
        """Per input channel to per output channel, group by group."""
        groups = len(gains) // span
        return [gains[channel // (out // groups) * span] for channel in range(out)]

    def _map_constant(self, form: Form, term: Term) -> np.ndarray | None:
        """What a form of one term is worth before any spike, as a real map; None for nothing."""
        shape = self.assembly.shapes[term.node]
        spreading = (-1, *[1] * (len(shape) - 1))
        values = np.zeros(shape) + to_floats(form.constant).reshape(spreading)
        if term.start is not None:
            values = values + to_floats(term.gains).reshape(spreading) * term.start
        return values if values.any() else None

    def _average(self, node: AveragePool, form: Form) -> Form:
        """Sums over windows; the divisor moves into the gains. Zero padding makes constants depend on the position."""
        if any(node.padding) and any(form.constant):
            form = self.assembly.settle(form, f"{node.name}.gains", 1, whole=form.whole, constant=True)
        size = node.kernel[0] * node.kernel[1]
        terms = []
        for term in form.terms:
            name = self.assembly.add(replace(node, inputs=(term.node,)))
            start = None if term.start is None else sum_windows(node, term.start)
            terms.append(replace(term, node=name, gains=[gain / size for gain in term.gains], start=start))
        return Form(tuple(terms), form.constant, chain=(*form.chain, terms[0].node) if form.chain else ())

    def _flatten(self, node: Flatten, form: Form) -> Form:
        positions = int(np.prod(self.ann.shapes[node.inputs[0]][1:]))
        terms = []
        for term in form.terms:
            name = self.assembly.add(replace(node, inputs=(term.node,)))
            start = None if term.start is None else term.start.reshape(-1)
            terms.append(replace(term, node=name, gains=spread(term.gains, positions), start=start))
        return Form(tuple(terms), spread(form.constant, positions))

    def _pool_maxima(self, node: MaxPool, form: Form) -> Form:
        """A tracker of counts; or, for currents, a max pool that waits for the activation."""
        (term, *others) = form.terms
        if others or form.pools or not term.counts or term.start is not None:
            return replace(form, pools=(*form.pools, (node, [1] * len(form.constant))))
        signs = [-1 if gain < 0 else 1 for gain in term.gains]
        return replace(form, terms=(replace(term, node=self.closing.track(node, node.name, term.node, signs)),))

    def _join(self, node: Add | Concatenate, forms: Sequence[Form]) -> Form:
        for form in forms:
            if form.pools:
                raise _refuse_currents(form.pools[0][0], node)
        if isinstance(node, Add):
            constant = [sum(values, Fraction(0)) for values in zip(*(form.constant for form in forms), strict=True)]
            return Form(tuple(term for form in forms for term in form.terms), constant, name=node.name)
        parts = []
        whole = all(form.whole for form in forms)  # beside a real branch an integer sum is real too: nothing is rounded
        for source, form in zip(node.inputs, forms, strict=True):
            several = len(form.terms) > 1
            name = f"{source}.gains"
            parts.append(self.assembly.settle(form, name, 1, whole=whole, constant=False) if several else form)
        terms = [form.terms[0] for form in parts]
        name = self.assembly.add(replace(node, inputs=tuple(term.node for term in terms)))
        term = Term(
            name,
            [gain for term in terms for gain in term.gains],
            self._join_starts(terms),
            all(term.whole for term in terms),
            all(term.counts for term in terms),
        )
        return Form((term,), [value for form in parts for value in form.constant])

    def _join_starts(self, terms: Sequence[Term]) -> np.ndarray | None:
        if all(term.start is None for term in terms):
            return None
        dtype = np.int64 if all(term.whole for term in terms) else np.float64
        shapes = self.assembly.shapes
        starts = [np.zeros(shapes[term.node]) if term.start is None else term.start for term in terms]
        return np.concatenate(starts).astype(dtype)

    def _read(self, node: Readout, form: Form) -> Form:
        """Logits in one unit for all classes, which integer weights take from the gains."""
        classes = len(form.constant)
        scales = {each.name: each.scale for each in self.ann if isinstance(each, Convolution | Dense)}
        scale = scales.get(form.chain[0]) if form.whole and form.chain else None
        if scale is not None and len(set(scale.tolist())) > 1:
            raise ConversionError(
                f"{form.chain[0]}: its classes have scales of their own, so integer logits cannot be compared: "
                "quantise the classifier with one scale (Int8(per_channel=False))"
            )
        form = self.assembly.settle(
            form, f"{node.name}.gains", classes, whole=form.whole, constant=False, positive=True
        )
        term, constant = absorb_start(form.terms[0], form.constant)
        worth = term.gains[0]
        biases = [(b + k) / worth for b, k in zip(to_rationals(node.bias), constant, strict=True)]
        bias = np.array([round_half_up(b) for b in biases], dtype=np.int64) if term.whole else to_floats(biases)
        self.assembly.add(Readout(node.name, (term.node,), bias, float(worth)))
        return form


def _fold_gains(node: Convolution | Dense, gains: np.ndarray, groups: int) -> np.ndarray:
    """Float weights that take signals worth ``gains`` per input channel."""
    weight = node.weight.astype(np.float64)
    per_group = gains.reshape(groups, -1).repeat(len(weight) // groups, 0)
    return weight * per_group.reshape(*per_group.shape, *[1] * (weight.ndim - 2))


def _refuse_currents(pool: Node, node: Node) -> ConversionError:
    return ConversionError(
        f"{pool.name}: a max pool of currents needs a level activation right behind it, got {node.name} "
        f"({type(node).__name__}): put the activation before the pool"
    )
