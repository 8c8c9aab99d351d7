"""Decoded images kept under the user's cache folder, until the files they came from change."""

import hashlib
import json
import logging
import os
import zlib
from pathlib import Path

import numpy as np
import torch

from isospike.data.images import ImageSet
from isospike.data.sources import Source
from isospike.errors import DataError, FileError
from isospike.files import read_tensors, write_tensors

LAYOUT = "1"
"""Changes whenever what is kept, or how it is decoded, changes."""

_log = logging.getLogger(__name__)


def read_images(name: str, source: Source, files: tuple[Path, ...]) -> tuple[ImageSet, ImageSet] | None:
    """What was kept of these files: training and test images; None where nothing was, or it is stale or damaged."""
    path = _find_place(name, files)
    if path is None or not path.is_file():
        return None
    try:
        arrays, metadata = read_tensors(path)
    except FileError:
        return None
    if metadata.get("files") != _describe_files(files) or metadata.get("checksum") != _checksum(arrays):
        return None
    try:
        train, test = (
            ImageSet(torch.from_numpy(arrays[f"{split}.images"]), torch.from_numpy(arrays[f"{split}.labels"]))
            for split in ("train", "test")
        )
    except (KeyError, DataError):
        return None
    return (train, test) if train.shape == test.shape == source.shape else None


def write_images(name: str, files: tuple[Path, ...], train: ImageSet, test: ImageSet) -> None:
    """Keep decoded images. A full disk is logged, not raised: nothing depends on what is kept."""
    path = _find_place(name, files)
    if path is None:
        return
    arrays = {
        f"{split}.{part}": tensor.numpy()
        for split, images in (("train", train), ("test", test))
        for part, tensor in (("images", images.images), ("labels", images.labels))
    }
    try:
        write_tensors(path, arrays, {"files": _describe_files(files), "checksum": _checksum(arrays)})
    except FileError as error:
        _log.warning("the decoded images are not kept: %s", error)


def _find_place(name: str, files: tuple[Path, ...]) -> Path | None:
    if os.environ.get("ISOSPIKE_CACHE", "").lower() == "off":
        return None
    home = os.environ.get("XDG_CACHE_HOME")
    folder = Path(home) if home else Path("~/.cache").expanduser()
    # One place for each set of paths: files that change in place replace what was kept of them.
    key = hashlib.sha256(json.dumps([str(file.resolve()) for file in files]).encode()).hexdigest()[:16]
    return folder / "isospike" / f"{name}-{key}.safetensors"


def _describe_files(files: tuple[Path, ...]) -> str:
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return json.dumps([LAYOUT, facts])


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    total = 0
    for name in sorted(arrays):
        total = zlib.crc32(np.ascontiguousarray(arrays[name]).data, total)
    return f"{total:08x}"
