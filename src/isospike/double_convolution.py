"""Convolutions in float64, for what has to be exact."""

import torch
from torch import Tensor
from torch.nn import functional

Pair = tuple[int, int]

_PATCHES = 2**20
"""Numbers that the patches of some images take at once: 8 MiB stay in the cache until they are multiplied."""


def convolve(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Tensor:
    """What ``torch.nn.functional.conv2d`` gives, in less time in float64 on a CPU.

    PyTorch has no kernel of oneDNN there and unfolds image by image; here the patches of several images are one matrix,
    in the order in which maps with their channels innermost lie in memory.

    Arguments:
        images: (batch, inside, height, width).
        weight: (outside, inside / groups, height, width), of the same type, on the same device; see
            :func:`lay_weight_out`.
        bias: (outside,), or None.
        stride, padding, dilation: (height, width).
        groups: of channels.

    Returns:
        (batch, outside, rows, columns).
    """
    if images.dtype is not torch.float64 or images.device.type != "cpu" or groups != 1 or images.numel() == 0:
        return functional.conv2d(images, weight, bias, stride, padding, dilation, groups)
    outside, inside, high, wide = weight.shape
    padded = images.permute(0, 2, 3, 1)
    if any(padding):
        padded = functional.pad(padded, (0, 0, padding[1], padding[1], padding[0], padding[0]))
    rows = (padded.shape[1] - dilation[0] * (high - 1) - 1) // stride[0] + 1
    columns = (padded.shape[2] - dilation[1] * (wide - 1) - 1) // stride[1] + 1
    matrix = weight.permute(0, 2, 3, 1).reshape(outside, -1).t()
    out = images.new_empty(len(images), rows, columns, outside)
    at_once = max(1, _PATCHES // (rows * columns * len(matrix)))
    for some, result in zip(padded.split(at_once), out.split(at_once), strict=True):
        seen = [
            some[:, y : y + (rows - 1) * stride[0] + 1 : stride[0], x : x + (columns - 1) * stride[1] + 1 : stride[1]]
            for y in range(0, high * dilation[0], dilation[0])
            for x in range(0, wide * dilation[1], dilation[1])
        ]
        patches = torch.cat(seen, 3).reshape(-1, high * wide * inside)
        torch.mm(patches, matrix, out=result.view(-1, outside))
    if bias is not None:
        out += bias
    return out.permute(0, 3, 1, 2)


def lay_weight_out(weight: Tensor) -> Tensor:
    """The same weights in the order in memory that spares :func:`convolve` a copy of them at each call."""
    return weight.contiguous(memory_format=torch.channels_last) if weight.dtype is torch.float64 else weight
