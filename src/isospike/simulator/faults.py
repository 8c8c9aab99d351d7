"""What can go wrong between a neuron and its synapses."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """Spikes that get lost, each with the same probability and on its own.

    Numbers are drawn for the whole batch at each step, so that images that have stopped early change nothing for the
    others.

    Attributes:
        probability: of losing a spike.
        batch: images that began together.
        generator: on the CPU.
    """

    probability: float
    batch: int
    generator: torch.Generator

    def drop(self, spikes: Tensor, images: Tensor) -> Tensor:
        """The spikes (running images, ...) that arrive; ``images`` are their places in the batch.

        A neuron that fires several spikes in a step may lose some of them: one draw for each.
        """
        size = spikes.abs()
        lost = torch.zeros_like(size)
        for spike in range(int(size.max())):
            draws = torch.rand(self.batch, *spikes.shape[1:], generator=self.generator)[images].to(spikes.device)
            lost += ((draws < self.probability) & (size > spike)).to(lost.dtype)
        return spikes - lost * spikes.sign()
