"""What a simulation leaves behind."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Simulation:
    """A network over time. Every tensor is (time, batch, ...), on the CPU.

    Attributes:
        logits: (time, batch, classes), as read after each step. Integers ``V + bias`` of an integer classifier
            (``V_t + t * bias`` in a rate-coded graph), else the real logits.
        positive: spikes fired by each neuron layer and emitted by each max-pool tracker, int64 (time, batch).
        negative: negative spikes, likewise, as positive numbers.
        sops: synaptic operations of each layer after the encoder, the classifier included, int64 (time, batch).
        settled: whether every neuron agrees with its membrane, bool (time, batch).
        counts: the spike counts at the end, (batch, ...) by node; empty unless they were asked for.
    """

    logits: Tensor
    positive: dict[str, Tensor]
    negative: dict[str, Tensor]
    sops: dict[str, Tensor]
    settled: Tensor
    counts: dict[str, Tensor] = field(default_factory=dict)

    @property
    def predictions(self) -> Tensor:
        """The class with the largest logit, int64 (time, batch)."""
        return self.logits.argmax(-1)


@dataclass(frozen=True, eq=False)
class SpikeTotals:
    """What the spikes of a layer in one step amount to, in float64.

    Attributes:
        magnitude: spikes of either sign, summed over channels, (batch, height, width) or (batch,).
        positive: how many positive spikes, (batch,).
        negative: how many negative ones, (batch,).
    """

    magnitude: Tensor
    positive: Tensor
    negative: Tensor


class Recorder:
    """Collects one batch step by step; images that have settled keep their last logits and fire no more."""

    def __init__(self, steps: int, batch: int, classes: int, spiking: list[str], layers: list[str]) -> None:
        shape = (steps, batch)
        self.logits = torch.zeros(*shape, classes, dtype=torch.float64)
        self.settled = torch.zeros(shape, dtype=torch.bool)
        self.positive = {name: torch.zeros(shape, dtype=torch.int64) for name in spiking}
        self.negative = {name: torch.zeros(shape, dtype=torch.int64) for name in spiking}
        self.sops = {name: torch.zeros(shape, dtype=torch.int64) for name in layers}

    def record_spikes(self, step: int, images: Tensor, name: str, spikes: Tensor, signed: bool = True) -> Tensor:
        """Note the spikes (batch, channels, ...) of a node, which may be negative if ``signed``; gives their magnitudes
        summed over channels, in float64."""
        if signed:
            totals = add_spikes_up(spikes)
            self.record_totals(step, images, name, totals)
            return totals.magnitude
        magnitude = spikes.sum(1).to(torch.float64)
        self.positive[name][step, images] = _sum_places(magnitude).to("cpu", torch.int64)
        return magnitude

    def record_totals(self, step: int, images: Tensor, name: str, totals: SpikeTotals) -> None:
        """Note what the spikes of a node amount to."""
        self.positive[name][step, images] = totals.positive.to("cpu", torch.int64)
        self.negative[name][step, images] = totals.negative.to("cpu", torch.int64)

    def record_work(self, step: int, images: Tensor, layer: str, magnitude: Tensor, synapses: Tensor) -> None:
        """Add the synapses that spikes of these magnitudes (batch, height, width) or (batch,) reached."""
        self.sops[layer][step, images] += _sum_places(magnitude * synapses).to("cpu", torch.int64)

    def record_answer(self, step: int, images: Tensor, logits: Tensor, settled: Tensor) -> None:
        """Note the logits and who has settled, for this step and all after it until the next note."""
        self.logits[step:, images] = logits.to("cpu", torch.float64)
        self.settled[step:, images] = settled.cpu()

    def finish(self, counts: dict[str, Tensor]) -> Simulation:
        """The record of the batch."""
        return Simulation(self.logits, self.positive, self.negative, self.sops, self.settled, counts)


def add_spikes_up(spikes: Tensor) -> SpikeTotals:
    """What spikes (batch, channels, ...) amount to."""
    magnitude = sum_magnitudes(spikes)
    total, net = _sum_places(magnitude), _sum_places(spikes.sum(1).to(torch.float64))
    return SpikeTotals(magnitude, (total + net) / 2, (total - net) / 2)


def _sum_places(numbers: Tensor) -> Tensor:
    """(batch, height, width) or (batch,), to (batch,)."""
    return numbers.flatten(1).sum(1) if numbers.dim() > 1 else numbers


def sum_magnitudes(spikes: Tensor) -> Tensor:
    """|spikes| (batch, channels, ...) summed over channels, float64 (batch, ...)."""
    return spikes.abs().sum(1).to(torch.float64)


def join(parts: list[Simulation]) -> Simulation:
    """Simulations of consecutive batches as one."""

    def along(tensors: list[Tensor], axis: int) -> Tensor:
        return torch.cat(tensors, axis)

    def by_name(field_name: str, axis: int) -> dict[str, Tensor]:
        first: dict[str, Tensor] = getattr(parts[0], field_name)
        return {name: along([getattr(part, field_name)[name] for part in parts], axis) for name in first}

    return Simulation(
        along([part.logits for part in parts], 1),
        by_name("positive", 1),
        by_name("negative", 1),
        by_name("sops", 1),
        along([part.settled for part in parts], 1),
        by_name("counts", 0),
    )
