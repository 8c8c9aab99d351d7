"""Datasets as tensors: where they come from, how they are loaded, and how they are augmented."""

from isospike.data.augmentation import Augmentation, augment, crop_centre
from isospike.data.images import Dataset, ImageSet
from isospike.data.loading import load
from isospike.data.noise import add_input_noise
from isospike.data.sources import SOURCES, Source

__all__ = [
    "SOURCES",
    "Augmentation",
    "Dataset",
    "ImageSet",
    "Source",
    "add_input_noise",
    "augment",
    "crop_centre",
    "load",
]
