"""Random rate-coded graphs of integers, small and awkward."""

import numpy as np
from hypothesis import strategies as st

from isospike.engine.rate_ranges import bound_rate_ranges
from isospike.errors import GraphError
from isospike.graph import Affine, Convolution, Dense, IntegrateAndFire, MaxPool, SpikingGraph
from tests.engine.graphs import GraphBuilder


class RateBuilder(GraphBuilder):
    """Adds random nodes of a rate-coded graph one after another."""

    def add_bias(self) -> None:
        """A constant current for the synapses just added."""
        node = self.nodes[-1]
        if isinstance(node, Convolution | Dense):
            spread = self._guess_spread()
            bias = self.rng.integers(-spread, spread + 1, len(node.weight))
            self.nodes[-1] = type(node)(**{**vars(node), "bias": bias})

    def add_affine(self) -> None:
        """Integer gains, negative ones among them."""
        channels = self.shape[0]
        bias = self.rng.integers(-9, 10, channels) if self.rng.random() < 0.6 else None
        self.add(Affine(*self.follow("affine"), self.rng.integers(-6, 7, channels), bias))

    def add_neurons(self, signed: bool, silenced: bool) -> None:
        """Neurons that fire now and then."""
        channels, spread = self.shape[0], self._guess_spread()
        threshold = self.rng.integers(1, spread + 2, channels)
        initial = self.rng.integers(-spread, spread + 1, channels)
        lower = np.minimum(self.rng.integers(-spread, spread // 2 + 1, channels), initial) if signed else None
        residual = self.rng.integers(-spread, spread + 1, channels) if silenced else None
        self.add(IntegrateAndFire(*self.follow("neuron"), threshold, initial, lower, residual))

    def finish_rates(self, classes: int, tau: int) -> SpikingGraph:
        """The graph with a classifier."""
        graph = self.finish(classes)
        return SpikingGraph(graph.nodes, graph.t_max, tau)


def fits_rates(graph: SpikingGraph, steps: int) -> bool:
    """Whether the engine's integers hold every sum."""
    try:
        return bool(bound_rate_ranges(graph, steps))
    except GraphError as error:
        if "32 bits" not in str(error):
            raise
        return False


@st.composite
def rate_graphs(draw: st.DrawFn) -> tuple[SpikingGraph, np.ndarray]:
    """A rate-coded graph and a few images for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    builder = RateBuilder(rng, draw(st.sampled_from([1, 2, 5, 9, 20, 70])))
    tau = draw(st.sampled_from([0, 0, 1, 3, 66]))
    signed = draw(st.booleans())
    channels, height, width = draw(st.integers(1, 3)), draw(st.integers(2, 8)), draw(st.integers(1, 8))
    builder.add_input(channels, height, width)
    opening = draw(st.sampled_from(["conv", "conv", "avg", "affine", "branches", "none"]))
    if opening == "avg":
        builder.add_pool("avg", 1)
    elif opening == "affine":
        builder.add_affine()
    elif opening == "branches":
        builder.add_branches("add", wide=True)
    if opening != "none":
        builder.add_convolution(draw(st.sampled_from([3, 17, 65, 1])), wide=True)
        builder.add_bias()
    builder.add_neurons(signed, bool(tau))
    kinds = ["conv", "conv", "dense", "wide", "max", "avg", "plain", "add", "concatenate", "affine"]
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4)):
        _add(draw, builder, kind, signed, bool(tau))
    graph = builder.finish_rates(draw(st.integers(1, 11)), tau)
    images = rng.integers(0, 256, (draw(st.integers(1, 3)), channels, height, width), dtype=np.uint8)
    return graph, images


def _add(draw: st.DrawFn, builder: RateBuilder, kind: str, signed: bool, silenced: bool) -> None:
    flat = len(builder.shape) == 1
    if kind in ("max", "avg") and not flat:
        builder.add_pool(kind, draw(st.sampled_from([1, 3])))
        return
    if kind == "affine":
        builder.add_affine()
    elif kind in ("add", "concatenate") and not flat:
        builder.add_branches(kind, draw(st.booleans()))
    elif kind == "dense" or flat:
        builder.add_dense(draw(st.sampled_from([10, 66, 64, 129, 2, 1])), draw(st.booleans()))
        builder.add_bias()
    else:
        builder.add_convolution(draw(st.sampled_from([10, 66, 64, 63, 2, 1])), kind == "wide")
        builder.add_bias()
        if kind == "plain":
            builder.add_pool("avg", 1)
    if isinstance(builder.nodes[-1], MaxPool) or draw(st.integers(0, 3)):
        builder.add_neurons(signed and draw(st.booleans()), silenced and draw(st.booleans()))
