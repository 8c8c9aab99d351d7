"""Random integer spiking graphs, small and awkward."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from isospike.engine.ranges import bound_ranges
from isospike.errors import GraphError
from isospike.graph import (
    Add,
    AveragePool,
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.graph.shapes import infer_shape


@dataclass
class GraphBuilder:
    """Adds random nodes one after another.

    Args:
        rng: where every number comes from.
        t_max: the graph's T_max.
    """

    rng: np.random.Generator
    t_max: int
    nodes: list[Node] = field(default_factory=list)
    shape: tuple[int, ...] = ()

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Append a node."""
        self.shape = infer_shape(node, [self.shapes[name] for name in node.inputs])
        self.shapes[node.name] = self.shape
        self.nodes.append(node)

    def follow(self, kind: str) -> tuple[str, tuple[str, ...]]:
        """A new node's name and inputs."""
        return f"{kind}{len(self.nodes)}", (self.nodes[-1].name,) if self.nodes else ()

    def add_input(self, channels: int, height: int, width: int) -> None:
        """Pixels with an offset per channel."""
        offset = self.rng.integers(0, 200, channels)
        self.add(Input(*self.follow("input"), (channels, height, width), 255, offset))

    def add_convolution(self, out: int, wide: bool = False) -> None:
        """A convolution with random geometry that fits, if any does."""
        channels, height, width = self.shape
        pick = self.rng.integers
        kernel = [int(pick(1, 4)) for _ in range(2)]
        padding = tuple(int(pick(0, 3)) for _ in range(2))
        dilation = tuple(int(pick(1, 3)) for _ in range(2))
        for axis, length in enumerate((height, width)):
            while dilation[axis] * (kernel[axis] - 1) + 1 > length + 2 * padding[axis]:
                kernel[axis] -= 1
        stride = tuple(int(pick(1, 3)) for _ in range(2))
        groups = int(self.rng.choice([g for g in (1, 2, 3, channels) if channels % g == 0]))
        out = -(-out // groups) * groups
        weight = self.draw_weights((out, channels // groups, *kernel), wide)
        self.add(Convolution(*self.follow("conv"), weight, stride, padding, dilation, groups))

    def add_dense(self, out: int, wide: bool = False) -> None:
        """A dense layer, after flattening where that is needed."""
        if len(self.shape) == 3:
            self.add(Flatten(*self.follow("flatten")))
        self.add(Dense(*self.follow("dense"), self.draw_weights((out, *self.shape), wide)))

    def draw_weights(self, shape: tuple[int, ...], wide: bool) -> np.ndarray:
        """Ternary weights, or wide ones: int8, or now and then more."""
        if not wide:
            return self.rng.choice(np.array([-1, 0, 1], dtype=np.int8), shape)
        if self.rng.random() < 0.2 and np.prod(shape[1:]) <= 12:
            return self.rng.integers(-40000, 40000, shape).astype(np.int32)
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def add_pool(self, kind: str, limit: int) -> None:
        """A pool over windows that may overlap, leave gaps, or reach into the padding."""
        kernel = tuple(min(int(self.rng.integers(1, 4)), length) for length in self.shape[1:])
        stride = tuple(int(self.rng.integers(1, 4)) for _ in range(2))
        padding = tuple(int(self.rng.integers(0, size // 2 + 1)) for size in kernel)
        if kind == "max":
            signs = self.rng.choice([-1, 1], self.shape[0]) if self.rng.random() < 0.7 else None
            self.add(MaxPool(*self.follow("max"), kernel, stride, padding, limit, signs))
        else:
            self.add(AveragePool(*self.follow("avg"), kernel, stride, padding))

    def add_branches(self, kind: str, wide: bool) -> None:
        """A convolution and a shortcut past it (bare, or with synapses of its own), added or concatenated."""
        source, channels = self.nodes[-1].name, self.shape[0]
        self.add(Convolution(*self.follow("conv"), self.draw_weights((channels, channels, 3, 3), wide), (1, 1), (1, 1)))
        branches = [self.nodes[-1].name, source]
        if self.rng.random() < 0.5:
            weight = self.draw_weights((channels, channels, 1, 1), wide)
            self.add(Convolution(f"short{len(self.nodes)}", (source,), weight))
            branches[1] = self.nodes[-1].name
        if self.rng.random() < 0.3:
            branches.append(source)
        name = f"{kind}{len(self.nodes)}"
        if kind == "concatenate":
            self.add(Concatenate(name, tuple(branches if self.rng.random() < 0.7 else [source, source])))
        elif self.rng.random() < 0.3:
            self.add(Add(name, tuple(branches)))
        else:
            gains = self.rng.integers(-5, 6, (len(branches), channels))
            self.add(Add(name, tuple(branches), gains))

    def add_neuron(self, levels: int | None, limit: int, table: bool) -> None:
        """Counting neurons whose thresholds lie around the membranes that occur."""
        channels, spread = self.shape[0], self._guess_spread()
        start = self.rng.integers(-spread, spread + 1, self.shape) if self.rng.random() < 0.2 else None
        if table:
            steps = self.rng.integers(0, spread + 2, (channels, levels or 12))
            threshold = np.cumsum(steps, 1) + self.rng.integers(-spread // 2 - 1, spread + 1, (channels, 1))
            self.add(CountingNeuron(*self.follow("spike"), threshold, None, 0, levels, limit, start))
            return
        bits = int(self.rng.integers(0, 6))
        threshold = self.rng.integers(-spread // 2 - 1, spread + 1, channels) << bits
        threshold += self.rng.integers(0, 1 << bits, channels)
        step = self.rng.integers(1, (spread + 2) << bits, channels)
        self.add(CountingNeuron(*self.follow("spike"), threshold, step, bits, levels, limit, start))

    def _guess_spread(self) -> int:
        """Roughly how far membranes stray from 0."""
        synapses = next((node for node in reversed(self.nodes) if isinstance(node, Convolution | Dense)), None)
        if synapses is None:
            return 1
        first = sum(isinstance(node, CountingNeuron) for node in self.nodes) == 0
        weight = synapses.weight.astype(np.float64)
        return max(1, int(np.sqrt((weight**2).sum() / len(weight)) * (70 if first else 0.7)))

    def finish(self, classes: int) -> SpikingGraph:
        """The graph with a classifier of wide weights."""
        self.add_dense(classes, wide=True)
        self.add(Readout(*self.follow("readout"), self.rng.integers(-50, 50, classes), 0.5))
        return SpikingGraph(tuple(self.nodes), self.t_max)


def fits(graph: SpikingGraph, steps: int) -> bool:
    """Whether 32 bits hold every sum, as they do in nearly all random graphs."""
    try:
        return bool(bound_ranges(graph, steps))
    except GraphError as error:
        if "32 bits" not in str(error):
            raise
        return False


@st.composite
def graphs(draw: st.DrawFn) -> tuple[SpikingGraph, np.ndarray]:
    """A graph and a few images for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    t_max = draw(st.sampled_from([1, 2, 5, 9, 9, 20, 70]))
    limit = draw(st.sampled_from([1, 1, 2, 5]))
    builder = GraphBuilder(rng, t_max)
    channels, height, width = draw(st.integers(1, 3)), draw(st.integers(2, 9)), draw(st.integers(1, 9))
    builder.add_input(channels, height, width)
    builder.add_convolution(draw(st.sampled_from([3, 17, 65, 1])), wide=True)
    builder.add_neuron(draw(st.sampled_from([4, None, 1])), limit, draw(st.booleans()))
    for kind in draw(
        st.lists(
            st.sampled_from(["conv", "conv", "dense", "wide", "max", "avg", "plain", "add", "concatenate"]),
            min_size=1,
            max_size=4,
        )
    ):
        if kind in ("max", "avg") and len(builder.shape) == 3:
            builder.add_pool(kind, limit)
        elif kind in ("add", "concatenate") and len(builder.shape) == 3:
            builder.add_branches(kind, draw(st.booleans()))
            if draw(st.integers(0, 3)):  # else the next node takes what the branches give
                builder.add_neuron(draw(st.sampled_from([None, 3])), limit, draw(st.booleans()))
        elif kind == "dense" or len(builder.shape) == 1:
            _add_layer(draw, builder, "dense", limit)
        elif kind in ("conv", "wide", "plain"):
            _add_layer(draw, builder, kind, limit)
    graph = builder.finish(draw(st.integers(1, 11)))
    images = rng.integers(0, 256, (draw(st.integers(1, 3)), channels, height, width), dtype=np.uint8)
    return graph, images


def _add_layer(draw: st.DrawFn, builder: GraphBuilder, kind: str, limit: int) -> None:
    out = draw(st.sampled_from([10, 66, 64, 129, 63, 2, 257, 1]))
    if kind == "dense":
        builder.add_dense(out, draw(st.booleans()))
    else:
        builder.add_convolution(out, kind == "wide")
    if kind == "plain" and len(builder.shape) == 3:  # sums pooled before the neurons
        builder.add_pool("avg", limit)
    if kind == "plain" and draw(st.booleans()) and len(builder.shape) == 3:
        builder.add(Flatten(*builder.follow("flatten")))
    builder.add_neuron(draw(st.sampled_from([None, 3, 1])), limit, draw(st.booleans()))
