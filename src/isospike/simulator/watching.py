"""One image through a network, with every neuron in view at every step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from isospike.graph import SpikingGraph
from isospike.simulator.checks import check_propagation
from isospike.simulator.rate_loop import RateNetwork
from isospike.simulator.recording import Simulation
from isospike.simulator.time_loop import _check_images, _check_steps, _Network

Look = Callable[[int, dict[str, Tensor], dict[str, Tensor]], None]


def watch(
    graph: SpikingGraph, image: Tensor, steps: int | None, look: Look, *, propagation: str = "within-step"
) -> Simulation:
    """Simulate one image in the PyTorch time loop, and show potentials and counts after each step.

    Args:
        graph: a converted graph.
        image: such as the network takes, (1, channel, height, width).
        steps: time steps, at most the graph's T_max, which is the default.
        look: called with the step (from 0), the membrane potentials and the spike counts (positive minus negative) of
            each layer of neurons by name, both of the shape of the layer. Potentials of integrate-and-fire neurons are
            those after their reset; the steps before those that count (tau) are not shown.
        propagation: as for :func:`simulate`.

    Returns:
        What happened.

    Raises:
        SimulationError: an image of the wrong shape or type, more steps than T_max, an unknown propagation.
    """
    steps = _check_steps(graph, steps)
    _check_images(graph, image)
    kind = _WatchedRates if graph.is_rate_coded else _WatchedCounts
    network = kind(graph, "auto", torch.device("cpu"), check_propagation(propagation), 0.0)
    network.look = look
    with torch.inference_mode():
        return network.run(image, steps, False, False, torch.Generator())


class _WatchedCounts(_Network):
    look: Look

    def _advance(self, step: int, pixels: Tensor | None, state: Any, recorder: Any) -> tuple[Tensor, Tensor]:
        found = super()._advance(step, pixels, state, recorder)
        names = [node.name for node in self.graph.neurons]
        self.look(step, {name: state.sums[name][0] for name in names}, {name: state.counts[name][0] for name in names})
        return found


class _WatchedRates(RateNetwork):
    look: Look
    rehearsed = 0

    def _advance(self, step: int, state: Any, recorder: Any) -> None:
        super()._advance(step, state, recorder)
        if self.rehearsed < self.graph.tau:
            self.rehearsed += 1
            return
        membranes, counts = {}, {}
        for name, each in state.potentials.items():
            membranes[name] = each.membrane[0]
            counts[name] = each.hear(each.count)[0]
        self.look(step, membranes, counts)
