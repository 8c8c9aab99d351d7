"""What simulations came to, batch by batch, in whole numbers: small, and the same however the batches are shared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from isospike.graph import SpikingGraph
from isospike.metrics import list_working_layers
from isospike.simulator import Simulation
from isospike.training.processes import gather_rows

_PLAIN = ("images", "correct", "settled", "changed")


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the images of each batch. All tensors are int64, (batches, time) but for ``images`` and ``changed``.

    Attributes:
        images: in each batch, (batches,).
        correct: images classified right after each step.
        settled: images that have settled.
        changed: images that settled with other logits than they have after the last step of all, (batches,): none, or
            early exit would not be exact.
        positive: spikes of each neuron layer and max-pool tracker at each step.
        negative: negative spikes, likewise, as positive numbers.
        sops: synaptic operations of each layer.
    """

    images: Tensor
    correct: Tensor
    settled: Tensor
    changed: Tensor
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
        sum_batches(find_changed_by_early_exit(simulation)[None])[:, 0],
        sum_each(simulation.positive),
        sum_each(simulation.negative),
        sum_each(simulation.sops),
    )


def start_tally(graph: SpikingGraph, steps: int) -> Tally:
    """The tally of no batch at all."""
    nothing = torch.zeros(0, steps, dtype=torch.int64)
    spiking = {node.name: nothing for node in graph.spiking}
    layers = dict.fromkeys(list_working_layers(graph), nothing)
    return Tally(nothing.sum(1), nothing, nothing, nothing.sum(1), spiking, spiking, layers)


def join_tallies(parts: Sequence[Tally]) -> Tally:
    """The tallies of consecutive batches as one."""

    def join_each(groups: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([group[name] for group in groups]) for name in groups[0]}

    return Tally(
        torch.cat([part.images for part in parts]),
        torch.cat([part.correct for part in parts]),
        torch.cat([part.settled for part in parts]),
        torch.cat([part.changed for part in parts]),
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
        whole.changed,
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
    images, changed = (each[:, None].expand_as(own.correct) for each in (own.images, own.changed))
    rows = torch.stack([images, changed, own.correct, own.settled, *series], 1)
    images, changed, correct, settled, *gathered = gather_rows(accelerator, rows).unbind(1)
    rest = iter(gathered)
    positive, negative, sops = ({name: next(rest) for name in known} for known in names)
    return Tally(images[:, 0], correct, settled, changed[:, 0], positive, negative, sops)


def write_tally(tally: Tally) -> dict[str, np.ndarray]:
    """A tally as named arrays."""
    arrays = {name: getattr(tally, name).numpy() for name in _PLAIN}
    for kind in ("positive", "negative", "sops"):
        arrays |= {f"{kind}/{name}": series.numpy() for name, series in getattr(tally, kind).items()}
    return arrays


def read_tally(arrays: Mapping[str, np.ndarray], graph: SpikingGraph, steps: int) -> Tally:
    """The tally that :func:`write_tally` wrote.

    Raises:
        ValueError: arrays of another graph, or of other steps.
    """
    expected = write_tally(start_tally(graph, steps))
    batches = len(arrays.get("images", ()))
    for name, blank in expected.items():
        if name not in arrays or arrays[name].shape != (batches, *blank.shape[1:]) or arrays[name].dtype != np.int64:
            raise ValueError(f"{name}: not of {batches} batches of this graph")
    tensors = {name: torch.from_numpy(arrays[name].copy()) for name in expected}

    def pick(kind: str) -> dict[str, Tensor]:
        return {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}

    images, correct, settled, changed = (tensors[name] for name in _PLAIN)
    return Tally(images, correct, settled, changed, pick("positive/"), pick("negative/"), pick("sops/"))


def find_changed_by_early_exit(simulation: Simulation) -> Tensor:
    """Whether images settled with other logits than those of the last step, bool (batch,)."""
    settled = simulation.settled
    first = settled.to(torch.uint8).argmax(0)
    left = simulation.logits[first, torch.arange(settled.shape[1], device=first.device)]
    return (left != simulation.logits[-1]).any(1) & settled[-1]
