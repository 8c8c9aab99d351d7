"""What each ATen operation becomes: one small function per operation."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Input,
    MaxPool,
    Rectifier,
)
from isospike.graph.nodes import Pair
from isospike.networks.activations import LevelActivation
from isospike.networks.assembling import Assembly, Signal, spread_per_channel, to_array
from isospike.networks.layers import Pixels
from isospike.networks.remedies import GATES
from isospike.networks.weights import ChannelGain, QuantisedWeight

UNKNOWN = object()
"""A value that is neither constant nor made of the images alone, such as the batch size."""


@dataclass(frozen=True)
class Weight:
    """A quantised weight: what is stored, and its quantiser."""

    latent: Tensor
    quantiser: QuantisedWeight


Value = Signal | Weight | Tensor | ConversionError | tuple | object
"""What an operation gives: a signal, constants, or the error that using it raises."""


@dataclass(frozen=True)
class Call:
    """One operation: its node's name, its arguments by name, and the shape that it gives (without the batch)."""

    name: str
    operation: str
    arguments: dict[str, Any]
    shape: tuple[int, ...]
    assembly: Assembly
    leaves: list[nn.Module]

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]

    def refuse(self, what: str, remedy: str) -> ConversionError:
        """The error that this operation cannot be captured."""
        return ConversionError(f"{self.name}: cannot capture {what}: {remedy}")

    def signal(self, argument: str = "self") -> Signal:
        """An argument that comes from the images."""
        value = self.arguments[argument]
        if not isinstance(value, Signal):
            raise self.refuse(f"{self.operation} of something else than the images' signals", "check its arguments")
        return value

    def array(self, argument: str) -> np.ndarray | None:
        """A parameter as float64, or None where there is none."""
        value = self.arguments[argument]
        if value is None:
            return None
        if not isinstance(value, Tensor):
            raise self.refuse(f"{self.operation} with a {argument} that is not constant", "make it a parameter")
        return to_array(value)


