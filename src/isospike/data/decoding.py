"""Encoded images (PNG, WebP, JPEG) as one uint8 tensor, each checked against what its dataset promises."""

import io
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from isospike.data.images import ImageSet
from isospike.data.resizing import FORMATS
from isospike.data.sources import Source
from isospike.errors import DataError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label", "labels")
MODES = {1: "L", 3: "RGB"}


def decode_split(tables: Iterable[Any], source: Source, place: str) -> ImageSet:
    """Decode all images of one split.

    Arguments:
        tables: Arrow tables with a column of encoded images (bytes, or the hub's struct of bytes and path) and a
            column of integer labels. Other usual names of the two columns are accepted.
        source: the dataset that they belong to.
        place: names the split in errors.

    Raises:
        DataError: a column is missing, an image does not decode or has another shape, or a label is not a class.
    """
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    done = 0
    for table in tables:
        _check_classes(table, source, place)
        encoded = _find_column(table, source.image_column, IMAGE_COLUMNS, place)
        classes = _find_column(table, source.label_column, LABEL_COLUMNS, place)
        images.append(_decode_images(_take_bytes(encoded, place), source, place, done))
        labels.append(_check_labels(classes, source, place, done))
        done += table.num_rows
    if not images:
        raise DataError(f"{place}: got no images, expected at least one: check the files")
    return ImageSet(torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels)))


def _find_column(table: Any, expected: str, alternatives: tuple[str, ...], place: str) -> Any:
    for column in (expected, *alternatives):
        if column in table.column_names:
            return table.column(column)
    names = " or ".join(dict.fromkeys((expected, *alternatives)))
    raise DataError(
        f"{place}: got the columns {', '.join(table.column_names)}; expected one called {names}: rename it, or choose "
        "the dataset that these files hold"
    )


def _check_classes(table: Any, source: Source, place: str) -> None:
    """Refuse another dataset of the same shape, where the files name their classes."""
    described = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    features = described.get("info", {}).get("features", {})
    for column in (source.label_column, *LABEL_COLUMNS):
        names = features.get(column, {}).get("names")
        if column in table.column_names:
            if names is not None and len(names) != source.classes:
                raise DataError(
                    f"{place}: the column {column!r} has {len(names)} classes ({names[0]}, ...), expected "
                    f"{source.classes}: choose the dataset that these files hold"
                )
            return


def _take_bytes(column: Any, place: str) -> list[bytes | None]:
    rows = column.to_pylist()
    if rows and isinstance(rows[0], dict):
        rows = [row.get("bytes") if row is not None else None for row in rows]
    if any(row is not None and not isinstance(row, bytes) for row in rows):
        raise DataError(
            f"{place}: got an image column of {column.type}; expected encoded images (binary, or a struct with bytes): "
            "write it with the Image feature of datasets"
        )
    return rows


def _decode_images(rows: list[bytes | None], source: Source, place: str, start: int) -> np.ndarray:
    if source.shape is None:
        raise DataError(f"{place}: images of no fixed size; expected a dataset whose images are all alike")
    channels, height, width = source.shape
    pixels = np.empty((len(rows), height, width, channels), dtype=np.uint8)
    for index, row in enumerate(rows):
        try:
            image = Image.open(io.BytesIO(row or b""), formats=FORMATS)
            if (image.mode, image.size) != (MODES[channels], (width, height)):
                raise DataError(
                    f"{place}: image {start + index} is {image.height}x{image.width} {image.mode}, expected "
                    f"{height}x{width} {MODES[channels]}: choose the dataset that these files hold"
                )
            pixels[index] = np.asarray(image).reshape(height, width, channels)
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"{place}: image {start + index} ({len(row or b'')} bytes) does not decode, expected PNG, WebP or "
                "JPEG: copy the files anew"
            ) from error
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _check_labels(column: Any, source: Source, place: str, start: int) -> np.ndarray:
    labels: np.ndarray = column.to_numpy()
    if column.null_count or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{place}: got labels of {column.type} with {column.null_count} missing, expected integers from 0 to "
            f"{source.classes - 1}: choose another column or dataset"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= source.classes))
    if len(wrong):
        raise DataError(
            f"{place}: image {start + wrong[0]} has the label {labels[wrong[0]]}, expected 0 to {source.classes - 1}: "
            "choose the dataset that these files hold"
        )
    return labels.astype(np.int64)
