"""Datasets as tensors: where they come from, how they are loaded, and how they are augmented."""

from isospike.data.augmentation import Augmentation, augment, crop_centre
from isospike.data.image_folders import open_stream
from isospike.data.images import Dataset, ImageSet
from isospike.data.loading import load, load_folder
from isospike.data.noise import add_gaussian_noise, add_input_noise, add_salt_and_pepper
from isospike.data.resizing import Framing
from isospike.data.sources import SOURCES, Source
from isospike.data.streams import Images, ImageStream, hold_images, limit_images

__all__ = [
    "SOURCES",
    "Augmentation",
    "Dataset",
    "Framing",
    "ImageSet",
    "ImageStream",
    "Images",
    "Source",
    "add_gaussian_noise",
    "add_input_noise",
    "add_salt_and_pepper",
    "augment",
    "crop_centre",
    "hold_images",
    "limit_images",
    "load",
    "load_folder",
    "open_stream",
]
