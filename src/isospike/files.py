"""Whole files or none: writing to a temporary name, then renaming."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as serialise_tensors

from isospike.errors import FileError

_LARGEST_FILE = 1 << 33
_LONGEST_HEADER = 16 << 20


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never a part.

    Raises:
        FileError: the disk is full, or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise FileError(
            f"{path}: cannot be written ({error.strerror or error}); the earlier file, if any, is untouched: "
            "free some space or choose another folder"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Write text, whole or not at all (see :func:`write_bytes`)."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all (see :func:`write_bytes`)."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_bytes(path: Path) -> bytes:
    """Read a file whole.

    Raises:
        FileError: the file is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileError: the file is not there, or holds something else.
    """
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise FileError(f"{path}: expected JSON, but it does not parse ({error}); write it anew") from error
    if not isinstance(content, dict):
        raise FileError(f"{path}: expected a JSON object, got {type(content).__name__}; write it anew")
    return content


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write named arrays and text metadata as safetensors, whole or not at all."""
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    write_bytes(path, serialise_tensors(contiguous, metadata=dict(metadata)))


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read named arrays and text metadata from a safetensors file. Nothing in it can execute code.

    Raises:
        FileError: the file is not there, is truncated, is not safetensors, or is too large to be one of ours.
    """
    _check_size(path)
    content = read_bytes(path)
    try:
        tensors = parse_tensors(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"{path}: expected a whole safetensors file of {len(content)} bytes, got one that does not parse "
            f"({error}); it may be truncated: write it anew"
        ) from error
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return tensors, dict(header.get("__metadata__") or {})


def _check_size(path: Path) -> None:
    """Refuse what would take memory before it turns out to be no safetensors file; leave the rest to its reader."""
    if not path.exists() or path.is_dir():
        return
    if not path.is_file():
        raise FileError(f"{path}: cannot be read: expected a file, got a device or a pipe")
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    if size > _LARGEST_FILE or header > _LONGEST_HEADER:
        raise FileError(
            f"{path}: expected a safetensors file of at most {_LARGEST_FILE} bytes with a header of at most "
            f"{_LONGEST_HEADER}, got one of {size} that does not parse (its header would have {header}): write it anew"
        )
