"""Loading a dataset by its name: from a folder, from the hub, or from scikit-learn."""

from pathlib import Path

import numpy as np
import torch

from isospike.data import cache
from isospike.data.decoding import decode_split
from isospike.data.hub import open_hub
from isospike.data.images import Dataset, ImageSet
from isospike.data.sources import Source, find_source
from isospike.data.tables import Tables, open_folder
from isospike.errors import DataError

DIGITS_TEST = 360
DIGITS_SEED = 0


def load(name: str, folder: Path | None = None) -> Dataset:
    """Load a dataset whole into memory, as uint8 pixels.

    What was decoded from a folder or from the hub is kept under ``~/.cache/isospike`` (or
    ``$XDG_CACHE_HOME/isospike``) until its files change; ``ISOSPIKE_CACHE=off`` switches that off.

    Arguments:
        name: a key of :data:`isospike.data.SOURCES`.
        folder: parquet files laid out as on the Hugging Face hub; None downloads from the hub, or uses an earlier
            download. ``digits`` comes with scikit-learn and takes no folder.

    Returns:
        Training and test images of shape ``SOURCES[name].shape``.

    Raises:
        DataError: an unknown name; a dataset that cannot be reached; a folder without the right parquet files, or
            with images or labels that this dataset does not have.
    """
    source = find_source(name)
    if source.shape is None:
        raise DataError(
            f"dataset {name!r}: its images are of many sizes and too many for memory; expected a dataset that fits: "
            "open this one as a stream with isospike.data.open_stream"
        )
    if source.hub is None:
        return _load_digits(name, source, folder)
    tables = open_hub(name, source) if folder is None else open_folder(name, source, folder)
    return Dataset(name, *_decode(name, source, tables, str(folder or source.hub)), source.classes)


def load_folder(folder: Path, shape: tuple[int, int, int], classes: int) -> Dataset:
    """Load a folder of parquet files of the user's own whole into memory, as uint8 pixels.

    Files are assigned to splits by their names (train; test, or else validation), and have a column of encoded images
    (``image`` or ``img``) and a column of integer labels (``label``, ``fine_label`` or ``labels``).

    Arguments:
        folder: of parquet files.
        shape: (channels, height, width) of every image.
        classes: labels are 0 to ``classes - 1``.

    Raises:
        DataError: a folder without the right parquet files, or with other images or labels.
    """
    source = Source(None, None, "image", "label", shape, classes)
    tables = open_folder(str(folder), source, folder)
    return Dataset(folder.name, *_decode(f"folder{classes}", source, tables, str(folder)), classes)


def _decode(name: str, source: Source, tables: Tables, place: str) -> tuple[ImageSet, ImageSet]:
    """Training and test images, as they were kept or decoded now."""
    kept = cache.read_images(name, source, tables.files)
    if kept is None:
        kept = (
            decode_split(tables.train(), source, f"{place}: train"),
            decode_split(tables.test(), source, f"{place}: {source.test_split}"),
        )
        cache.write_images(name, tables.files, *kept)
    return kept


def _load_digits(name: str, source: Source, folder: Path | None) -> Dataset:
    """The 1,797 digits of scikit-learn: 8x8 pixels of 0 to 16, here round(v * 255 / 16); a fixed shuffled split."""
    if folder is not None:
        raise DataError(
            f"dataset {name!r}: got the folder {folder}, expected none, for it comes with scikit-learn: drop --data"
        )
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * 255 / 16).astype(np.uint8)[:, None]
    images = ImageSet(torch.from_numpy(pixels), torch.from_numpy(bunch.target.astype(np.int64)))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(DIGITS_SEED))
    train, test = images.select(order[:-DIGITS_TEST]), images.select(order[-DIGITS_TEST:])
    return Dataset(name, train, test, source.classes)
