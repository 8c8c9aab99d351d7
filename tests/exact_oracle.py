"""The quantised ANN of any captured network once more, slowly and plainly: pure Python, fractions, loops over places.

Nothing of the package is used but the arrays of the graph. Signals are kept as integers where the definition does
(docs/theorem.md, "Branches"): a sum of parts, each worth a gain per channel, and a constant per channel.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

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
from tests.oracle import Signal, count_exactly, flat_place, list_sources, places


@dataclass
class Value:
    """``sum of gains[c] * part[place] + constant[c]``; real where float weights have had a part in it."""

    parts: list[tuple[Signal, list[Fraction]]]
    constant: list[Fraction]
    whole: bool = True
    counts: bool = False

    def at(self, place: tuple[int, ...]) -> Fraction:
        """The real value."""
        c = place[0]
        return sum((gains[c] * part[place] for part, gains in self.parts), self.constant[c])


def evaluate_exactly(ann: SpikingGraph, image: np.ndarray) -> tuple[dict[str, list[int]], list[Fraction]]:
    """Counts by activation and max pool of counts, flattened, and the real logits of an image."""
    values: dict[str, Value] = {}
    counts: dict[str, list[int]] = {}
    for node in ann:
        before = [values[name] for name in node.inputs]
        value = values[node.name] = _evaluate(ann, node, before, image)
        if isinstance(node, Activation) or (isinstance(node, MaxPool) and value.counts):
            counts[node.name] = [int(value.parts[0][0][place]) for place in places(ann.shapes[node.name])]
    last = values[ann.readout.name]
    return counts, [last.at(place) for place in places(ann.shapes[ann.readout.name])]


def _evaluate(ann: SpikingGraph, node: Node, before: list[Value], image: np.ndarray) -> Value:
    here = places(ann.shapes[node.name])
    channels = ann.shapes[node.name][0]
    if isinstance(node, Input):
        part = {place: Fraction(int(image[place]) - int(node.offset[place[0]])) for place in here}
        return Value([(part, [Fraction(1, node.divisor)] * channels)], [Fraction(0)] * channels, counts=True)
    if isinstance(node, Add):
        if not all(value.whole for value in before):
            return _real({place: sum(value.at(place) for value in before) for place in here}, channels)
        constant = [sum(value.constant[c] for value in before) for c in range(channels)]
        return Value([part for value in before for part in value.parts], constant)
    if isinstance(node, Concatenate):
        return _concatenate(before, here)
    (value,) = before
    if isinstance(node, BatchNorm):
        g, b, m, s = ([Fraction(x) for x in a.tolist()] for a in (node.gamma, node.beta, node.mean, node.sigma))
        parts = [(p, [gain * g[c] / s[c] for c, gain in enumerate(gains)]) for p, gains in value.parts]
        constant = [g[c] * (k - m[c]) / s[c] + b[c] for c, k in enumerate(value.constant)]
        return replace(value, parts=parts, constant=constant)
    if isinstance(node, Convolution | Dense):
        return _connect(node, value, here)
    if isinstance(node, AveragePool):
        return _average(node, value, here)
    if isinstance(node, MaxPool):
        return _pool(node, value, here)
    if isinstance(node, Flatten):
        shape = ann.shapes[node.inputs[0]]
        order = [place[0] for place in places(shape)]
        parts = [
            ({(flat_place(place, shape),): x for place, x in part.items()}, [gains[c] for c in order])
            for part, gains in value.parts
        ]
        return replace(value, parts=parts, constant=[value.constant[c] for c in order])
    if isinstance(node, Activation):
        q = [node.step * (1 if node.ratios is None else Fraction(float(node.ratios[c]))) for c in range(channels)]
        one = value if not value.whole or len(value.parts) == 1 else _round(value, 1, constant=False)
        part = {place: Fraction(count_exactly(one.at(place) / q[place[0]], node.levels)) for place in here}
        return Value([(part, q)], [Fraction(0)] * channels, counts=True)
    if isinstance(node, Readout):
        return _read(node, value)
    raise TypeError(node)


def _real(part: Signal, channels: int) -> Value:
    return Value([(part, [Fraction(1)] * channels)], [Fraction(0)] * channels, whole=False)


def _round(value: Value, span: int, constant: bool) -> Value:
    """One part of integers: gains (and constants) beside the largest of ``span`` channels, rounded to 2^-f."""
    channels = len(value.constant)
    unit, whole, added = [Fraction(0)] * channels, [[0] * channels for _ in value.parts], [0] * channels
    for first in range(0, channels, span):
        group = range(first, first + span)
        size = [max(abs(gains[c]) for _, gains in value.parts) for c in range(channels)]
        extra = [value.constant[c] if constant else Fraction(0) for c in range(channels)]
        peak = max(size[c] for c in group) or max(abs(extra[c]) for c in group) or Fraction(1)
        wanted = [(gains[c] / peak, abs(gains[c]) / peak) for c in group for _, gains in value.parts]
        wanted += [(extra[c] / peak, Fraction(1)) for c in group]
        for f in range(21):
            two = 2**f
            errors = [abs(x - Fraction(_nearest(x * two), two)) - most / 1024 for x, most in wanted]
            if max(errors) <= 0:
                break
        for c in group:
            unit[c] = peak / two
            added[c] = _nearest(extra[c] / peak * two)
            for row, (_, gains) in enumerate(value.parts):
                whole[row][c] = _nearest(gains[c] / peak * two)
    part = {
        place: Fraction(added[place[0]]) + sum(whole[i][place[0]] * p[place] for i, (p, _) in enumerate(value.parts))
        for place in value.parts[0][0]
    }
    return Value([(part, unit)], [Fraction(0)] * channels if constant else value.constant)


def _nearest(x: Fraction) -> int:
    """Half away from zero."""
    return (x + Fraction(1, 2)).__floor__() if x >= 0 else -((-x + Fraction(1, 2)).__floor__())


def _connect(node: Convolution | Dense, value: Value, here: list[tuple[int, ...]]) -> Value:
    out = len(node.weight)
    groups = node.groups if isinstance(node, Convolution) else 1
    span = len(value.constant) // groups
    scale = [Fraction(1) if node.scale is None else Fraction(float(node.scale[c])) for c in range(out)]
    bias = [Fraction(0) if node.bias is None else Fraction(float(node.bias[c])) for c in range(out)]
    weights = [[Fraction(w) for w in row.flatten().tolist()] for row in node.weight]
    whole = value.whole and node.weight.dtype != np.float64
    if whole:
        (_, gains), *others = value.parts
        same = all(gains[c] == gains[c - c % span] for c in range(len(gains)))
        one = value if same and not others and not any(value.constant) else _round(value, span, constant=True)
        ((signal, units),) = one.parts
    else:
        signal = {place: value.at(place) for place in value.parts[0][0]}
        units = [Fraction(1)] * len(value.constant)
    part: Signal = {}
    for place in here:
        sources = list_sources(node, place) if isinstance(node, Convolution) else list(signal)
        pairs = zip(weights[place[0]], sources, strict=True)
        part[place] = sum((w * signal.get(each, Fraction(0)) for w, each in pairs), Fraction(0))
    if not whole:
        return _real({place: scale[place[0]] * u + bias[place[0]] for place, u in part.items()}, out)
    return Value([(part, [units[c // (out // groups) * span] * scale[c] for c in range(out)])], bias)


def _average(node: AveragePool, value: Value, here: list[tuple[int, ...]]) -> Value:
    size = node.kernel[0] * node.kernel[1]

    def add_up(part: Signal) -> Signal:
        return {p: sum((part.get(each, Fraction(0)) for each in list_sources(node, p)), Fraction(0)) for p in here}

    if not value.whole:
        total = add_up({place: value.at(place) for place in value.parts[0][0]})
        return _real({place: z / size for place, z in total.items()}, len(value.constant))
    one = _round(value, 1, constant=True) if any(node.padding) and any(value.constant) else value
    return replace(one, parts=[(add_up(part), [gain / size for gain in gains]) for part, gains in one.parts])


def _pool(node: MaxPool, value: Value, here: list[tuple[int, ...]]) -> Value:
    one = value if not value.whole or len(value.parts) == 1 else _round(value, 1, constant=False)
    ((part, gains),) = one.parts
    pooled = {}
    for place in here:
        choose = min if gains[place[0]] < 0 else max
        pooled[place] = choose(part[source] for source in list_sources(node, place) if source in part)
    return replace(one, parts=[(pooled, gains)])


def _concatenate(before: list[Value], here: list[tuple[int, ...]]) -> Value:
    first = [0]
    for value in before:
        first.append(first[-1] + len(value.constant))

    def find(place: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        branch = max(i for i in range(len(before)) if first[i] <= place[0])
        return branch, (place[0] - first[branch], *place[1:])

    if not all(value.whole for value in before):
        real = {place: before[find(place)[0]].at(find(place)[1]) for place in here}
        return _real(real, first[-1])
    ones = [value if len(value.parts) == 1 else _round(value, 1, constant=False) for value in before]
    part = {place: ones[find(place)[0]].parts[0][0][find(place)[1]] for place in here}
    gains = [gain for value in ones for gain in value.parts[0][1]]
    counts = all(value.counts for value in before)
    return Value([(part, gains)], [k for value in ones for k in value.constant], counts=counts)


def _read(node: Readout, value: Value) -> Value:
    bias = [Fraction(float(b)) + k for b, k in zip(node.bias, value.constant, strict=True)]
    if not value.whole:
        return replace(value, constant=bias)
    gains = value.parts[0][1]
    single = len(value.parts) == 1 and len(set(gains)) == 1 and gains[0] > 0
    one = value if single else _round(value, len(bias), constant=False)
    unit = one.parts[0][1][0]
    return replace(one, constant=[unit * (b / unit + Fraction(1, 2)).__floor__() for b in bias])
