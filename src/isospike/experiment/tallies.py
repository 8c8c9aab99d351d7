"""What simulations came to, batch by batch, in whole numbers: small, and the same however the batches are shared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from isospike.graph import SpikingGraph
from isospike.metrics import list_working_layers
from isospike.simulator import Simulation
from isospike.training.processes import gather_rows


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the images of each batch. All tensors are int64, (batches, time) but for ``images``.

    Attributes:
        images: in each batch, (batches,).
        correct: images classified right after each step.
        settled: images that have settled.
        positive: spikes of each neuron layer and max-pool tracker at each step.
        negative: negative spikes, likewise, as positive numbers.
        sops: synaptic operations of each layer.
    """

    images: Tensor
    correct: Tensor
    settled: Tensor
    positive: dict[str, Tensor]
    negative: dict[str, Tensor]
    sops: dict[str, Tensor]

    @property
    def total(self) -> int:
        """The number of images."""
        return int(self.images.sum())


def tally(simulation: Simulation, labels: Tensor, batch_size: int) -> Tally:
    """Sum a simulation of one or more batches.

    Args:
        simulation: what happened.
        labels: int64 (images,).
        batch_size: images in each batch; the last may be smaller.
    """

    def sum_batches(values: Tensor) -> Tensor:
        return torch.stack([part.sum(1, dtype=torch.int64) for part in values.split(batch_size, 1)])

    def sum_each(groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: sum_batches(values) for name, values in groups.items()}

    return Tally(
        torch.tensor([len(part) for part in labels.split(batch_size)]),
        sum_batches(simulation.predictions == labels),
        sum_batches(simulation.settled),
        sum_each(simulation.positive),
        sum_each(simulation.negative),
        sum_each(simulation.sops),
    )


def start_tally(graph: SpikingGraph, steps: int) -> Tally:
    """The tally of no batch at all."""
    nothing = torch.zeros(0, steps, dtype=torch.int64)
    spiking = {node.name: nothing for node in graph.spiking}
    layers = dict.fromkeys(list_working_layers(graph), nothing)
    return Tally(nothing[:, 0], nothing, nothing, spiking, spiking, layers)


def join_tallies(parts: Sequence[Tally]) -> Tally:
    """The tallies of consecutive batches as one."""

    def join_each(groups: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([group[name] for group in groups]) for name in groups[0]}

    return Tally(
        torch.cat([part.images for part in parts]),
        torch.cat([part.correct for part in parts]),
        torch.cat([part.settled for part in parts]),
        join_each([part.positive for part in parts]),
        join_each([part.negative for part in parts]),
        join_each([part.sops for part in parts]),
    )


def cut_tally(whole: Tally, steps: int) -> Tally:
    """The first ``steps`` time steps of a tally."""

    def cut_each(group: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: series[:, :steps] for name, series in group.items()}

    return Tally(
        whole.images,
        whole.correct[:, :steps],
        whole.settled[:, :steps],
        cut_each(whole.positive),
        cut_each(whole.negative),
        cut_each(whole.sops),
    )


def gather_tallies(accelerator: Accelerator, own: Tally) -> Tally:
    """The tallies of all processes, in their order, on every process."""
    if accelerator.num_processes == 1:
        return own
    groups = (own.positive, own.negative, own.sops)
    names = [sorted(group) for group in groups]  # one order for all processes
    series = [group[name] for group, known in zip(groups, names, strict=True) for name in known]
    images = own.images[:, None].expand_as(own.correct)
    gathered = gather_rows(accelerator, torch.stack([images, own.correct, own.settled, *series], 1)).unbind(1)
    rest = iter(gathered[3:])
    positive, negative, sops = ({name: next(rest) for name in known} for known in names)
    return Tally(gathered[0][:, 0], gathered[1], gathered[2], positive, negative, sops)
