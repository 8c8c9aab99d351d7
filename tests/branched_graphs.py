"""Random captured ANNs whose signals branch, meet and are pooled in any order."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.graph.shapes import Shape, infer_shape
from tests.problems import pixels, whole

_STEPS = (Fraction(1), Fraction(1, 2), Fraction(1, 5), Fraction(3, 7))


class _Growth:
    """A graph that grows by random nodes. ``maps`` are the feature maps that may be taken further, in the order they
    came; what max pools of currents give is taken by their activation at once."""

    def __init__(self, draw: st.DrawFn, weights: tuple[str, ...]) -> None:
        self.draw, self.weights = draw, weights
        # no ties with floats: there the ANN is only sure up to rounding
        self.parts = 2.0**40 if "float" in weights else 8
        self.random = np.random.default_rng(draw(st.integers(0, 2**16)))
        channels, height, width = draw(st.integers(1, 2)), draw(st.integers(2, 4)), draw(st.integers(2, 4))
        divisor = draw(st.sampled_from((1, 10, 64)))
        self.nodes: list[Node] = [pixels(channels, height, width, divisor=divisor, offset=draw(st.integers(0, 5)))]
        self.shapes: dict[str, Shape] = {}
        self.maps = ["pixels"]
        self.shapes["pixels"] = (channels, height, width)

    def put(self, node: Node) -> str:
        self.nodes.append(node)
        self.shapes[node.name] = infer_shape(node, [self.shapes[name] for name in node.inputs])
        return node.name

    def name(self, kind: str) -> str:
        return f"{kind}{len(self.nodes)}"

    def pick(self) -> str:
        """One of the last maps, so that graphs grow deep."""
        return self.draw(st.sampled_from(self.maps[-3:]))

    def grow(self) -> None:
        kinds = (self.convolve, self.convolve, self.normalise, self.activate, self.activate, self.average)
        motifs = (self.pool, self.add, self.add, self.concatenate, self.shift, self.shorten)
        kind = self.draw(st.sampled_from((*kinds, *motifs)))
        self.maps.append(kind(self.pick()))

    def convolve(self, source: str, padded: bool = False) -> str:
        shape = self.shapes[source]
        groups = self.draw(st.sampled_from((1, 1, shape[0])))
        out = groups * self.draw(st.integers(1, 2)) if groups < 3 else groups
        kernel = min(self.draw(st.sampled_from((1, 2, 3))), *shape[1:])
        padding = 1 if padded else self.draw(st.sampled_from((0, kernel // 2)))
        weight = self.draw_weight((out, shape[0] // groups, kernel, kernel))
        return self.put(Convolution(self.name("conv"), (source,), weight[0], (1, 1), (padding,) * 2, (1, 1), groups,
                                    weight[1], self.draw_bias(out)))  # fmt: skip

    def draw_weight(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None]:
        kind = self.draw(st.sampled_from(self.weights))
        if kind == "float":
            return self.random.normal(size=shape), None
        most = {"ternary": 1, "binary": 1, "int8": 5}[kind]
        weight = self.random.integers(-most, most + 1, shape)
        if kind == "binary":
            weight = np.where(weight < 0, -1, 1)
        scales = self.round(self.random.random(shape[0]) + 0.125)
        return whole(weight), self.draw(st.sampled_from((None, scales, np.full(shape[0], 0.3))))

    def draw_bias(self, out: int) -> np.ndarray | None:
        return self.draw(st.sampled_from((None, self.round(self.random.normal(size=out)))))

    def round(self, values: np.ndarray) -> np.ndarray:
        return np.round(self.parts * values) / self.parts

    def normalise(self, source: str) -> str:
        size = self.shapes[source][0]
        gamma, beta, mean = (self.round(self.random.normal(size=size)) for _ in range(3))
        gamma *= self.random.random(size) > 0.1
        sigma = np.maximum(self.round(self.random.random(size)), 0.125)
        return self.put(BatchNorm(self.name("norm"), (source,), gamma, beta, mean, sigma))

    def activate(self, source: str) -> str:
        ratios = None
        if self.draw(st.integers(0, 3)) == 0:
            ratios = np.maximum(self.round(self.random.random(self.shapes[source][0])), 0.25)
        step, levels = self.draw(st.sampled_from(_STEPS)), self.draw(st.sampled_from((1, 2, 4, 8)))
        return self.put(Activation(self.name("act"), (source,), step, levels, ratios))

    def average(self, source: str) -> str:
        return self.put(AveragePool(self.name("avg"), (source,), *self.draw_window(source)))

    def draw_window(self, source: str) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        size = min(2, *self.shapes[source][1:])
        stride = self.draw(st.sampled_from((1, size)))
        padding = self.draw(st.sampled_from((0, size // 2)))
        return (size, size), (stride, stride), (padding, padding)

    def pool(self, source: str) -> str:
        """A max pool, and whatever makes the spikes that it must end in."""
        pooled = self.put(MaxPool(self.name("max"), (source,), *self.draw_window(source)))
        if self.draw(st.booleans()):
            pooled = self.normalise(pooled)
        return self.activate(pooled)

    def add(self, source: str) -> str:
        """Two or three branches of one shape, the source among them perhaps twice."""
        alike = [name for name in self.maps if self.shapes[name] == self.shapes[source]]
        others = self.draw(st.lists(st.sampled_from(alike), min_size=1, max_size=2))
        return self.put(Add(self.name("add"), (source, *others)))

    def concatenate(self, source: str) -> str:
        alike = [name for name in self.maps if self.shapes[name][1:] == self.shapes[source][1:]]
        other = self.draw(st.sampled_from(alike))
        if self.shapes[source][0] + self.shapes[other][0] > 5:
            return self.activate(source)
        return self.put(Concatenate(self.name("cat"), (source, other)))

    def shift(self, source: str) -> str:
        """BatchNorm before synapses, whose padding then makes constants depend on the position."""
        return self.activate(self.convolve(self.normalise(source), padded=True))

    def shorten(self, source: str) -> str:
        """A residual block: its shortcut is the source itself."""
        shape = self.shapes[source]
        weight, scale = self.draw_weight((shape[0], shape[0], 1, 1))
        branch = self.put(Convolution(self.name("conv"), (source,), weight, scale=scale))
        return self.activate(self.put(Add(self.name("add"), (self.normalise(branch), source))))

    def finish(self) -> SpikingGraph:
        """Flatten the last map and classify; nodes that nothing takes are left out."""
        last = self.put(Flatten("flatten", (self.maps[-1],)))
        if self.draw(st.booleans()):
            last = self.put(Dense("dense", (last,), *self.draw_weight((3, *self.shapes[last]))))
            last = self.activate(last) if self.draw(st.booleans()) else last
        weight, scale = self.draw_weight((3, *self.shapes[last]))
        scale = None if scale is None else np.full(3, scale[0])
        last = self.put(Dense("classifier", (last,), weight, scale))
        if self.draw(st.integers(0, 3)) == 0:  # a worth of its own for each class
            last = self.normalise(last)
        if self.draw(st.integers(0, 3)) == 0:
            second, _ = self.draw_weight((3, *self.shapes["flatten"]))
            self.put(Dense("second", ("flatten",), second))
            last = self.put(Add("heads", (last, "second")))
        self.put(Readout("readout", (last,), self.random.normal(size=3)))
        return SpikingGraph(tuple(_prune(self.nodes)))


@st.composite
def branched_graphs(
    draw: st.DrawFn, weights: tuple[str, ...] = ("ternary", "binary", "int8"), most: int = 9
) -> SpikingGraph:
    """A captured ANN of up to ``most`` random nodes on maps of a few pixels; ties are common."""
    growth = _Growth(draw, weights)
    for _ in range(draw(st.integers(2, most))):
        growth.grow()
    return growth.finish()


def _prune(nodes: list[Node]) -> list[Node]:
    uses: Counter[str] = Counter()
    kept = []
    for node in reversed(nodes):
        if isinstance(node, Readout) or uses[node.name]:
            uses.update(node.inputs)
            kept.append(node)
    if kept[-1].name != nodes[0].name:
        kept.append(nodes[0])
    return [replace(node) for node in reversed(kept)]