def _convolve(call: Call) -> Signal:
    signal = call.signal("input")
    weight, scale = _read_weight(call)
    kernel, dilation = weight.shape[2:], _pair(call["dilation"])
    padding = call["padding"]
    if isinstance(padding, str):
        total = [dilate * (size - 1) if padding == "same" else 0 for dilate, size in zip(dilation, kernel, strict=True)]
        if any(length % 2 for length in total):
            raise call.refuse(
                f"padding 'same' of an even kernel {tuple(kernel)}, which pads one side more", "use an odd kernel"
            )
        padding = [length // 2 for length in total]
    return call.assembly.add(
        Convolution,
        call.name,
        (call.assembly.settle(signal),),
        weight=weight,
        stride=_pair(call["stride"]),
        padding=_pair(padding),
        dilation=dilation,
        groups=int(call["groups"]),
        scale=scale,
        bias=call.array("bias"),
    )


def _connect(call: Call) -> Signal:
    signal = call.signal("input")
    if len(signal.shape) != 1:
        raise call.refuse(f"a dense layer over the last dimension of {signal.shape}", "flatten before it: x.flatten(1)")
    weight, scale = _read_weight(call)
    return call.assembly.add(
        Dense, call.name, (call.assembly.settle(signal),), weight=weight, scale=scale, bias=call.array("bias")
    )


def _read_weight(call: Call) -> tuple[np.ndarray, np.ndarray | None]:
    weight = call["weight"]
    if not isinstance(weight, Weight):
        array = call.array("weight")
        if array is None:
            raise call.refuse(f"{call.operation} without a weight", "give it one")
        return array, None
    if not torch.isfinite(weight.latent).all():  # rounding to integers would hide it
        raise ConversionError(f"{call.name}.weight: holds NaN or infinity; train or load the network anew")
    with torch.no_grad():
        integers, scale = weight.quantiser.split(weight.latent.detach().cpu())
    return integers.numpy(), to_array(scale)


def _normalise(call: Call) -> Signal:
    signal = call.signal("input")
    if call["training"] or call["running_mean"] is None or call["running_var"] is None:
        raise call.refuse(
            "a BatchNorm that uses the statistics of each batch",
            "train with track_running_stats=True, evaluate in eval mode",
        )
    channels = signal.shape[0]
    gamma, beta = call.array("weight"), call.array("bias")
    mean, variance = call.array("running_mean"), call.array("running_var")
    with np.errstate(invalid="ignore"):  # a variance below zero becomes NaN, which the graph refuses
        sigma = np.sqrt(np.asarray(variance) + float(call["eps"]))
    return call.assembly.add(
        BatchNorm,
        call.name,
        (call.assembly.settle(signal),),
        gamma=np.ones(channels) if gamma is None else gamma,
        beta=np.zeros(channels) if beta is None else beta,
        mean=mean,
        sigma=sigma,
    )


def _rectify(call: Call) -> Signal:
    """ReLU, ReLU6, and clamping from 0 upwards."""
    low, high = 0.0, None
    if call.operation == "relu6":
        high = 6.0
    elif call.operation == "hardtanh":
        low, high = call["min_val"], call["max_val"]
    elif call.operation.startswith("clamp"):
        low, high = call["min"], call.arguments.get("max")
    if not all(limit is None or isinstance(limit, int | float) for limit in (low, high)):
        raise call.refuse("clipping to limits that are tensors", "clip from the number 0 upwards, as ReLU and ReLU6 do")
    if low != 0 or (high is not None and not high > 0):
        raise call.refuse(f"clipping to {low}..{high}", "clip from 0 upwards, as ReLU and ReLU6 do")
    ceiling = None if high is None or high == float("inf") else float(high)
    return call.assembly.add(Rectifier, call.name, (call.assembly.settle(call.signal()),), ceiling=ceiling)


def _pool(call: Call) -> Signal:
    """Average and max pooling over windows."""
    kernel = _pair(call["kernel_size"])
    stride, padding = _pair(call["stride"] or kernel), _pair(call["padding"])
    if call.operation == "max_pool2d":
        if _pair(call["dilation"]) != (1, 1):
            raise call.refuse("max pooling with dilation", "use dilation 1")
        return _add_pool(call, MaxPool, kernel, stride, padding)
    if padding != (0, 0) and not call["count_include_pad"]:
        raise call.refuse("average pooling whose divisor changes at the border", "use count_include_pad=True")
    if call["divisor_override"] not in (None, kernel[0] * kernel[1]):
        raise call.refuse("average pooling with a divisor of its own", "use divisor_override=None")
    return _add_pool(call, AveragePool, kernel, stride, padding)


def _pool_adaptively(call: Call) -> Signal | tuple:
    shape, size = call.signal().shape, _pair(call["output_size"])
    if len(shape) != 3 or min(size) < 1 or any(length % out for length, out in zip(shape[1:], size, strict=True)):
        raise call.refuse(
            f"adaptive pooling of {shape} to {size}, whose windows differ in size", "choose an output size that divides"
        )
    window = (shape[1] // size[0], shape[2] // size[1])
    if call.operation == "adaptive_avg_pool2d":
        return _add_pool(call, AveragePool, window, window, (0, 0))
    return _add_pool(call, MaxPool, window, window, (0, 0)), call.refuse("the indices of max pooling", "use its values")


def _reduce(call: Call) -> Signal:
    """The mean or the maximum over whole axes of each feature map."""
    signal = call.signal()
    node_shape = call.assembly.shapes[signal.node]
    rank = len(signal.shape) + 1
    axes = {axis % rank for axis in call["dim"] or ()}
    if len(node_shape) == 3 and signal.shape == (node_shape[0], node_shape[1] * node_shape[2]) and axes == {2}:
        axes = {2, 3}  # height and width seen as one
    elif signal.shape != node_shape:
        axes = set()
    if len(node_shape) != 3 or not axes or not axes <= {2, 3}:
        raise call.refuse(
            f"{call.operation} over dimensions {call['dim']} of {signal.shape}", "reduce height and width only"
        )
    window = tuple(node_shape[axis - 1] if axis in axes else 1 for axis in (2, 3))
    kind = AveragePool if call.operation == "mean" else MaxPool
    result = call.assembly.add(kind, call.name, (signal.node,), kernel=window, stride=window)
    return Signal(result.node, call.shape, call.name)


def _add_pool(call: Call, kind: type[AveragePool] | type[MaxPool], kernel: Pair, stride: Pair, padding: Pair) -> Signal:
    source = call.assembly.settle(call.signal())
    return call.assembly.add(kind, call.name, (source,), kernel=kernel, stride=stride, padding=padding)


def _reshape(call: Call) -> Signal:
    signal = call.signal()
    if prod(signal.shape) != prod(call.shape):
        raise call.refuse(f"a reshape from {signal.shape} to {call.shape}", "keep images apart")
    return Signal(signal.node, call.shape, call.name)


def _pass(call: Call) -> Value:
    """Operations that give what they take, while evaluating."""
    if call.arguments.get("train"):
        raise call.refuse("a dropout that drops while evaluating", "use nn.Dropout, or pass training=self.training")
    value = call["self"] if "self" in call.arguments else call["input"]
    dtype = call.arguments.get("dtype")
    if isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
        raise call.refuse(f"a conversion to {dtype}", "keep floats")
    return value


def _sum(call: Call) -> Signal:
    """``a + alpha * b`` and ``a - alpha * b``: branches that meet, or a constant per channel."""
    one, other = call["self"], call["other"]
    if call.operation == "rsub":
        one, other = other, one
    factor = (1.0 if call.operation == "add" else -1.0) * float(call.arguments.get("alpha", 1))
    if isinstance(one, Signal) and isinstance(other, Signal):
        if one.shape != other.shape:
            raise call.refuse(f"a sum that broadcasts {one.shape} and {other.shape}", "add branches of one shape")
        if factor != 1:
            other = _shift(call, other, factor, 0.0)
        return call.assembly.add(Add, call.name, (call.assembly.settle(one), call.assembly.settle(other)))
    if isinstance(one, Signal):
        return _shift(call, one, 1.0, factor * spread_per_channel(call.name, _constant(call, other), one.shape))
    if not isinstance(other, Signal):
        raise call.refuse(f"{call.operation} of something else than the images' signals", "check its arguments")
    return _shift(call, other, factor, spread_per_channel(call.name, _constant(call, one), other.shape))


def _multiply(call: Call) -> Signal:
    """``a * constant`` and ``a / constant``."""
    one, other = call["self"], call["other"]
    if isinstance(one, Signal) and isinstance(other, Signal):
        raise call.refuse(f"{call.operation} of two signals", GATES)
    if call.operation == "div":
        signal = call.signal()
        divisor = spread_per_channel(call.name, _constant(call, other), signal.shape)
        if (divisor == 0).any() or call.arguments.get("rounding_mode"):
            raise call.refuse("a division by zero or one that rounds", "divide by numbers other than 0")
        return _shift(call, signal, np.sign(divisor), 0.0, np.abs(divisor))
    signal, constant = (one, other) if isinstance(one, Signal) else (call.signal("other"), one)
    return _shift(call, signal, spread_per_channel(call.name, _constant(call, constant), signal.shape), 0.0)


def _constant(call: Call, value: object) -> Tensor | float:
    if isinstance(value, Tensor | float | int):
        return value
    raise call.refuse(f"{call.operation} with a value that is not constant", "use a number or a parameter")


def _shift(
    call: Call, signal: Signal, gamma: np.ndarray | float, beta: np.ndarray | float, sigma: np.ndarray | float = 1.0
) -> Signal:
    """``gamma * z / sigma + beta`` per channel, as a BatchNorm."""
    zeros = np.zeros(signal.shape[0])
    values = {"gamma": gamma + zeros, "beta": beta + zeros, "mean": zeros, "sigma": sigma + zeros}
    return call.assembly.add(BatchNorm, call.name, (call.assembly.settle(signal),), **values)


def _concatenate(call: Call) -> Signal:
    signals = call["tensors"]
    if not all(isinstance(signal, Signal) for signal in signals):
        raise call.refuse("a concatenation with constants", "concatenate feature maps only")
    axis = int(call["dim"]) % (len(signals[0].shape) + 1)
    if axis != 1:
        raise call.refuse(f"a concatenation along dimension {call['dim']}", "concatenate channels: torch.cat(maps, 1)")
    sources = tuple(call.assembly.settle(signal) for signal in signals)
    return call.assembly.add(Concatenate, call.name, sources) if len(sources) > 1 else signals[0]


def _keep_whole(call: Call) -> Signal | Weight | Tensor:
    """Modules that stay one operation: level activations, pixels, weights that are quantised or have gains."""
    leaf, value = call.leaves[call["index"]], call["x"]
    if isinstance(leaf, ChannelGain) and isinstance(value, Tensor):
        return leaf(value).detach()
    if isinstance(leaf, QuantisedWeight) and isinstance(value, Tensor):
        return Weight(value, leaf)
    signal = call.signal("x")
    source = call.assembly.settle(signal)
    if isinstance(leaf, LevelActivation):
        try:
            step = leaf.read_step()
        except ConversionError as error:
            raise ConversionError(f"{call.name}: {error}") from error
        return call.assembly.add(Activation, call.name, (source,), step=step, levels=leaf.levels)
    if isinstance(leaf, Pixels) and isinstance(call.assembly.nodes[source], Input):
        offset = leaf.offset.cpu().numpy().astype(np.int64)
        return call.assembly.add(Input, call.name, (), shape=signal.shape, divisor=leaf.divisor, offset=offset)
    raise call.refuse(f"a {type(leaf).__name__} here", "Pixels come first, level activations after a layer")


def _pair(value: Any) -> Pair:
    """ATen's int[2], where one number stands for both."""
    values = [value] if isinstance(value, int) else list(value)
    return int(values[0]), int(values[-1])


OPERATIONS: dict[str, Callable[[Call], Value]] = {
    "leaf": _keep_whole,
    "conv2d": _convolve,
    "linear": _connect,
    "batch_norm": _normalise,
    **dict.fromkeys(("relu", "relu6", "hardtanh", "clamp", "clamp_min"), _rectify),
    **dict.fromkeys(("avg_pool2d", "max_pool2d"), _pool),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _pool_adaptively),
    **dict.fromkeys(("mean", "amax"), _reduce),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), _pass),
    **dict.fromkeys(("contiguous", "clone", "detach", "alias", "to", "_to_copy"), _pass),
    **dict.fromkeys(("add", "sub", "rsub"), _sum),
    **dict.fromkeys(("mul", "div"), _multiply),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenate),
}
