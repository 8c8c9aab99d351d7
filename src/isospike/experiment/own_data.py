"""Images for a network of the user's own: a dataset by its name, or a folder of the user's own."""

from pathlib import Path

from isospike.data import (
    SOURCES,
    Dataset,
    Framing,
    Images,
    ImageSet,
    crop_centre,
    limit_images,
    load,
    load_folder,
    open_stream,
)
from isospike.errors import DataError
from isospike.experiment.stages import Options

_ANY_SIZE = "imagenet"


def load_own_data(
    dataset: str | None, options: Options, shape: tuple[int, int, int], classes: int
) -> tuple[Images, Images]:
    """Training and test images, cropped to the centre where the network takes smaller squares.

    Args:
        dataset: one of the known datasets; None for a folder of the user's own: of parquet files, or with
            ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG`` of any size, which are resized and cropped as they are read.
        options: folder of the data, and limit.
        shape: (channel, height, width) that the network takes.
        classes: that it tells apart.

    Raises:
        DataError: no data, images of another shape, another number of classes.
    """
    if _is_of_any_size(dataset, options.data):
        size = shape[1]
        if shape != (3, size, size):
            raise DataError(f"--in-shape: images of many sizes become squares of three channels, got {shape}")
        framing = Framing(size, round(size * 8 / 7))
        train, test = open_stream(_ANY_SIZE, options.data, classes=classes, train=framing, test=framing)
        return train, limit_images(test, options.limit)
    return _load_resident(dataset, options, shape, classes)


def draw_images(images: Images, number: int, seed: int) -> ImageSet:
    """``number`` of the images, drawn by ``seed``, in memory; all where there are fewer."""
    if isinstance(images, ImageSet):
        return images.split(min(number, len(images)), seed)[1]
    return images.draw(number, seed)


def _is_of_any_size(dataset: str | None, folder: Path | None) -> bool:
    if dataset is not None:
        return dataset in SOURCES and SOURCES[dataset].shape is None
    place = None if folder is None else folder / "train"
    return place is not None and place.is_dir() and any(entry.is_dir() for entry in place.iterdir())


def _load_resident(
    dataset: str | None, options: Options, shape: tuple[int, int, int], classes: int
) -> tuple[Images, Images]:
    data = _open(dataset, options, shape, classes)
    cropped = shape[1] == shape[2] <= min(data.shape[1:])
    if data.classes != classes or data.shape[0] != shape[0] or not (data.shape == shape or cropped):
        raise DataError(
            f"{data.name}: {data.classes} classes of images {data.shape}, expected the {classes} classes and {shape} "
            "of the network: check --dataset and --in-shape"
        )
    if data.shape == shape:
        return data.train, limit_images(data.test, options.limit)
    train, test = (ImageSet(crop_centre(each.images, shape[1]), each.labels) for each in (data.train, data.test))
    return train, limit_images(test, options.limit)


def _open(dataset: str | None, options: Options, shape: tuple[int, int, int], classes: int) -> Dataset:
    if dataset is not None:
        return load(dataset, options.data)
    if options.data is None:
        raise DataError("data: expected images, got none: give --data DIR, or --dataset NAME for a known one")
    return load_folder(options.data, shape, classes)
