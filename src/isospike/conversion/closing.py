"""Where linear forms end: counting neurons and max-pool trackers."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from isospike.conversion.assembly import Assembly
from isospike.conversion.forms import Form, Gains, Term, absorb_start, to_floats, turn_weights
from isospike.conversion.gains import round_gains
from isospike.conversion.integers import fit_thresholds
from isospike.conversion.thresholds import Staircase, derive_staircases, list_steps
from isospike.errors import ConversionError
from isospike.graph import Activation, Convolution, CountingNeuron, Dense, MaxPool, most_spikes


class Closing:
    """Closes forms into neurons and trackers of the graph in ``assembly``.

    Args:
        assembly: the graph so far.
        limit: m, the most spikes per neuron and step; None for as many as there are levels.
    """

    def __init__(self, assembly: Assembly, limit: int | None) -> None:
        self.assembly, self.limit = assembly, limit
        self.most_levels = 1

    def fire(self, node: Activation, form: Form) -> Form:
        """Counting neurons on the form, and behind them the max pools that have waited.

        A form of one term is exact: its gains and constants become thresholds, the signs move into the weights where
        no one else uses them. Where several terms meet, an :class:`Add` forms their sum first: with integers, its gains
        are rounded (:func:`round_gains`), and the thresholds are exact for the rounded sum.
        """
        limit = self.limit if self.limit is not None else node.levels
        if limit is None:
            raise ConversionError(
                f"{node.name}: its activation has no highest level, and scatter-and-gather needs one neuron per level: "
                "train with quantise.bound=2"
            )
        self.most_levels = max(self.most_levels, limit)
        term, staircases = self._gather(node, form)
        name = f"{node.name}.unpooled" if form.pools else node.name
        draft = CountingNeuron(name, (term.node,), np.zeros(1), None, None, node.levels, limit, term.start)
        last = self.assembly.add(self._set_thresholds(draft, staircases, term.whole))
        for place, (pool, signs) in enumerate(form.pools, 1):
            last = self.track(pool, node.name if place == len(form.pools) else pool.name, last, signs)
        steps = list_steps(node, len(form.constant))
        return Form((Term(last, steps, counts=True),), [Fraction(0)] * len(steps))

    def track(self, node: MaxPool, name: str, source: str, signs: Sequence[int]) -> str:
        """A tracker of the counts that ``source`` gives; the name that it gets."""
        turned = None if all(sign == 1 for sign in signs) else np.array(signs, dtype=np.int64)
        bound = self.assembly.intervals[source]  # of pixels or of sums of counts it is wider than any neuron's levels
        reach = max(int(bound.high.max()), 0) - min(int(bound.low.min()), 0)
        limit = self.limit or max(self.most_levels, reach)
        return self.assembly.add(replace(node, name=name, inputs=(source,), limit=limit, signs=turned))

    def _gather(self, node: Activation, form: Form) -> tuple[Term, list[Staircase]]:
        """One signal that climbs where z does, and its thresholds."""
        if len(form.terms) > 1:
            return self._sum_up(node, form)
        term, constant = absorb_start(form.terms[0], form.constant)
        staircases = derive_staircases(node, term.gains, constant)
        signs = np.array([each.sign for each in staircases], dtype=np.int64)
        if (signs == 1).all():
            return term, staircases
        if form.chain:
            self._turn_weights(form.chain, signs)
            start = None if term.start is None else signs.reshape(-1, *[1] * (term.start.ndim - 1)) * term.start
            return replace(term, start=start), staircases
        gains = signs[None] if term.whole else signs[None].astype(np.float64)
        name, start = self.assembly.sum_terms(f"{node.name}.gains", [term], gains)
        return Term(name, term.gains, start, term.whole), staircases

    def _sum_up(self, node: Activation, form: Form) -> tuple[Term, list[Staircase]]:
        rows = [term.gains for term in form.terms]
        units: Gains = [Fraction(1)] * len(form.constant)
        if form.whole:
            gains, _, units = round_gains(rows, None, 1)
            units = [unit if gains[:, channel].any() else Fraction(0) for channel, unit in enumerate(units)]
        else:
            gains = np.stack([to_floats(row) for row in rows])
        name, start = self.assembly.sum_terms(form.name or f"{node.name}.sum", form.terms, gains)
        term, constant = absorb_start(Term(name, units, start, form.whole), form.constant)
        return term, derive_staircases(node, units, constant)

    def _turn_weights(self, chain: Sequence[str], signs: np.ndarray) -> None:
        """Negate the weights of channels whose gain is below zero; clear those of constant channels."""
        synapses = self.assembly.nodes[chain[0]]
        if isinstance(synapses, Convolution | Dense):
            self.assembly.change(replace(synapses, weight=turn_weights(synapses.weight, signs)), chain[1:])

    def _set_thresholds(self, draft: CountingNeuron, staircases: list[Staircase], whole: bool) -> CountingNeuron:
        if not whole:
            first, step = ([getattr(each, name) for each in staircases] for name in ("first", "step"))
            return replace(draft, threshold=to_floats(first), step=to_floats(step))
        cap = most_spikes(draft, self.assembly.t_max) or 0
        most = cap + 1 if draft.levels is None else min(draft.levels, cap + 1)
        fit = fit_thresholds(draft.name, staircases, self.assembly.bound_potential(draft), most)
        return replace(draft, threshold=fit.threshold, step=fit.step, fraction_bits=fit.fraction_bits)


def round_half_up(value: Fraction) -> int:
    """The nearest integer, half upwards."""
    return (value + Fraction(1, 2)).__floor__()
