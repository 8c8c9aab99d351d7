"""The linear nodes as PyTorch operations."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from isospike.double_convolution import convolve, lay_weight_out
from isospike.errors import SimulationError
from isospike.graph import Add, AveragePool, Concatenate, Convolution, Dense, Flatten, Node
from isospike.simulator.arithmetic import per_channel, to_tensor

Linear = Callable[[Tensor], Tensor]
Joint = Callable[[Sequence[Tensor | None], Sequence[tuple[int, ...]]], Tensor]
"""From signals, None for zeros, and their shapes for one image, to what they give together."""


def make_linear(node: Node, dtype: torch.dtype, device: torch.device, *, spikes: bool = True) -> Linear:
    """What a linear node does to spikes (batch, ...), as a function; to other signals, where these are none.

    With int64 the products run in float64, which is exact because :func:`choose_dtype` has bounded them.

    Raises:
        SimulationError: the node is not linear.
    """
    carrier = torch.float64 if dtype is torch.int64 else dtype
    operation = _make_operation(node, carrier, device, spikes)
    if carrier is dtype:
        return operation
    return lambda signal: operation(signal.to(carrier)).to(dtype)


def _make_operation(node: Node, dtype: torch.dtype, device: torch.device, spikes: bool) -> Linear:
    if isinstance(node, Flatten):
        return lambda x: x.flatten(1)
    if isinstance(node, AveragePool):
        kernel, stride, padding = node.kernel, node.stride, node.padding
        return lambda x: functional.avg_pool2d(x, kernel, stride, padding, divisor_override=1)
    if isinstance(node, Dense):
        weight = to_tensor(node.weight, dtype, device)
        return lambda x: functional.linear(x, weight)
    if isinstance(node, Convolution):
        weight = lay_weight_out(to_tensor(node.weight, dtype, device))
        stride, padding, dilation, groups = node.stride, node.padding, node.dilation, node.groups
        return lambda x: convolve(x, weight, None, stride, padding, dilation, groups, spikes=spikes)
    raise SimulationError(f"{node.name}: a {type(node).__name__} is not linear")


def make_joint(node: Add | Concatenate, dtype: torch.dtype, device: torch.device) -> Joint:
    """What a node of several inputs does to signals (batch, ...); None stands for zeros, and not all are None."""
    if isinstance(node, Concatenate):
        return lambda signals, shapes: torch.cat(_fill(signals, shapes), 1)
    gains = None if node.gains is None else to_tensor(node.gains, dtype, device)

    def add_up(signals: Sequence[Tensor | None], _: Sequence[tuple[int, ...]]) -> Tensor:
        parts = []
        for place, signal in enumerate(signals):
            if signal is not None:
                parts.append(signal if gains is None else signal * per_channel(gains[place], signal.dim()))
        return sum(parts[1:], parts[0])

    return add_up


def _fill(signals: Sequence[Tensor | None], shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Zeros for what is None."""
    present = next(signal for signal in signals if signal is not None)
    return [
        present.new_zeros(len(present), *shape) if signal is None else signal
        for signal, shape in zip(signals, shapes, strict=True)
    ]
