"""The spiking graph as it grows: its nodes, names, shapes and intervals."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from isospike.conversion.forms import Form, Term, share_units, to_floats
from isospike.conversion.gains import round_gains
from isospike.errors import ConversionError
from isospike.graph import Add, CountingNeuron, Node, SpikingGraph
from isospike.graph.intervals import Interval, add_interval, bound_potential
from isospike.graph.shapes import Shape, infer_shape


class Assembly:
    """Appends nodes to a spiking graph and knows what each can give.

    Args:
        t_max: the most time steps that the graph may run.
    """

    def __init__(self, t_max: int) -> None:
        self.t_max = t_max
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        self.intervals: dict[str, Interval] = {}
        self.settled: dict[tuple[Form, int, bool, bool], Form] = {}

    def finish(self) -> SpikingGraph:
        """The graph."""
        return SpikingGraph(tuple(self.nodes.values()), self.t_max)

    def add(self, node: Node) -> str:
        """Append a node; its name gets a number where it is taken."""
        number, name = 1, node.name
        while name in self.nodes:
            number += 1
            name = f"{node.name}~{number}"
        self._put(replace(node, name=name))
        return name

    def change(self, node: Node, dependent: Sequence[str] = ()) -> None:
        """Put another node of the same name and shape in its place; ``dependent`` are the nodes behind it, in order."""
        self._put(node)
        for name in dependent:
            self._put(self.nodes[name])

    def bound_potential(self, node: CountingNeuron) -> Interval:
        """The interval of a neuron's membrane potential, before the neuron is there."""
        return bound_potential(node, self.intervals[node.inputs[0]])

    def sum_terms(self, name: str, terms: Sequence[Term], gains: np.ndarray) -> tuple[str, np.ndarray | None]:
        """Add up signals with their gains (terms, channels); gives the new node's name and its start."""
        start: np.ndarray | None = None
        for term, gain in zip(terms, gains, strict=True):
            if term.start is not None:
                part = gain.reshape(-1, *[1] * (term.start.ndim - 1)) * term.start
                start = part if start is None else start + part
        return self.add(Add(name, tuple(term.node for term in terms), gains)), start

    def settle(self, form: Form, name: str, span: int, *, whole: bool, constant: bool, positive: bool = False) -> Form:
        """The form as one term, by an :class:`Add` called ``name`` if need be.

        With ``whole`` each ``span`` channels in a row come to share a unit, all gains being rounded to integers (see
        :func:`round_gains`); else the new signal is the real value in float64.

        Args:
            form: without max pools that wait.
            name: of a node to add, where the form has none.
            span: channels that must share a unit; 1 for any units.
            whole: whether the signal must stay an integer.
            constant: whether the constant must become part of the signal (as its start).
            positive: whether gains must be above 0.
        """
        (term, *others) = form.terms
        bare = not constant or not any(form.constant)
        if not others and bare and share_units(term.gains, span) and (not positive or term.gains[0] > 0):
            return form
        key = (form, span, whole, constant)
        if key not in self.settled:
            self.settled[key] = self._settle(form, name, span, whole, constant)
        return self.settled[key]

    def _settle(self, form: Form, name: str, span: int, whole: bool, constant: bool) -> Form:
        rows = [term.gains for term in form.terms]
        channels = len(form.constant)
        if whole:
            try:
                gains, shifts, units = round_gains(rows, form.constant if constant else None, span)
            except OverflowError as error:
                raise ConversionError(
                    f"{name}: a constant is more than 2^63 times what its channel is worth: prune channels whose gamma "
                    "is nearly 0"
                ) from error
        else:
            gains, units = np.stack([to_floats(row) for row in rows]), [Fraction(1)] * channels
            shifts = to_floats(form.constant) if constant else np.zeros(channels)
        if len(rows) == 1 and (gains == 1).all():
            node, start = form.terms[0].node, form.terms[0].start
        else:
            node, start = self.sum_terms(form.name or name, form.terms, gains)
        if shifts.any():
            shape = self.shapes[node]
            level = np.broadcast_to(shifts.reshape(-1, *[1] * (len(shape) - 1)), shape)
            start = level.copy() if start is None else start + level
        kept = [Fraction(0)] * channels if constant else form.constant
        return Form((Term(node, units, start, whole),), kept)

    def _put(self, node: Node) -> None:
        self.nodes[node.name] = node
        self.shapes[node.name] = infer_shape(node, [self.shapes[source] for source in node.inputs])
        add_interval(node, self.intervals, self.shapes, self.t_max)
