"""Fewer presentations of the images that a network answers well already."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from isospike.training.configuration import TrainingConfig
from isospike.training.processes import gather_sum


@dataclass(frozen=True)
class Plan:
    """The images of an epoch, in their order.

    Arguments:
        places: int64 (n,): where each stands in its set.
        weights: float32 (n,): what its loss counts for; 1 on the average.
        turns: int64 (n,): the pass, counted from 0 in each epoch, that it belongs to.
    """

    places: Tensor
    weights: Tensor
    turns: Tensor


class Pruning(nn.Module):
    """Remembers the loss of each image, and leaves easy images out of some passes.

    A pass over the images leaves out each whose last loss was below the mean with the probability ``prune_images``, and
    the loss of those easy ones that stay counts ``1 / (1 - prune_images)`` times what that of others does, so the
    gradient of a pass is expected to be that of all images. Passes are shorter so; an epoch keeps its number of steps,
    and goes on with the next pass.

    Args:
        images: how many there are.
        config: its ``prune_images``, ``prune_from`` and ``prune_until``.

    The losses are a buffer, so that a checkpoint takes them along; an image not seen yet has an infinite one.

    Source: InfoBatch (Qin et al., ICLR 2024), which makes epochs shorter instead, and takes an image's last loss where
    this takes its mean over an epoch's presentations.
    """

    losses: Tensor
    sums: Tensor
    times: Tensor

    def __init__(self, images: int, config: TrainingConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("losses", torch.full((images,), torch.inf))
        self.register_buffer("sums", torch.zeros(images), persistent=False)
        self.register_buffer("times", torch.zeros(images), persistent=False)

    def is_due(self, epoch: int) -> bool:
        """Whether this epoch (counted from 0) leaves images out."""
        return self.config.prune_from <= epoch / self.config.epochs < self.config.prune_until

    def plan(self, length: int, generator: torch.Generator) -> Plan:
        """Choose ``length`` images, pass after pass, by the losses of the epochs before; ``generator`` is the CPU's."""
        losses = self.losses.cpu()
        easy, kept_share = losses < losses[losses.isfinite()].mean(), 1 - self.config.prune_images
        passes: list[Tensor] = []
        while sum(map(len, passes)) < length:
            order = torch.randperm(len(losses), generator=generator)
            kept = ~easy[order] | (torch.rand(len(order), generator=generator) < kept_share)
            passes.append(order[kept])
        places = torch.cat(passes)[:length]
        turns = torch.cat([torch.full_like(order, turn) for turn, order in enumerate(passes)])[:length]
        weights = torch.where(easy[places], 1 / kept_share, 1.0)
        return Plan(places, weights / weights.mean(), turns)

    def record(self, places: Tensor, losses: Tensor) -> None:
        """Note the losses (n,) of the images at ``places`` (n,), on the device of this module."""
        self.sums.index_add_(0, places, losses.detach().float())
        self.times.index_add_(0, places, torch.ones_like(losses, dtype=torch.float32))

    def finish_epoch(self, accelerator: Accelerator) -> None:
        """Take what all processes have noted in an epoch as the losses of the images seen in it."""
        sums, times = gather_sum(accelerator, self.sums), gather_sum(accelerator, self.times)
        self.losses.copy_(torch.where(times > 0, sums / times.clamp(min=1), self.losses))
        self.sums.zero_()
        self.times.zero_()
