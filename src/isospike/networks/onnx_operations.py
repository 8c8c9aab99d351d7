"""What each ONNX operator becomes: one small PyTorch module per operator, which capture then reads like any other."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from isospike.errors import ConversionError
from isospike.networks.activations import LevelActivation
from isospike.networks.remedies import REMEDIES
from isospike.networks.weights import QuantisedWeight

# numbers of onnx.TensorProto.DataType
_QUANTISED: dict[int, Any] = {0: np.uint8, 2: np.uint8, 3: np.int8}
_FLOATS = (1, 10, 11, 16)
_HOLD_BYTES = (2, 4, 5, 6, 7, 12, 13)


@dataclass(frozen=True, eq=False)
class Quantised:
    """A constant behind a DequantizeLinear: ``scale * integers``, the scales along ``axis``."""

    integers: np.ndarray
    scale: np.ndarray
    axis: int

    @property
    def real(self) -> np.ndarray:
        """Its real values, float32."""
        shape = [1] * self.integers.ndim
        if self.scale.size > 1:
            shape[self.axis] = self.scale.size
        return self.integers.astype(np.float32) * self.scale.reshape(shape)

    def transpose(self, order: tuple[int, ...]) -> "Quantised":
        """The same with its axes in another order."""
        return Quantised(self.integers.transpose(order), self.scale, order.index(self.axis))


@dataclass(frozen=True)
class Unknown:
    """An input that is there and is neither a signal nor a constant, such as a size that depends on the batch."""

    name: str


Constant = np.ndarray | Quantised
Given = Constant | Unknown | str | None
"""An input of an operator: a constant, not known, "signal", or None where it is left out."""


class StoredWeight(QuantisedWeight):
    """Integers and scales as a file has them."""

    integers: Tensor
    scale: Tensor

    def __init__(self, weight: Quantised) -> None:
        super().__init__()
        scale = np.broadcast_to(weight.scale.astype(np.float32).reshape(-1), (len(weight.integers),)).copy()
        self.register_buffer("integers", torch.from_numpy(weight.integers.copy()))
        self.register_buffer("scale", torch.from_numpy(scale))

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """See :class:`QuantisedWeight`."""
        return self.integers, self.scale


class Step(nn.Module):
    """One operator: a function of this module and of the signals that come in."""

    def __init__(self, function: Callable[..., Tensor], **parts: Tensor | nn.Module | None) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, *signals: Tensor) -> Tensor:
        """Apply the operator."""
        return self.function(self, *signals)

    def weigh(self) -> Tensor:
        """The weight, through its quantiser where it has one."""
        latent, quantiser = self.get_buffer("latent"), self._modules.get("quantiser")
        return latent if quantiser is None else quantiser(latent)


@dataclass(frozen=True)
class Operator:
    """One ONNX node: its name and type, attributes, inputs, and the shape it gives without the batch, where that is
    known; and the ceiling of a ReLU that a QuantizeLinear has taken in."""

    name: str
    kind: str
    attributes: dict[str, Any]
    inputs: list[Given]
    shape: tuple[int, ...] | None
    ceiling: float | None = None

    def refuse(self, what: str, remedy: str) -> ConversionError:
        """The error that this operator cannot be captured."""
        return ConversionError(f"{self.name} ({self.kind}): cannot capture {what}: {remedy}")

    def read(self, place: int) -> np.ndarray | None:
        """A constant input as real numbers; None where it is left out."""
        value = self.inputs[place] if place < len(self.inputs) else None
        if isinstance(value, str):
            raise self.refuse(f"an input {place} that depends on the images", "make it a constant")
        if isinstance(value, Unknown):
            raise self.refuse(
                f"the input {value.name!r}, which is neither a constant nor one of the signals", "make it a constant"
            )
        return value.real if isinstance(value, Quantised) else value

    def tensor(self, place: int) -> Tensor | None:
        """A constant input as a float32 tensor."""
        value = self.read(place)
        return None if value is None else torch.from_numpy(np.array(value, dtype=np.float32))

    def expect_signals(self, *places: int) -> None:
        """Refuse the operator unless exactly these inputs depend on the images."""
        if [place for place, value in enumerate(self.inputs) if isinstance(value, str)] != list(places):
            raise self.refuse("these inputs", "only the first may depend on the images, the others are constants")


def build_step(operator: Operator) -> Step:
    """The module of an operator.

    Raises:
        ConversionError: it cannot be captured; the message names it, and a remedy.
    """
    build = BUILDERS.get(operator.kind)
    if build is None:
        remedy = REMEDIES.get(operator.kind.lower(), f"the reader knows {', '.join(sorted(BUILDERS))}")
        raise operator.refuse("this operator", remedy)
    return build(operator)


def _hold_weight(operator: Operator, dimensions: int, transposed: bool) -> tuple[Tensor, nn.Module | None]:
    """The weight (outputs first), the second input, and its quantiser where the file has integers."""
    weight = operator.inputs[1]
    if isinstance(weight, str | Unknown) or weight is None:
        raise operator.refuse("a weight that is not constant", "spikes add and do not multiply")
    axes = weight.integers.ndim if isinstance(weight, Quantised) else weight.ndim
    if axes != dimensions:
        layers = "2d convolutions" if dimensions == 4 else "dense layers, which take a matrix,"
        raise operator.refuse(f"a weight of {axes} dimensions", f"only {layers} are captured")
    if transposed:
        weight = weight.transpose((1, 0))
    if isinstance(weight, Quantised) and (weight.axis == 0 or weight.scale.size == 1):
        return torch.from_numpy(weight.real), StoredWeight(weight)
    real = weight.real if isinstance(weight, Quantised) else weight
    return torch.from_numpy(np.array(real, dtype=np.float32, order="C")), None


def _convolve(operator: Operator) -> Step:
    operator.expect_signals(0)
    latent, quantiser = _hold_weight(operator, 4, transposed=False)
    settings: dict[str, Any] = {
        "stride": _pair(operator, "strides"),
        "padding": _read_padding(operator),
        "dilation": _pair(operator, "dilations"),
        "groups": int(operator.attributes.get("group", 1)),
    }

    def apply(step: Any, x: Tensor) -> Tensor:
        return functional.conv2d(x, step.weigh(), step.bias, **settings)

    return Step(apply, latent=latent, quantiser=quantiser, bias=operator.tensor(2))


def _connect(operator: Operator) -> Step:
    operator.expect_signals(0)
    attributes = operator.attributes
    plain = attributes.get("alpha", 1.0) == 1 and attributes.get("beta", 1.0) == 1 and not attributes.get("transA", 0)
    if not plain:
        raise operator.refuse("alpha, beta or transA", "export the layer as nn.Linear")
    latent, quantiser = _hold_weight(operator, 2, transposed=not attributes.get("transB", 0))
    bias = operator.tensor(2)
    if bias is not None:
        if bias.numel() != 1 and (bias.numel() != len(latent) or bias.shape[-1] != len(latent)):
            raise operator.refuse(f"a bias of shape {tuple(bias.shape)}", f"give one number for each of {len(latent)}")
        bias = bias.reshape(-1).expand(len(latent)).clone()

    def apply(step: Any, x: Tensor) -> Tensor:
        return functional.linear(x, step.weigh(), step.bias)

    return Step(apply, latent=latent, quantiser=quantiser, bias=bias)


def _normalise(operator: Operator) -> Step:
    operator.expect_signals(0)
    if operator.attributes.get("training_mode", 0):
        raise operator.refuse("a BatchNorm that uses the statistics of each batch", "export the model in eval mode")
    scale, bias, mean, variance = (operator.tensor(place) for place in range(1, 5))
    epsilon = float(operator.attributes.get("epsilon", 1e-5))

    def apply(step: Any, x: Tensor) -> Tensor:
        return functional.batch_norm(x, step.mean, step.variance, step.scale, step.bias, False, 0.0, epsilon)

    return Step(apply, scale=scale, bias=bias, mean=mean, variance=variance)


def read_ceiling(operator: Operator) -> float | None:
    """Where a Relu or a Clip ends; None for no end."""
    if operator.kind == "Relu":
        return None
    operator.expect_signals(0)
    low, high = (operator.attributes.get(name, operator.read(place)) for name, place in (("min", 1), ("max", 2)))
    if low is None or float(low) != 0:
        raise operator.refuse("a Clip that does not begin at 0", "use ReLU or ReLU6")
    return None if high is None else float(high)


def _clip(operator: Operator) -> Step:
    ceiling = read_ceiling(operator)
    return Step(lambda _, x: functional.relu(x) if ceiling is None else x.clamp(0.0, ceiling))


def _combine(operator: Operator) -> Step:
    functions: dict[str, Any] = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}
    function = functions[operator.kind]
    one, other = (operator.tensor(place) if not isinstance(operator.inputs[place], str) else None for place in (0, 1))
    if one is None and other is None:
        return Step(lambda _, a, b: function(a, b))
    if one is None:
        return Step(lambda step, x: function(x, step.constant), constant=other)
    return Step(lambda step, x: function(step.constant, x), constant=one)


def _concatenate(operator: Operator) -> Step:
    operator.expect_signals(*range(len(operator.inputs)))
    axis = int(operator.attributes["axis"])
    return Step(lambda _, *signals: torch.cat(signals, axis))


def _pool(operator: Operator) -> Step:
    operator.expect_signals(0)
    attributes = operator.attributes
    if attributes.get("ceil_mode", 0) or any(rate != 1 for rate in attributes.get("dilations", [1])):
        raise operator.refuse("ceil_mode or dilation", "export with ceil_mode=False and dilation=1")
    kernel, stride, padding = _pair(operator, "kernel_shape"), _pair(operator, "strides"), _read_padding(operator)
    if operator.kind == "MaxPool":
        return Step(lambda _, x: functional.max_pool2d(x, kernel, stride, padding))
    counted = bool(attributes.get("count_include_pad", 0))
    return Step(lambda _, x: functional.avg_pool2d(x, kernel, stride, padding, count_include_pad=counted))


def _reduce(operator: Operator) -> Step:
    operator.expect_signals(0)
    axes = operator.attributes.get("axes", operator.read(1))
    if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise operator.refuse(f"axes {axes}", "average over rows and columns")
    keep = bool(operator.attributes.get("keepdims", 1))
    return Step(lambda _, x: x.mean((2, 3), keepdim=keep))


def _reshape(operator: Operator) -> Step:
    shape = operator.shape
    if not isinstance(operator.inputs[0], str) or shape is None:
        raise operator.refuse("a shape that is not known", "export with fixed sizes, the batch aside")
    return Step(lambda _, x: x.reshape(x.shape[0], *shape))


def _pass(operator: Operator) -> Step:
    training = operator.read(2) if operator.kind == "Dropout" else None
    if training is not None and training.any():
        raise operator.refuse("a dropout that drops while evaluating", "export the model in eval mode")
    return Step(lambda _, x: x)


def gives_floats(operator: Operator, raw: bool) -> bool:
    """Whether a Cast of the images gives floats; where they come ``raw``, integers that hold 0 to 255 may come too.

    Raises:
        ConversionError: it gives another type, which would change the values.
    """
    floats, kind = operator.attributes["to"] in _FLOATS, int(operator.attributes["to"])
    if not floats and not (raw and kind in _HOLD_BYTES):
        kinds = "floats, or to integers that hold 0 to 255" if raw else "floats"
        raise operator.refuse(f"a conversion of the images to ONNX's type {kind}", f"convert to {kinds}")
    return floats


def read_zero_point(given: Given, output_type: int) -> np.ndarray | None:
    """The zero point of a QuantizeLinear, int8 or uint8 with one element; where none is ``given``, 0 of the type that
    its attribute ``output_dtype`` says (0 for none: uint8). None where it is anything else."""
    if given is None:
        kind = _QUANTISED.get(output_type)
        return None if kind is None else np.zeros(1, kind)
    if not isinstance(given, np.ndarray) or given.size != 1 or given.dtype not in (np.int8, np.uint8):
        return None
    return given if output_type in (0, 2 if given.dtype == np.uint8 else 3) else None


def quantise_signal(operator: Operator) -> Step:
    """QuantizeLinear and DequantizeLinear of a signal: a level activation, shifted where the zero point is not the
    least integer. Half rounds up here, and to even in ONNX: exactly between two integers they differ."""
    operator.expect_signals(0)
    scale = operator.read(1)
    zero = read_zero_point(
        operator.inputs[2] if len(operator.inputs) > 2 else None, int(operator.attributes.get("output_dtype", 0))
    )
    if scale is None or scale.size != 1 or zero is None or not 0 < float(scale.reshape(-1)[0]) < np.inf:
        raise operator.refuse("this quantisation", "quantise signals with one scale above 0, to int8 or uint8")
    limits = np.iinfo(zero.dtype)
    below = int(zero.reshape(-1)[0]) - int(limits.min)
    step = Fraction(float(np.float32(scale.reshape(-1)[0])))
    most = int(limits.max) - int(limits.min)
    if operator.ceiling is not None:
        most = min(most, int(Fraction(operator.ceiling) / step + Fraction(1, 2)))
    if most < 1:
        raise operator.refuse("a scale above the ceiling of the ReLU before it", "calibrate it on activations")
    levels = LevelActivation(most, step=step)
    if not below:
        return Step(lambda module, x: module.levels(x), levels=levels)
    shift = float(below * step)
    return Step(lambda module, x: module.levels(x + shift) - shift, levels=levels)


def _pair(operator: Operator, name: str) -> tuple[int, int]:
    values = operator.attributes.get(name, [1, 1])
    if len(values) != 2:
        raise operator.refuse(f"{name} {list(values)}", "only images of two dimensions are captured")
    return int(values[0]), int(values[1])


def _read_padding(operator: Operator) -> tuple[int, int]:
    pads = list(operator.attributes.get("pads", [0, 0, 0, 0]))
    automatic = operator.attributes.get("auto_pad", b"NOTSET")
    if automatic not in (b"NOTSET", b"VALID") or len(pads) != 4 or pads[:2] != pads[2:]:
        raise operator.refuse(f"padding {pads} {automatic.decode()}", "pad both sides alike, in numbers")
    return int(pads[0]), int(pads[1])


BUILDERS: dict[str, Callable[[Operator], Step]] = {
    "Conv": _convolve,
    **dict.fromkeys(("Gemm", "MatMul"), _connect),
    "BatchNormalization": _normalise,
    **dict.fromkeys(("Relu", "Clip"), _clip),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _combine),
    "Concat": _concatenate,
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    "GlobalAveragePool": lambda _: Step(lambda _, x: functional.adaptive_avg_pool2d(x, 1)),
    "GlobalMaxPool": lambda _: Step(lambda _, x: functional.adaptive_max_pool2d(x, 1)),
    "ReduceMean": _reduce,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze"), _reshape),
    **dict.fromkeys(("Identity", "Dropout"), _pass),
    "QuantizeLinear": quantise_signal,
}
