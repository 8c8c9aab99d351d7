"""From a simulation to the numbers of ``metrics.json``."""

from typing import Any

from torch import Tensor

from isospike.graph import SpikingGraph
from isospike.simulator import Simulation


def summarise_simulation(graph: SpikingGraph, simulation: Simulation, labels: Tensor) -> dict[str, Any]:
    """Accuracy and settled images (fractions), and spikes and SOPs (cumulative means per image), for each step.

    ``spikes_per_image`` counts |spikes| of layers 2 to the last hidden one; ``sops_per_image`` the synaptic operations
    of the same layers, so the encoder's spikes but not its pixels, and not the classifier.

    Args:
        graph: what was simulated.
        simulation: what happened.
        labels: int64 (batch,).
    """
    images = len(labels)
    right = (simulation.predictions == labels).sum(1).double()
    spikes = sum_spikes(graph, simulation).sum(1).cumsum(0).double()
    operations = sum_sops(graph, simulation).sum(1).cumsum(0).double()
    return {
        "accuracy": (right / images).tolist(),
        "spikes_per_image": (spikes / images).tolist(),
        "sops_per_image": (operations / images).tolist(),
        "settled": (simulation.settled.sum(1).double() / images).tolist(),
    }


def sum_spikes(graph: SpikingGraph, simulation: Simulation) -> Tensor:
    """|spikes| of layers 2 to the last hidden one, int64 (time, batch)."""
    total = simulation.settled.long() * 0
    for neuron in graph.neurons[1:]:
        total = total + simulation.positive[neuron.name] + simulation.negative[neuron.name]
    return total


def sum_sops(graph: SpikingGraph, simulation: Simulation) -> Tensor:
    """Synaptic operations of layers 2 to the last hidden one, int64 (time, batch)."""
    total = simulation.settled.long() * 0
    for node in graph.synapses[1:-1]:
        total = total + simulation.sops[node.name]
    return total
