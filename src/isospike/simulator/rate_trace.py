"""The spikes of one layer of a rate-coded graph, layer by layer instead of step by step."""

import torch
from torch import Tensor

from isospike.graph import IntegrateAndFire, MaxPool, SpikingGraph
from isospike.simulator.neurons import pool_counts
from isospike.simulator.rate_loop import RateNetwork


def trace_spikes(graph: SpikingGraph, images: Tensor, steps: int, name: str, trains: dict[str, Tensor]) -> Tensor:
    """The spikes of the neurons ``name``, int8 (time, batch, ...), spikes passing all layers within the step.

    Args:
        graph: rate-coded.
        images: such as the network takes.
        steps: time steps.
        name: of a layer of neurons.
        trains: the spikes of the layers before, by name; those of max-pool trackers are added.
    """
    with torch.inference_mode():
        return _Trace(graph, images, trains).trace(name, steps)


class _Trace:
    def __init__(self, graph: SpikingGraph, images: Tensor, trains: dict[str, Tensor]) -> None:
        self.network = RateNetwork(graph, "float32", torch.device("cpu"))
        self.graph, self.trains, self.batch = graph, trains, len(images)
        self.pixels = self.network.present(images)

    def trace(self, name: str, steps: int) -> Tensor:
        """The spikes of neurons or of a max-pool tracker."""
        node = self.graph[name]
        (source,) = node.inputs
        if isinstance(node, MaxPool):
            counts = torch.stack([self._give(source, step, steps) for step in range(steps)]).cumsum(0)
            pooled = torch.stack([pool_counts(count, node) for count in counts])
            return pooled.diff(dim=0, prepend=torch.zeros_like(pooled[:1])).to(torch.int8)
        rule = self.network.rules[name]
        state = rule.begin(self.batch, self.graph.shapes[name])
        spikes = [rule.fire(state, self._give(source, step, steps)).to(torch.int8) for step in range(steps)]
        return torch.stack(spikes)

    def _give(self, name: str, step: int, steps: int) -> Tensor:
        """What a node gives at a step."""
        if name in self.pixels:
            return self.pixels[name]
        node = self.graph[name]
        if isinstance(node, IntegrateAndFire | MaxPool):
            if name not in self.trains:
                self.trains[name] = self.trace(name, steps)
            return self.trains[name][step].to(self.network.dtype)
        return self.network.currents[name](*(self._give(source, step, steps) for source in node.inputs))
