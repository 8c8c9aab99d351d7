"""Images that do not fit in memory: read, decoded and cropped while they are needed."""

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from isospike.data.images import ImageSet
from isospike.data.noise import add_input_noise
from isospike.data.resizing import Framing
from isospike.data.tables import describe
from isospike.errors import DataError

CHUNK = 16
"""Images that a worker hands over at a time: few enough for the small shared memory of containers."""
MOST_WORKERS = 8
BUFFER = 4096
"""Images that are shuffled among one another, where they come as a stream."""


@dataclass(frozen=True)
class Rows:
    """One split of a dataset on disk or on the hub, not yet decoded.

    Attributes:
        place: names it in errors.
        length: number of images.
        open: given the number of an epoch (None for the order on disk) and a seed, gives a streaming dataset of
            Hugging Face ``datasets`` with the columns ``image`` (bytes, a path, or a struct of both) and ``label``.
        spread: gives this many of the images, from all classes; None where only the first can be had.
    """

    place: str
    length: int
    open: Callable[[int | None, int], Any]
    spread: "Callable[[int], Rows] | None" = None

    def first(self, n: int) -> "Rows":
        """``n`` of the rows, at most all of them."""
        if self.spread is not None:
            return self.spread(n)

        def open_first(epoch: int | None, seed: int) -> Any:
            rows = self.open(None, seed).take(n)
            return rows if epoch is None else rows.shuffle(seed=mix_seeds(seed, epoch), buffer_size=BUFFER)

        return Rows(self.place, n, open_first)


def mix_seeds(seed: int, epoch: int) -> int:
    """One seed of two, below 2^32."""
    return (seed * 1_000_003 + epoch) % 2**32


@dataclass(frozen=True)
class ImageStream:
    """Labelled images that are read when they are needed, and can be read again.

    Attributes:
        rows: where they are.
        classes: labels are 0 to ``classes - 1``.
        framing: how an image of any size becomes a square one.
        workers: processes that decode; None for one a core, at most 8; 0 decodes in this process.
        noise: strength and seed of noise on the pixels; None for none.
    """

    rows: Rows
    classes: int
    framing: Framing
    workers: int | None = None
    noise: tuple[float, int] | None = None

    def __len__(self) -> int:
        return self.rows.length

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return 3, self.framing.size, self.framing.size

    def first(self, n: int) -> "ImageStream":
        """``n`` of the images, spread over a folder of them, or the first of a stream; all where there are fewer."""
        return self if n >= len(self) else replace(self, rows=self.rows.first(n))

    def add_noise(self, strength: float, seed: int) -> "ImageStream":
        """The same images with noise on their pixels (see :func:`add_input_noise`), drawn batch by batch."""
        return replace(self, noise=(strength, seed) if strength else None)

    def read(
        self, batch_size: int, *, rank: int = 0, processes: int = 1, epoch: int | None = None, seed: int = 0
    ) -> Iterator[ImageSet]:
        """One pass over the share of a process, in batches; the last one may be smaller.

        All shares together are all the images, each once. Their order depends on the number of workers.

        Args:
            batch_size: images in a batch.
            rank: of this process.
            processes: how many there are.
            epoch: for training: shuffled, and varied as the framing says; None for the order on disk.
            seed: of shuffling and framing.

        Raises:
            DataError: an image that does not decode, or a label that is no class.
        """
        from datasets.distributed import split_dataset_by_node

        rows = split_dataset_by_node(self.rows.open(epoch, seed), rank, processes)
        key = (seed, 0 if epoch is None else epoch + 1, rank)
        decoding = _Decoding(rows, self.framing, self.classes, self.rows.place, key, varied=epoch is not None)
        for number, batch in enumerate(_regroup(self._load(decoding), batch_size)):
            if self.noise is None:
                yield batch
            else:
                strength, start = self.noise
                place = start + (number * processes + rank) * batch_size
                yield ImageSet(add_input_noise(batch.images, strength, place), batch.labels)

    def draw(self, n: int, seed: int) -> ImageSet:
        """``n`` images drawn at random, in memory, framed as for testing; the same ones on every machine."""
        still = replace(self, framing=self.framing.hold_still(), workers=0)  # workers would change the order
        for batch in still.read(n, epoch=0, seed=seed):
            return batch
        raise DataError(f"{self.rows.place}: got no images, expected at least one: check the folder")

    def hold(self) -> ImageSet:
        """All of them in memory, in the order on disk: for a few."""
        for batch in self.read(max(len(self), 1)):
            return batch
        raise DataError(f"{self.rows.place}: got no images, expected at least one: check the folder")

    def _load(self, decoding: "_Decoding") -> Iterator[tuple[Tensor, Tensor]]:
        workers = count_cores() if self.workers is None else self.workers
        workers = min(workers, max(1, getattr(decoding.rows, "num_shards", 1))) if workers else 0
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            loader = DataLoader(decoding, batch_size=None, num_workers=workers)
            for chunk in loader:
                if isinstance(chunk, str):
                    raise DataError(chunk)
                yield chunk


