"""Labelled images as two tensors, and a dataset as two sets of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from isospike.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels, whole in memory.

    Arguments:
        images: pixels, uint8 (n, channel, height, width), 0 to 255.
        labels: classes, int64 (n,), on the same device.

    Raises:
        DataError: a tensor of another type or shape, or two of different lengths.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                f"images: got {self.images.dtype} of shape {tuple(self.images.shape)}, expected torch.uint8 "
                "(n, channel, height, width); keep raw pixels and let the network scale them"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"labels: got {self.labels.dtype} of shape {tuple(self.labels.shape)}, expected torch.int64 of shape "
                f"({len(self.images)},), one for each image"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def first(self, n: int) -> "ImageSet":
        """The first ``n`` images (a view), or all of them where there are fewer."""
        if n < 0:
            raise DataError(f"first: got n = {n}, expected 0 or more images")
        return ImageSet(self.images[:n], self.labels[:n])

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same images on ``device``."""
        return ImageSet(self.images.to(device), self.labels.to(device))

    def split(self, held_out: int, seed: int) -> tuple["ImageSet", "ImageSet"]:
        """Two sets without overlap: all but ``held_out`` images, and these, drawn at random.

        The draw depends on ``seed`` and on the number of images alone.

        Raises:
            DataError: fewer images than ``held_out``.
        """
        if not 0 <= held_out <= len(self):
            raise DataError(f"split: got held_out = {held_out}, expected 0 to {len(self)}, the number of images")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).to(self.images.device)
        held, rest = order[:held_out].sort().values, order[held_out:].sort().values
        return self.select(rest), self.select(held)

    def select(self, index: Tensor) -> "ImageSet":
        """The images at ``index``, int64 (m,), in that order."""
        return ImageSet(self.images.index_select(0, index), self.labels.index_select(0, index))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to train on and images to test on, of ``classes`` classes.

    Raises:
        DataError: the two sets have images of different shapes.
    """

    name: str
    train: ImageSet
    test: ImageSet
    classes: int

    def __post_init__(self) -> None:
        if self.train.shape != self.test.shape:
            raise DataError(
                f"dataset {self.name!r}: training images of shape {self.train.shape}, test images of shape "
                f"{self.test.shape}; expected one shape"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return self.train.shape
