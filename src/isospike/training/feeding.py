"""What a training eats: each process's slice of each batch, from memory or from a stream."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from isospike.data import Images, ImageSet, ImageStream
from isospike.errors import DataError
from isospike.training.processes import own_slice
from isospike.training.pruning import Plan, Pruning


@dataclass(frozen=True)
class Batch:
    """A process's slice of a batch.

    Arguments:
        images: with their labels.
        weights: float32 (n,): what the loss of each counts for.
        mirrored: bool (n,): whether it is an image's turn to be flipped; None where images have no place in a set.
        places: int64 (n,): where each stands in its set; None likewise.
    """

    images: ImageSet
    weights: Tensor
    mirrored: Tensor | None = None
    places: Tensor | None = None


class ResidentFeed:
    """Images held on the device whole: each process takes its slice of each batch of a common order.

    Args:
        data: the images.
        batch_size: of all processes together.
        seed: of the order.
        accelerator: of this process.
        pruning: leaves images out; None takes all in each epoch.
    """

    def __init__(
        self, data: ImageSet, batch_size: int, seed: int, accelerator: Accelerator, pruning: Pruning | None = None
    ) -> None:
        self.data, self.batch_size, self.seed = data.to(accelerator.device), batch_size, seed
        self.own, self.pruning = own_slice(batch_size, accelerator), pruning
        sides = torch.randint(0, 2, (len(data),), generator=seed_from(torch.Generator(), seed))
        self.sides = sides.to(accelerator.device)

    def read(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch; an incomplete last one is dropped."""
        generator = seed_from(torch.Generator(), self.seed, epoch)
        plan, device = self._plan(epoch, generator), self.data.images.device
        order, weights, turns = plan.places.to(device), plan.weights.to(device), plan.turns.to(device) + epoch
        for start in range(0, len(self.data) - self.batch_size + 1, self.batch_size):
            own = slice(start + self.own.start, start + self.own.stop)
            places = order[own]
            mirrored = (self.sides[places] + turns[own]) % 2 == 1
            yield Batch(self.data.select(places), weights[own], mirrored, places)

    def _plan(self, epoch: int, generator: torch.Generator) -> Plan:
        if self.pruning is not None and self.pruning.is_due(epoch):
            return self.pruning.plan(len(self.data), generator)
        order = torch.randperm(len(self.data), generator=generator)
        return Plan(order, torch.ones(len(order)), torch.zeros_like(order))


class StreamFeed:
    """Images that are read while they are needed, each process its own share of them.

    A process whose share ends early begins it again, so that all take the same number of steps.

    Args:
        data: the images.
        batch_size: of all processes together.
        seed: of the order and of how images are framed.
        accelerator: of this process.
    """

    def __init__(self, data: ImageStream, batch_size: int, seed: int, accelerator: Accelerator) -> None:
        self.data, self.batch_size, self.seed, self.accelerator = data, batch_size, seed, accelerator
        self.own = len(own_slice(batch_size, accelerator))

    def read(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch; an incomplete last one is dropped.

        Raises:
            DataError: a share without a single whole batch, or images that do not decode.
        """
        steps = len(self.data) // self.batch_size
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        while steps:
            before = steps
            for batch in self.data.read(self.own, rank=rank, processes=processes, epoch=epoch, seed=self.seed):
                if steps and len(batch) == self.own:
                    steps -= 1
                    device = self.accelerator.device
                    yield Batch(batch.to(device), torch.ones(self.own, device=device))
                if not steps:
                    return
            if steps == before:
                raise DataError(
                    f"{self.data.rows.place}: the share of process {rank} has fewer than {self.own} images: lower "
                    "train.batch_size"
                )


Feed = ResidentFeed | StreamFeed


def make_feed(
    data: Images, batch_size: int, seed: int, accelerator: Accelerator, pruning: Pruning | None = None
) -> Feed:
    """The feed for these images; ``pruning`` is of those that are held in memory."""
    if isinstance(data, ImageStream):
        return StreamFeed(data, batch_size, seed, accelerator)
    return ResidentFeed(data, batch_size, seed, accelerator, pruning)


def seed_from(generator: torch.Generator, *key: int) -> torch.Generator:
    """Seed from several numbers, so that neighbouring seeds, epochs and processes share nothing."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return generator.manual_seed(int(state >> np.uint64(1)))
