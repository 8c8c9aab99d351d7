"""The linear nodes as PyTorch operations."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from isospike.errors import SimulationError
from isospike.graph import AveragePool, Convolution, Dense, Flatten, Node
from isospike.simulator.arithmetic import to_tensor

Linear = Callable[[Tensor], Tensor]


def make_linear(node: Node, dtype: torch.dtype, device: torch.device) -> Linear:
    """What a linear node does to spikes (batch, ...), as a function.

    With int64 the products run in float64, which is exact because :func:`choose_dtype` has bounded them.

    Raises:
        SimulationError: the node is not linear.
    """
    carrier = torch.float64 if dtype is torch.int64 else dtype
    operation = _make_operation(node, carrier, device)
    if carrier is dtype:
        return operation
    return lambda spikes: operation(spikes.to(carrier)).to(dtype)


def _make_operation(node: Node, dtype: torch.dtype, device: torch.device) -> Linear:
    if isinstance(node, Flatten):
        return lambda x: x.flatten(1)
    if isinstance(node, AveragePool):
        kernel, stride, padding = node.kernel, node.stride, node.padding
        return lambda x: functional.avg_pool2d(x, kernel, stride, padding, divisor_override=1)
    if isinstance(node, Dense):
        weight = to_tensor(node.weight, dtype, device)
        return lambda x: functional.linear(x, weight)
    if isinstance(node, Convolution):
        weight = to_tensor(node.weight, dtype, device)
        stride, padding, dilation, groups = node.stride, node.padding, node.dilation, node.groups
        return lambda x: functional.conv2d(x, weight, None, stride, padding, dilation, groups)
    raise SimulationError(f"{node.name}: a {type(node).__name__} is not linear")
