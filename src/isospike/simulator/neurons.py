"""Neurons as pure step functions."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from isospike.errors import SimulationError
from isospike.graph import CountingNeuron, MaxPool
from isospike.simulator.arithmetic import per_channel, to_tensor

_EXACT_BITS = 52


@dataclass(frozen=True, eq=False)
class Thresholds:
    """A counting neuron's thresholds, ready to compare.

    Attributes:
        threshold: theta_1 or Theta, broadcastable; or the table (channels, levels).
        step: delta or Delta; None with a table.
        fraction_bits: None for float thresholds.
        levels: N; None for no end.
        dtype: in which counts are worked out.
    """

    threshold: Tensor
    step: Tensor | None
    fraction_bits: int | None
    levels: int | None
    dtype: torch.dtype


def make_thresholds(
    node: CountingNeuron, dimensions: int, dtype: torch.dtype, bits: int, device: torch.device
) -> Thresholds:
    """Prepare ``node`` for membranes of ``dimensions`` dimensions (the batch included) that need ``bits`` bits.

    Integer thresholds are compared in int64, or in float64 where that is exact: a quotient of integers below 2^52 never
    rounds up to the next integer.

    Raises:
        SimulationError: a table that does not rise from level to level.
    """
    if node.step is None and (node.threshold[:, 1:] < node.threshold[:, :-1]).any():
        raise SimulationError(
            f"{node.name}.threshold: expected a table that rises from level to level, got one that falls: convert it "
            "anew"
        )
    if node.fraction_bits is None:
        carrier = dtype
    elif dtype is torch.int64 or _count_bits(node, bits + node.fraction_bits) > _EXACT_BITS:
        carrier = torch.int64
    else:
        carrier = torch.float64
    threshold = to_tensor(node.threshold, carrier, device)
    if node.step is None:
        return Thresholds(threshold, None, node.fraction_bits, node.levels, carrier)
    step = per_channel(to_tensor(node.step, carrier, device), dimensions)
    return Thresholds(per_channel(threshold, dimensions), step, node.fraction_bits, node.levels, carrier)


def _count_bits(node: CountingNeuron, membrane_bits: int) -> int:
    """Bits of the largest difference between a membrane and a threshold, and of the step."""
    arrays = [node.threshold] if node.step is None else [node.threshold, node.step]
    largest = max(abs(int(end)) for array in arrays for end in (array.min(), array.max()))
    return max(membrane_bits, largest.bit_length()) + 1


def deserve_count(membrane: Tensor, thresholds: Thresholds) -> Tensor:
    """``n = clip(floor((V - threshold) / step) + 1, 0, levels)``, in the membrane's type.

    Where thresholds are integers the floor is exact (see :func:`make_thresholds`). A quotient of floats is rounded
    first, as the quantised ANN's is, so that one within rounding of a level counts as having reached it.

    Args:
        membrane: V, (batch, channels, ...).
        thresholds: from :func:`make_thresholds`.
    """
    v = membrane.to(thresholds.dtype)
    if thresholds.step is None:
        by_channel = v.transpose(0, 1)
        flat = by_channel.reshape(len(thresholds.threshold), -1).contiguous()
        count = torch.searchsorted(thresholds.threshold, flat, right=True).reshape(by_channel.shape).transpose(0, 1)
    else:
        if thresholds.fraction_bits:
            v = v * (1 << thresholds.fraction_bits)
        above = v - thresholds.threshold
        if above.is_floating_point():
            count = above.div_(thresholds.step).floor_().add_(1)  # some times faster than a floor division
        else:
            count = above.div_(thresholds.step, rounding_mode="floor").add_(1)
    return count.clamp_(0, thresholds.levels).to(membrane.dtype)


def fire(deserved: Tensor, count: Tensor, limit: int) -> Tensor:
    """The spikes of one step: ``clip(n - c, -limit, limit)``."""
    return (deserved - count).clamp_(-limit, limit)


def pool_counts(counts: Tensor, node: MaxPool) -> Tensor:
    """The largest count in each window, or the smallest where the node's sign is -1: what a max-pool tracker must have
    emitted."""
    carrier = torch.float64 if counts.dtype is torch.int64 else counts.dtype
    rising = counts.to(carrier)
    if node.signs is None:
        return functional.max_pool2d(rising, node.kernel, node.stride, node.padding).to(counts.dtype)
    signs = per_channel(to_tensor(node.signs, carrier, counts.device), counts.dim())
    pooled = signs * functional.max_pool2d(signs * rising, node.kernel, node.stride, node.padding)
    return pooled.to(counts.dtype)
