"""From tallies to logs, and from logs to the numbers of ``metrics.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isospike.errors import RecipeError
from isospike.experiment.tallies import Tally
from isospike.graph import CountingNeuron, SpikingGraph
from isospike.metrics import RunLogs, list_encoders, list_encoding_layers, list_working_layers


@dataclass(frozen=True)
class Counting:
    """What counts as a spike and as an operation.

    Attributes:
        sops: "hidden", "scatter-gather" or "negative-spike" (see the recipe's ``simulate.sops``).
        count_encoder: whether the encoder's spikes count.
    """

    sops: str = "hidden"
    count_encoder: bool = False


def collect_logs(graph: SpikingGraph, tallies: Sequence[Tally], batch_size: int, counting: Counting) -> RunLogs:
    """The six logs of one or more simulations of the same images (one for each noise seed), batch by batch.

    ``spike_num`` counts |spikes| of layers 2 to the last hidden one; ``sop_num`` the synaptic operations of the same
    layers: the encoder's spikes but not its pixels, and not the classifier, unless ``counting`` says otherwise.

    Args:
        graph: what was simulated.
        tallies: what happened.
        batch_size: images in each batch.
        counting: conventions.
    """
    left_out = [] if counting.count_encoder else list_encoders(graph)
    neurons = [neuron.name for neuron in graph.neurons if neuron.name not in left_out]
    layers = list_working_layers(graph, classifier=counting.sops == "negative-spike")
    factor = _find_factor(graph) if counting.sops == "scatter-gather" else 1

    def add(each: Tally, groups: Sequence[Mapping[str, Tensor]], signs: Sequence[int], names: list[str]) -> Tensor:
        total = torch.zeros_like(each.correct)
        for group, sign in zip(groups, signs, strict=True):
            for name in names:
                total = total + sign * group[name]
        return total

    def join(parts: list[Tensor]) -> np.ndarray:
        return torch.cat(parts).double().numpy()

    this_step = join([add(each, (each.positive, each.negative), (1, 1), neurons) for each in tallies])
    net = join([add(each, (each.positive, each.negative), (1, -1), neurons) for each in tallies])
    work = join([factor * add(each, (each.sops,), (1,), layers) for each in tallies])
    return RunLogs(
        steps=this_step.shape[1],
        batch_size=batch_size,
        images=sum(each.total for each in tallies),
        accuracy=join([each.correct for each in tallies]),
        spike_num=this_step.cumsum(1),
        spike_collect=net.cumsum(1),
        sop_num=work.cumsum(1),
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


def summarise_seeds(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Settled images (a fraction) for each step; with several seeds, also the standard deviation of accuracy."""
    settled = torch.stack([_mean(each.settled, each) for each in tallies]).mean(0)
    section: dict[str, Any] = {"settled": settled.tolist()}
    if len(tallies) > 1:
        accuracies = torch.stack([_mean(each.correct, each) for each in tallies])
        section["accuracy_spread"] = accuracies.std(0).tolist()
    return section


def summarise_layers(graph: SpikingGraph, tallies: Sequence[Tally]) -> list[dict[str, Any]]:
    """For each layer: neurons, and cumulative means per image of positive and negative spikes and of SOPs, over steps.

    The SOPs of the encoder's layers and the classifier's spikes are None: there are none. Where branches meet, the
    neurons belong to the last of the layers that meet (the sum itself, if spikes reach it on a shortcut), and the
    others have none.
    """

    def mean(groups: list[Mapping[str, Tensor]], name: str) -> list[float]:
        each = zip(groups, tallies, strict=True)
        means: list[float] = torch.stack([_mean(group[name], of) for group, of in each]).mean(0).cumsum(0).tolist()
        return means

    rows = []
    owned = _find_neurons(graph)
    working = list_working_layers(graph)
    for layer in _list_layers(graph):
        neuron = owned.get(layer)
        rows.append(
            {
                "name": layer,
                "neurons": int(np.prod(graph.shapes[layer])),
                "positive": mean([each.positive for each in tallies], neuron) if neuron else None,
                "negative": mean([each.negative for each in tallies], neuron) if neuron else None,
                "sops": mean([each.sops for each in tallies], layer) if layer in working else None,
            }
        )
    return rows


def _mean(sums: Tensor, of: Tally) -> Tensor:
    """(batches, time) sums to (time,) means per image, float64."""
    return sums.sum(0).double() / of.total


def _list_layers(graph: SpikingGraph) -> list[str]:
    """The encoder's layers, and those that operations are counted for, in the order of the graph."""
    names = {*list_encoding_layers(graph), *list_working_layers(graph)}
    return [node.name for node in graph if node.name in names]


def _find_neurons(graph: SpikingGraph) -> dict[str, str]:
    """The neurons that each layer's current goes to, by the layer's name."""
    order = {name: place for place, name in enumerate(_list_layers(graph))}
    owned: dict[str, str] = {}
    for neuron in graph.neurons:
        waiting, found = list(neuron.inputs), []
        while waiting:
            name = waiting.pop()
            if name in order:
                found.append(name)
            elif graph[name] not in graph.spiking:
                waiting += graph[name].inputs
        if found:
            owned[max(found, key=order.__getitem__)] = neuron.name
    return owned


def _find_factor(graph: SpikingGraph) -> int:
    """2 N, N being the most levels of a hidden neuron."""
    levels = [neuron.levels if isinstance(neuron, CountingNeuron) else None for neuron in graph.neurons]
    if any(level is None for level in levels):
        raise RecipeError("simulate.sops: scatter-gather counts 2 N operations, and here N has no end: use hidden")
    return 2 * max(level for level in levels if level is not None)
