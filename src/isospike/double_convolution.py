"""Convolutions in float64, for what has to be exact."""

import torch
from torch import Tensor
from torch.nn import functional

from isospike.engine.native_module import choose_isa, is_available, require_native

Pair = tuple[int, int]

_PATCHES = 2**20
"""Numbers that the patches of some images take at once: 8 MiB stay in the cache until they are multiplied."""
_FEW = 0.2
"""The share of a signal that is not zero below which adding weights spike by spike takes half the time or less."""
_NARROW = 8
"""Channels out, below which there is nothing to gain."""


def convolve(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    *,
    spikes: bool = True,
) -> Tensor:
    """What ``torch.nn.functional.conv2d`` gives, in less time in float64 on a CPU.

    PyTorch has no kernel of oneDNN there and unfolds image by image; here the patches of several images are one matrix,
    in the order in which maps with their channels innermost lie in memory. Of signals that are mostly zeros, as spikes
    are, compiled code adds a row of weights for each number that is none: the same sums in another order, so that
    rounding may differ where weights are floats.

    Arguments:
        images: (batch, inside, height, width).
        weight: (outside, inside / groups, height, width), of the same type, on the same device; see
            :func:`lay_weight_out`.
        bias: (outside,), or None.
        stride, padding, dilation: (height, width).
        groups: of channels.
        spikes: whether signals may go that way, spike by spike.

    Returns:
        (batch, outside, rows, columns).

    Raises:
        SimulationError: ``ISOSPIKE_ISA`` names an instruction set that is not there.
    """
    if images.dtype is not torch.float64 or images.device.type != "cpu" or groups != 1 or images.numel() == 0:
        return functional.conv2d(images, weight, bias, stride, padding, dilation, groups)
    signal, taps = images.permute(0, 2, 3, 1), weight.permute(2, 3, 1, 0).contiguous()
    isa = choose_isa() if spikes and is_available() else None
    if isa is not None and _is_sparse(images, len(weight)):
        out = _scatter(signal, taps, stride, padding, dilation, isa)
    else:
        out = _multiply(signal, taps, stride, padding, dilation)
    if bias is not None:
        out += bias
    return out.permute(0, 3, 1, 2)


def lay_weight_out(weight: Tensor) -> Tensor:
    """The same weights in the order in memory that spares :func:`convolve` a copy of them at each call."""
    if weight.dtype is not torch.float64:
        return weight
    return weight.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)


def _is_sparse(images: Tensor, outside: int) -> bool:
    """Whether spike by spike is faster. There, a thread takes whole images, and vectors run over the channels out."""
    busy = min(1.0, len(images) / torch.get_num_threads())
    return outside >= _NARROW and int(images.count_nonzero()) < _FEW * busy * images.numel()


def _multiply(signal: Tensor, taps: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """(batch, height, width, inside) by (height, width, inside, outside): patches as one matrix."""
    high, wide, inside, outside = taps.shape
    if any(padding):
        signal = functional.pad(signal, (0, 0, padding[1], padding[1], padding[0], padding[0]))
    rows = (signal.shape[1] - dilation[0] * (high - 1) - 1) // stride[0] + 1
    columns = (signal.shape[2] - dilation[1] * (wide - 1) - 1) // stride[1] + 1
    matrix = taps.view(-1, outside)
    out = signal.new_empty(len(signal), rows, columns, outside)
    at_once = max(1, _PATCHES // (rows * columns * len(matrix)))
    for some, result in zip(signal.split(at_once), out.split(at_once), strict=True):
        seen = [
            some[:, y : y + (rows - 1) * stride[0] + 1 : stride[0], x : x + (columns - 1) * stride[1] + 1 : stride[1]]
            for y in range(0, high * dilation[0], dilation[0])
            for x in range(0, wide * dilation[1], dilation[1])
        ]
        patches = torch.cat(seen, 3).reshape(-1, high * wide * inside)
        torch.mm(patches, matrix, out=result.view(-1, outside))
    return out


def _scatter(signal: Tensor, taps: Tensor, stride: Pair, padding: Pair, dilation: Pair, isa: str) -> Tensor:
    """The same, spike by spike."""
    arrays = (signal.contiguous().numpy(), taps.numpy())
    out = require_native().scatter(*arrays, stride, padding, dilation, torch.get_num_threads(), isa)
    return torch.from_numpy(out)
