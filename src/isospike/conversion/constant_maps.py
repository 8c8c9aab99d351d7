"""Linear nodes applied to one map of constants, in NumPy: integers stay exact integers."""

import numpy as np

from isospike.graph import AveragePool, Convolution, Dense
from isospike.graph.nodes import Pair


def apply_weights(node: Convolution | Dense, constant: np.ndarray) -> np.ndarray:
    """What synapses make of a map (channels, height, width) or features (features,), zero padding included."""
    carrier = np.int64 if constant.dtype.kind == "i" and node.weight.dtype.kind == "i" else np.float64
    weight, values = node.weight.astype(carrier), constant.astype(carrier)
    if isinstance(node, Dense):
        return weight @ values
    out, per_group, height, width = weight.shape
    padded = _pad(values, node.padding)
    rows = _count_windows(padded.shape[1], height, node.stride[0], node.dilation[0])
    columns = _count_windows(padded.shape[2], width, node.stride[1], node.dilation[1])
    result = np.zeros((out, rows, columns), dtype=carrier)
    grouped = weight.reshape(node.groups, out // node.groups, per_group, height, width)
    for row in range(height):
        for column in range(width):
            top, left = row * node.dilation[0], column * node.dilation[1]
            seen = padded[:, top :: node.stride[0], left :: node.stride[1]][:, :rows, :columns]
            parts = seen.reshape(node.groups, per_group, rows * columns)
            result += (grouped[..., row, column] @ parts).reshape(out, rows, columns)
    return result


def sum_windows(node: AveragePool, constant: np.ndarray) -> np.ndarray:
    """The sum over each window of a map (channels, height, width), zero padding included."""
    padded = _pad(constant, node.padding)
    rows, columns = (_count_windows(padded.shape[axis + 1], node.kernel[axis], node.stride[axis], 1) for axis in (0, 1))
    result = np.zeros((len(constant), rows, columns), dtype=constant.dtype)
    for row in range(node.kernel[0]):
        for column in range(node.kernel[1]):
            result += padded[:, row :: node.stride[0], column :: node.stride[1]][:, :rows, :columns]
    return result


def _pad(values: np.ndarray, padding: Pair) -> np.ndarray:
    return np.pad(values, ((0, 0), (padding[0], padding[0]), (padding[1], padding[1])))


def _count_windows(length: int, kernel: int, stride: int, dilation: int) -> int:
    return (length - dilation * (kernel - 1) - 1) // stride + 1
