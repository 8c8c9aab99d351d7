"""Each process's share of labelled images, for everything that only looks at them."""

from collections.abc import Iterator

from accelerate import Accelerator

from isospike.data import Images, ImageSet, ImageStream
from isospike.training.processes import own_slice


def share_images(data: Images, batch_size: int, most: int, accelerator: Accelerator) -> Iterator[tuple[int, ImageSet]]:
    """This process's share of the batches, as many at a time as ``most`` images hold, with the place of the first.

    All images are covered once. The batches of a set are those of a single process, and whole batches go to one
    process; of a stream each process reads its own shards, so that batches hold other images there.
    """
    at_once = max(1, most // batch_size)
    if isinstance(data, ImageStream):
        rank, processes = accelerator.process_index, accelerator.num_processes
        chunks = data.read(at_once * batch_size, rank=rank, processes=processes)
        for number, chunk in enumerate(chunks):
            yield (number * processes + rank) * at_once * batch_size, chunk
        return
    own = own_slice(-(-len(data) // batch_size), accelerator)
    for first in range(own.start, own.stop, at_once):
        start, stop = first * batch_size, min(min(first + at_once, own.stop) * batch_size, len(data))
        yield start, ImageSet(data.images[start:stop], data.labels[start:stop])


def count_share(data: Images, batch_size: int, accelerator: Accelerator) -> int:
    """How many images are in this process's share; of a stream, about how many."""
    if isinstance(data, ImageStream):
        return len(own_slice(len(data), accelerator))
    own = own_slice(-(-len(data) // batch_size), accelerator)
    return min(own.stop * batch_size, len(data)) - min(own.start * batch_size, len(data))
