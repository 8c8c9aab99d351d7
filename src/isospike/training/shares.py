"""Each process's share of labelled images, for everything that only looks at them."""

from collections.abc import Iterator

from accelerate import Accelerator

from isospike.data import Images, ImageSet, ImageStream
from isospike.training.processes import own_slice

_READ_AT_ONCE = 2000
"""Images of a stream that are read together, at most; the noise on their pixels depends on it."""


def share_images(data: Images, batch_size: int, accelerator: Accelerator) -> Iterator[tuple[int, ImageSet]]:
    """This process's share of the batches, each with the place of its first image.

    All images are covered once. The batches of a set are those of a single process; of a stream each process reads its
    own shards, so that batches hold other images there.
    """
    if isinstance(data, ImageStream):
        rank, processes = accelerator.process_index, accelerator.num_processes
        at_once = max(1, _READ_AT_ONCE // batch_size) * batch_size
        for number, chunk in enumerate(data.read(at_once, rank=rank, processes=processes)):
            start = (number * processes + rank) * at_once
            for first, batch in _split(chunk, batch_size):
                yield start + first, batch
        return
    own = own_slice(-(-len(data) // batch_size), accelerator)
    start, stop = own.start * batch_size, own.stop * batch_size
    for first, batch in _split(ImageSet(data.images[start:stop], data.labels[start:stop]), batch_size):
        yield start + first, batch


def _split(images: ImageSet, batch_size: int) -> Iterator[tuple[int, ImageSet]]:
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        yield first, ImageSet(images.images[part], images.labels[part])


def count_share(data: Images, batch_size: int, accelerator: Accelerator) -> int:
    """How many images are in this process's share; of a stream, about how many."""
    if isinstance(data, ImageStream):
        return len(own_slice(len(data), accelerator))
    own = own_slice(-(-len(data) // batch_size), accelerator)
    return min(own.stop * batch_size, len(data)) - min(own.start * batch_size, len(data))