def count_cores() -> int:
    """The processor cores that this process may use, at most 8."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class _Decoding(IterableDataset):
    """Decodes in the process that iterates, which takes its own shards; gives chunks, or what went wrong in words."""

    def __init__(
        self, rows: Any, framing: Framing, classes: int, place: str, key: tuple[int, ...], varied: bool
    ) -> None:
        self.rows, self.framing, self.classes, self.place, self.key = rows, framing, classes, place, key
        self.varied = varied

    def __iter__(self) -> Iterator[Any]:
        info = torch.utils.data.get_worker_info()
        draws = np.random.default_rng([*self.key, 0 if info is None else info.id]) if self.varied else None
        images: list[np.ndarray] = []
        labels: list[int] = []
        try:
            for row in self._read_rows():
                images.append(self._decode(row, draws))
                labels.append(self._check_label(row))
                if len(images) == CHUNK:
                    yield torch.from_numpy(np.stack(images)), torch.tensor(labels)
                    images, labels = [], []
            if images:
                yield torch.from_numpy(np.stack(images)), torch.tensor(labels)
        except DataError as error:  # the loader would make a page of it
            yield str(error)

    def _read_rows(self) -> Iterator[Any]:
        try:
            yield from self.rows
        except Exception as error:  # datasets, pyarrow and the hub's client have errors of their own
            raise DataError(f"{self.place}: cannot be read ({describe(error)}): copy the files anew") from error

    def _decode(self, row: Any, draws: np.random.Generator | None) -> np.ndarray:
        encoded = row["image"]
        if isinstance(encoded, dict):
            encoded = encoded.get("bytes") or encoded.get("path")
        if not isinstance(encoded, bytes | str):
            raise DataError(f"{self.place}: a row holds no image, expected encoded bytes: write the files anew")
        return self.framing.decode(encoded, self.place, draws)

    def _check_label(self, row: Any) -> int:
        label = row["label"]
        if not isinstance(label, int) or not 0 <= label < self.classes:
            raise DataError(
                f"{self.place}: a label is {label!r}, expected 0 to {self.classes - 1}: set data.classes to the number "
                "of classes"
            )
        return label


def _regroup(chunks: Iterator[tuple[Tensor, Tensor]], size: int) -> Iterator[ImageSet]:
    """Chunks of any length as batches of ``size``."""
    waiting: list[tuple[Tensor, Tensor]] = []
    count = 0
    for chunk in chunks:
        waiting.append(chunk)
        count += len(chunk[1])
        while count >= size:
            images, labels = (torch.cat([part[place] for part in waiting]) for place in (0, 1))
            yield ImageSet(images[:size], labels[:size])
            waiting, count = [(images[size:], labels[size:])], count - size
    if count:
        images, labels = (torch.cat([part[place] for part in waiting]) for place in (0, 1))
        yield ImageSet(images, labels)


Images = ImageSet | ImageStream
"""Labelled images, in memory or not."""


def hold_images(images: Images) -> ImageSet:
    """The images in memory, where they are not there already."""
    return images.hold() if isinstance(images, ImageStream) else images


def limit_images(images: Images, limit: int | None) -> Images:
    """The first ``limit`` images (of a folder of images: as many of all classes); all for None.

    Raises:
        DataError: there are fewer.
    """
    if limit is None:
        return images
    if limit > len(images):
        raise DataError(f"--limit: expected at most {len(images)}, the number of test images, got {limit}")
    return images.first(limit)
