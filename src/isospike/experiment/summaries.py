"""From simulations to logs, and from logs to the numbers of ``metrics.json``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isospike.errors import RecipeError
from isospike.graph import SpikingGraph
from isospike.metrics import RunLogs
from isospike.simulator import Simulation


@dataclass(frozen=True)
class Counting:
    """What counts as a spike and as an operation.

    Attributes:
        sops: "hidden", "scatter-gather" or "negative-spike" (see the recipe's ``simulate.sops``).
        count_encoder: whether the encoder's spikes count.
    """

    sops: str = "hidden"
    count_encoder: bool = False


def collect_logs(
    graph: SpikingGraph, simulations: Sequence[Simulation], labels: Tensor, batch_size: int, counting: Counting
) -> RunLogs:
    """The six logs of one or more simulations of the same images (one for each noise seed), batch by batch.

    ``spike_num`` counts |spikes| of layers 2 to the last hidden one; ``sop_num`` the synaptic operations of the same
    layers: the encoder's spikes but not its pixels, and not the classifier, unless ``counting`` says otherwise.

    Args:
        graph: what was simulated.
        simulations: what happened.
        labels: int64 (batch,).
        batch_size: images in each batch.
        counting: conventions.
    """
    right, magnitude, signed, work = [], [], [], []
    neurons = graph.neurons[0 if counting.count_encoder else 1 :]
    layers = graph.synapses[1:] if counting.sops == "negative-spike" else graph.synapses[1:-1]
    factor = _find_factor(graph) if counting.sops == "scatter-gather" else 1
    for simulation in simulations:
        nothing = torch.zeros_like(simulation.settled, dtype=torch.int64)
        positive = sum((simulation.positive[neuron.name] for neuron in neurons), nothing)
        negative = sum((simulation.negative[neuron.name] for neuron in neurons), nothing)
        sops = sum((simulation.sops[layer.name] for layer in layers), nothing) * factor
        right.append(_by_batch((simulation.predictions == labels).long(), batch_size))
        magnitude.append(_by_batch(positive + negative, batch_size))
        signed.append(_by_batch(positive - negative, batch_size))
        work.append(_by_batch(sops, batch_size))
    this_step, net = np.concatenate(magnitude), np.concatenate(signed)
    return RunLogs(
        steps=this_step.shape[1],
        batch_size=batch_size,
        images=len(labels) * len(simulations),
        accuracy=np.concatenate(right),
        spike_num=this_step.cumsum(1),
        spike_collect=net.cumsum(1),
        sop_num=np.concatenate(work).cumsum(1),
        abs_spike=this_step,
        sum_spike=net,
    )


def summarise_logs(logs: RunLogs) -> dict[str, Any]:
    """Accuracy (a fraction), spikes and SOPs (cumulative means per image), for each step."""
    return {
        "accuracy": logs.mean_per_image("accuracy"),
        "spikes_per_image": logs.mean_per_image("spike_num"),
        "sops_per_image": logs.mean_per_image("sop_num"),
    }


def summarise_seeds(simulations: Sequence[Simulation], labels: Tensor) -> dict[str, Any]:
    """Settled images (a fraction) for each step; with several seeds, also the standard deviation of accuracy."""
    settled = torch.stack([simulation.settled.double().mean(1) for simulation in simulations]).mean(0)
    section: dict[str, Any] = {"settled": settled.tolist()}
    if len(simulations) > 1:
        accuracies = torch.stack([(s.predictions == labels).double().mean(1) for s in simulations])
        section["accuracy_spread"] = accuracies.std(0).tolist()
    return section


def summarise_layers(graph: SpikingGraph, simulations: Sequence[Simulation]) -> list[dict[str, Any]]:
    """For each layer: neurons, and cumulative means per image of positive and negative spikes and of SOPs, over steps.

    The encoder's SOPs and the classifier's spikes are None: there are none.
    """

    def mean(tensors: list[Tensor]) -> list[float]:
        means: list[float] = torch.stack([t.double().mean(1) for t in tensors]).mean(0).cumsum(0).tolist()
        return means

    rows = []
    names = [neuron.name for neuron in graph.neurons]
    for position, synapses in enumerate(graph.synapses):
        neuron = names[position] if position < len(names) else None
        rows.append(
            {
                "name": synapses.name,
                "neurons": int(np.prod(graph.shapes[synapses.name])),
                "positive": mean([s.positive[neuron] for s in simulations]) if neuron else None,
                "negative": mean([s.negative[neuron] for s in simulations]) if neuron else None,
                "sops": mean([s.sops[synapses.name] for s in simulations]) if position else None,
            }
        )
    return rows


def _find_factor(graph: SpikingGraph) -> int:
    """2 N, N being the most levels of a hidden neuron."""
    levels = [neuron.levels for neuron in graph.neurons]
    if any(level is None for level in levels):
        raise RecipeError("simulate.sops: scatter-gather counts 2 N operations, and here N has no end: use hidden")
    return 2 * max(level for level in levels if level is not None)


def _by_batch(values: Tensor, batch_size: int) -> np.ndarray:
    """(time, images) to (batches, time), summed over each batch, float64."""
    return np.stack([part.sum(1).double().numpy() for part in values.split(batch_size, 1)])
