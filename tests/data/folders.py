"""Small datasets in the hub's layout, written for one test."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def draw_digits(n: int, seed: int = 0) -> np.ndarray:
    """Noise in the shape of MNIST, uint8 (n, 28, 28)."""
    return np.random.default_rng(seed).integers(0, 256, (n, 28, 28), dtype=np.uint8)


def write_parquet(
    path: Path,
    images: list[bytes | None],
    labels: list[Any],
    columns: tuple[str, str] = ("image", "label"),
    classes: int | None = 10,
) -> None:
    label = datasets.Value("int64") if classes is None else datasets.ClassLabel(num_classes=classes)
    features = datasets.Features({columns[0]: datasets.Image(), columns[1]: label})
    rows = [None if image is None else {"bytes": image, "path": None} for image in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict({columns[0]: rows, columns[1]: labels}, features=features).to_parquet(str(path))


def write_mnist(folder: Path, n: int = 12) -> tuple[np.ndarray, list[int]]:
    """A folder that ``load("mnist", folder)`` takes: ``n`` images, of which the last third are for testing."""
    pixels, labels = draw_digits(n), [index % 10 for index in range(n)]
    cut = n - n // 3
    encoded: list[bytes | None] = [encode(image) for image in pixels]
    write_parquet(folder / "train-00000-of-00001.parquet", encoded[:cut], labels[:cut])
    write_parquet(folder / "test-00000-of-00001.parquet", encoded[cut:], labels[cut:])
    return pixels, labels


def write_image_folder(folder: Path, classes: int = 3, train: int = 12, test: int = 4, seed: int = 0) -> Path:
    """A folder in ImageNet's layout: JPEGs of many sizes, each class with a colour of its own."""
    draws = np.random.default_rng(seed)
    for split, number in (("train", train), ("val", test)):
        for label in range(classes):
            place = folder / split / f"n{1440764 + 100 * label:08d}"
            place.mkdir(parents=True)
            for index in range(number):
                height, width = draws.integers(30, 90, 2)
                pixels = draws.integers(0, 80, (height, width, 3), dtype=np.uint8)
                pixels[:, :, label % 3] += 150
                (place / f"{place.name}_{index}.JPEG").write_bytes(encode(pixels, "JPEG"))
    return folder
