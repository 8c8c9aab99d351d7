"""Random integer graphs whose branches meet: sums with gains, concatenations, starting potentials, minima."""

from dataclasses import replace

import numpy as np

from isospike.graph import Add, Concatenate, Convolution, CountingNeuron, MaxPool, Node, Readout, SpikingGraph
from tests.engine.graphs import GraphBuilder


class BranchBuilder(GraphBuilder):
    """A :class:`GraphBuilder` that can also join branches."""

    def join(self, kind: type[Node], names: tuple[str, ...], **values: object) -> None:
        """Append a node that takes several signals."""
        self.add(kind(f"{kind.__name__}{len(self.nodes)}", names, **values))

    def add_start(self) -> None:
        """Give the neurons just added potentials to begin with."""
        neuron = self.nodes[-1]
        assert isinstance(neuron, CountingNeuron)
        start = self.rng.integers(-3, 4, self.shape)
        self.nodes[-1] = replace(neuron, start=start)


def draw_branched_graph(seed: int) -> tuple[SpikingGraph, np.ndarray]:
    """A small residual network with everything that joins, and images for it."""
    rng = np.random.default_rng(seed)
    builder = BranchBuilder(rng, int(rng.choice([2, 6, 12])))
    limit = int(rng.choice([1, 2]))
    builder.add_input(2, 6, 5)
    builder.add_convolution(4, wide=True)
    builder.add_neuron(4, limit, table=False)
    builder.add_start()
    trunk = builder.nodes[-1].name
    channels = builder.shape[0]
    weight = builder.draw_weights((channels, channels, 3, 3), wide=False)
    builder.add(Convolution(*builder.follow("conv"), weight, padding=(1, 1)))
    gains = rng.integers(-5, 6, (3, channels))
    builder.join(Add, (builder.nodes[-1].name, trunk, trunk), gains=gains)
    builder.add_neuron(None if seed % 2 else 5, limit, table=bool(seed % 3 == 0))
    builder.join(Concatenate, (trunk, builder.nodes[-1].name))
    signs = rng.choice([-1, 1], builder.shape[0])
    builder.add(MaxPool(*builder.follow("max"), (2, 2), (2, 1), (1, 1), limit, signs))
    builder.add_convolution(7)
    builder.join(Add, (builder.nodes[-1].name,), gains=rng.integers(-2, 3, (1, builder.shape[0])))
    if seed % 2:
        builder.add_pool("avg", limit)
    builder.add_neuron(3, limit, table=False)
    pooled = builder.nodes[-1].name
    builder.add_dense(5)
    builder.add_neuron(3, limit, table=False)
    dense = builder.nodes[-1].name
    flat = next(node.name for node in builder.nodes if node.inputs == (pooled,))
    builder.join(Concatenate, (dense, flat))
    builder.add_dense(3, wide=True)
    builder.add(Readout(*builder.follow("readout"), rng.integers(-50, 50, 3), 0.5))
    graph = SpikingGraph(tuple(builder.nodes), builder.t_max)
    return graph, rng.integers(0, 256, (3, 2, 6, 5), dtype=np.uint8)
