"""Four small integers in a byte: how ternary weights are stored."""

from math import prod
from typing import Any

import numpy as np

from isospike.errors import GraphError

_LEAST = 4096  # smaller tensors stay as they are: there is next to nothing to save
_SHIFTS = np.array([0, 2, 4, 6], dtype=np.uint8)


def is_packable(array: np.ndarray) -> bool:
    """Whether an array is worth packing and can be: int8, each value one that two bits hold, -2 to 1."""
    return array.dtype == np.int8 and array.size >= _LEAST and int(array.min()) >= -2 and int(array.max()) <= 1


def pack(array: np.ndarray) -> np.ndarray:
    """Pack values of -2 to 1 as two's complement of two bits, the first in the lowest bits of a byte; C order.

    Args:
        array: int8, any shape.

    Returns:
        uint8 (ceil(size / 4),); bits past the end are 0.
    """
    fields = np.zeros(-(-array.size // 4) * 4, dtype=np.uint8)
    fields[: array.size] = array.reshape(-1).view(np.uint8) & 3
    packed: np.ndarray = np.bitwise_or.reduce(fields.reshape(-1, 4) << _SHIFTS, axis=1)
    return packed


def unpack(packed: np.ndarray, shape: Any) -> np.ndarray:
    """The int8 array of ``shape`` that :func:`pack` packed.

    Raises:
        GraphError: ``shape`` is no shape, or not one of so many bytes; bits past the end are set.
    """
    whole = isinstance(shape, list) and all(type(length) is int and length >= 1 for length in shape)
    if not whole or packed.dtype != np.uint8 or packed.shape != (-(-prod(shape) // 4),):
        raise GraphError(
            f"expected packed weights of shape {shape}, four in a byte, got {packed.dtype} {packed.shape}: convert the "
            "network anew"
        )
    fields = (packed[:, None] >> _SHIFTS).reshape(-1) & np.uint8(3)
    size = prod(shape)
    if fields[size:].any():
        raise GraphError("bits are set past the end of packed weights: the file is damaged; convert the network anew")
    return ((fields[:size] ^ 2).view(np.int8) - np.int8(2)).reshape(shape)
