"""The gradient of convolutions' weights, by matrix products where these are faster."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from math import gcd
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode

_LARGEST_MAP = 100
"""Places of an output map up to which the products are faster; measured on maps of 4 to 576 places."""
_FEWEST_CHANNELS = 64
"""Channels from which they are."""
_GROUPS = 8
"""Groups of images whose gradients are summed in float32: enough work for all cores, little to sum."""

Pair = tuple[int, int]


def choose_gradients(device: str, compiled: bool) -> AbstractContextManager[object]:
    """What the forward pass of a training should run in, for its backward pass to be fast.

    Arguments:
        device: where the network is, "cpu" or "cuda".
        compiled: whether it runs through ``torch.compile``, which chooses its own operations.

    Returns:
        A :class:`MatrixGradients` on a processor with matrix units for bfloat16 (AMX), else a context without effect.
        It may be entered many times.
    """
    return MatrixGradients() if device == "cpu" and not compiled and _has_matrix_units() else nullcontext()


class MatrixGradients(TorchFunctionMode):
    """While active, convolutions that autocast runs in bfloat16 get the gradient of their weights by matrix products,
    where their maps are small and their channels many.

    PyTorch's kernel takes up to six and a half times as long there (``benchmarks/weight_gradient.py``). Every other
    convolution stays as it is.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is conv2d and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16:
            return _convolve(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@cache
def _has_matrix_units() -> bool:
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))


def _convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """What ``torch.nn.functional.conv2d`` gives, with a gradient of one kind or the other."""
    plain = groups == 1 and _pair(dilation) == (1, 1) and input.ndim == 4
    low = input.device.type == "cpu" and {input.dtype, weight.dtype} <= {torch.float32, torch.bfloat16}
    if plain and low and not isinstance(padding, str):  # low: what autocast runs in bfloat16
        steps, margins = _pair(stride), _pair(padding)
        if fits(input, weight, steps, margins):
            out: Tensor = _Convolution.apply(input, weight, bias, steps, margins)
            return out
    return conv2d(input, weight, bias, stride, padding, dilation, groups)


class _Convolution(torch.autograd.Function):
    """A convolution in bfloat16, of one group and without dilation."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        low, kernel = images.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(low, kernel)
        ctx.stride, ctx.padding = stride, padding
        ctx.types = images.dtype, weight.dtype, None if bias is None else bias.dtype
        with torch.autocast("cpu", enabled=False):
            return conv2d(low, kernel, None if bias is None else bias.bfloat16(), stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors
        of_images = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_images = conv2d_input(images.shape, weight, slope, ctx.stride, ctx.padding).to(ctx.types[0])
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(images, slope, _pair(weight.shape[2:]), ctx.stride, ctx.padding)
            of_weight = of_weight.to(ctx.types[1])
        if ctx.needs_input_grad[2]:
            of_bias = slope.sum((0, 2, 3), dtype=torch.float32).to(ctx.types[2])
        return of_images, of_weight, of_bias, None, None


def fits(images: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> bool:
    """Whether a convolution's map is small enough and its channels are many enough for the products to be faster.

    Arguments:
        images: what comes in, (n, inside, height, width).
        weight: (outside, inside, height, width).
        stride, padding: (height, width).
    """
    height, width = (
        (size + 2 * margin - kernel) // step + 1
        for size, kernel, step, margin in zip(images.shape[2:], weight.shape[2:], stride, padding, strict=True)
    )
    return 0 < height * width <= _LARGEST_MAP and min(weight.shape[:2]) >= _FEWEST_CHANNELS


def weight_gradient(images: Tensor, slope: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of a convolution's weights: one matrix product for each place of the kernel.

    Arguments:
        images: what came in, (n, inside, height, width), best with the channels innermost in memory.
        slope: the gradient of what went out, (n, outside, rows, columns).
        kernel, stride, padding: of the convolution, (height, width); one group, no dilation.

    Returns:
        float32 (outside, inside, height, width), the channels innermost in memory; products are in the type of
        ``images``, sums over groups of images in float32.
    """
    n, outside, rows, columns = slope.shape
    inside = images.shape[1]
    groups = gcd(n, _GROUPS)
    (high, wide), (down, right) = kernel, padding
    padded = pad(images.permute(0, 2, 3, 1), (0, 0, right, right, down, down))
    slopes = slope.permute(0, 2, 3, 1).reshape(groups, -1, outside).transpose(1, 2)
    parts = []
    for y in range(high):
        for x in range(wide):
            seen = padded[:, y :: stride[0], x :: stride[1]][:, :rows, :columns]
            product = torch.bmm(slopes, seen.reshape(groups, -1, inside))
            parts.append(product.sum(0, dtype=torch.float32))
    return torch.stack(parts, 1).view(outside, high, wide, inside).permute(0, 3, 1, 2)


def _pair(value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    return value[0], value[-1]  # PyTorch takes one number in a tuple for both
