"""ONNX classifiers, float or quantised (QDQ), as captured graphs. Needs the package onnx, which is optional."""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isospike.errors import ConversionError, FileError
from isospike.graph import SpikingGraph
from isospike.networks.onnx_operations import (
    Constant,
    Given,
    Operator,
    Quantised,
    Step,
    Unknown,
    build_step,
    gives_floats,
    read_ceiling,
    read_zero_point,
)
from isospike.networks.tracing import capture

_DOMAINS = ("", "ai.onnx")
_KEEP_INTEGERS = ("MaxPool", "Flatten", "Reshape", "Squeeze", "Identity", "Dropout")


def read_onnx(path: str | Path, *, pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None) -> SpikingGraph:
    """Read an ONNX classifier as a captured graph, as :func:`isospike.networks.capture` reads a PyTorch one.

    Weights behind a DequantizeLinear stay integers with their scales. QuantizeLinear and DequantizeLinear on a signal
    become a level activation of 255 levels, which rounds half up where ONNX rounds half to even; a ReLU before one is
    part of it, and the ceiling of a ReLU6 is its highest level.

    Args:
        path: one input, images (batch, channel, height, width) of known size, floats or uint8 (raw pixels, which the
            network normalises itself); one output, logits.
        pixels: mean and deviation of each channel where the network takes normalised images (see ``capture``).

    Raises:
        FileError: onnx is not installed; the file is missing, damaged, or no ONNX.
        ConversionError: an operator that cannot be captured, by name; ``pixels`` for a network that takes uint8.
    """
    model = load_onnx(path)
    if model.takes_bytes and pixels is not None:
        raise ConversionError(f"{path}: it takes raw pixels already, as uint8: leave pixels out")
    example = torch.zeros(2, *model.in_shape, dtype=model.dtype)
    return capture(model, example, pixels=pixels)


def load_onnx(path: str | Path) -> "OnnxNetwork":
    """An ONNX file as a PyTorch module of the operators that can be captured; raises as :func:`read_onnx`."""
    try:
        onnx = import_module("onnx")
    except ImportError as error:
        raise FileError(
            f"{path}: reading ONNX needs the package onnx ({error}): pip install 'isospike[onnx]'"
        ) from error
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # protobuf, checker and operating system have errors of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileError(f"{path}: expected an ONNX model, got a file that does not read ({reason})") from error
    try:
        return OnnxNetwork(onnx, model)
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from error


class OnnxNetwork(nn.Module):
    """The operators of an ONNX graph as modules, each called by the node's name; what is constant is worked out.

    Attributes:
        in_shape: of an image.
        dtype: of the images, float32 or uint8.
    """

    def __init__(self, onnx: Any, model: Any) -> None:
        super().__init__()
        graph = model.graph
        self.onnx = onnx
        versions = [each.version for each in model.opset_import if each.domain in _DOMAINS]
        self.opsets = dict.fromkeys(_DOMAINS, max(versions, default=1))
        self.constants: dict[str, Constant] = {
            each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer
        }
        inputs = [each for each in graph.input if each.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ConversionError(f"expected one input and one output, got {len(inputs)} and {len(graph.output)}")
        self.source, self.target = inputs[0].name, graph.output[0].name
        shapes = {each.name: _read_shape(each) for each in (*graph.value_info, *graph.output, inputs[0])}
        shape = shapes[self.source]
        if shape is None or len(shape) != 3:
            raise ConversionError(
                f"{self.source}: expected images (batch, channel, height, width) of known size, got {shape}: export "
                "with a fixed height and width"
            )
        self.in_shape = (shape[0], shape[1], shape[2])
        self.dtype = _read_type(onnx, inputs[0])
        self.steps: list[tuple[str, tuple[str, ...], str]] = []
        self.signals = {self.source}
        self.users = Counter(source for node in graph.node for source in node.input)
        self.quantisers = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
        self.ceilings: dict[str, float | None] = {}  # of a ReLU that the QuantizeLinear after it has taken in
        self.grids: dict[str, list[Any]] = {}  # scale and zero point of what is quantised, until it is dequantised
        self.raw: set[str] = {self.source} if self.takes_bytes else set()  # signals that are pixels, as integers
        for node in graph.node:
            self._add(node, shapes)
        if self.target not in self.signals:
            raise ConversionError(
                f"{self.target}: expected the first output of an operator on the images: export a network that gives "
                "its logits alone"
            )
        self.constants.clear()

    @property
    def takes_bytes(self) -> bool:
        """Whether the images are raw pixels, which the network normalises itself."""
        return self.dtype is torch.uint8

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``."""
        values = {self.source: images}
        for name, sources, target in self.steps:
            values[target] = getattr(self, name)(*(values[source] for source in sources))
        return values[self.target]

    def _add(self, node: Any, shapes: dict[str, tuple[int, ...] | None]) -> None:
        attributes = {each.name: self.onnx.helper.get_attribute_value(each) for each in node.attribute}
        name = self._spell(node.name or node.output[0])
        if node.domain not in _DOMAINS:
            raise ConversionError(f"{name}: cannot capture operators of {node.domain!r}: export with standard ones")
        sources = tuple(source for source in node.input if source in self.signals)
        given = [self._look_up(source) for source in node.input]
        target = node.output[0]
        if node.op_type == "Shape" or not sources:
            self._fold(Operator(name, node.op_type, attributes, given, None), node)
            return
        ceiling = self.ceilings.get(sources[0])
        operator = Operator(name, node.op_type, attributes, given, shapes.get(target), ceiling)
        try:
            step = self._build(operator, sources, target)
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
            raise operator.refuse(f"it here ({_explain(error)})", "expected shapes as ONNX defines them") from error
        self.add_module(name, step)
        self.steps.append((name, sources, target))
        self.signals.add(target)

    def _look_up(self, source: str) -> Given:
        if source in self.signals:
            return "signal"
        return self.constants.get(source, Unknown(source)) if source else None

    def _build(self, operator: Operator, sources: tuple[str, ...], target: str) -> Step:
        """The module of an operator on signals, and what is to be remembered of what it gives."""
        if operator.kind == "DequantizeLinear":
            if not _is_same(self.grids.get(sources[0]), operator.inputs[1:]):
                raise operator.refuse("integers of another scale", "dequantise what the same scale has quantised")
            return Step(lambda _, x: x)  # real values already
        if operator.kind == "Cast" and (sources[0] == self.source or sources[0] in self.raw):
            if not gives_floats(operator, sources[0] in self.raw):
                self.raw.add(target)
            return Step(lambda _, x: x.float())
        if any(source in self.raw for source in sources):
            if operator.kind not in _KEEP_INTEGERS:
                raise operator.refuse("arithmetic on integers", "convert the images to floats first (Cast)")
            self.raw.add(target)
        if operator.kind in ("Relu", "Clip") and self._is_taken_in(target):
            self.ceilings[target] = read_ceiling(operator)
            return Step(lambda _, x: x)
        step = build_step(operator)
        self._follow_grid(operator, sources, target)
        return step

    def _is_taken_in(self, name: str) -> bool:
        """Whether only a QuantizeLinear takes the signal ``name``, and its least integer stands for 0."""
        quantiser = self.quantisers.get(name)
        if quantiser is None or self.users[name] != 1:
            return False
        kind = next((each.i for each in quantiser.attribute if each.name == "output_dtype"), 0)
        zero = read_zero_point(self._look_up(quantiser.input[2]) if len(quantiser.input) > 2 else None, kind)
        return zero is not None and bool(np.all(zero == np.iinfo(zero.dtype).min))

    def _follow_grid(self, operator: Operator, sources: tuple[str, ...], target: str) -> None:
        if operator.kind == "QuantizeLinear":
            self.grids[target] = operator.inputs[1:]
        elif any(source in self.grids for source in sources):
            if operator.kind not in _KEEP_INTEGERS:
                raise operator.refuse("arithmetic on integers", "dequantise first (the QDQ format)")
            self.grids[target] = self.grids[sources[0]]

    def _fold(self, operator: Operator, node: Any) -> None:
        """Work out an operator of constants; what depends on other values, such as the batch's size, stays unknown."""
        first = operator.inputs[0] if operator.inputs else None
        if any(isinstance(value, str | Unknown) for value in operator.inputs):
            return
        try:
            if operator.kind == "DequantizeLinear" and isinstance(first, np.ndarray):
                self.constants[node.output[0]] = _dequantise(operator, first)
            elif operator.kind == "Transpose" and isinstance(first, Quantised):
                order = operator.attributes.get("perm", range(first.integers.ndim)[::-1])
                self.constants[node.output[0]] = first.transpose(tuple(order))
            else:
                self._evaluate(operator, node)
        except ConversionError:
            raise
        except Exception as error:  # onnx's reference raises whatever its operators' code does
            raise ConversionError(
                f"{operator.name} ({operator.kind}): cannot work out this operator of constants ({_explain(error)}): "
                "export what it gives as a constant"
            ) from error

    def _evaluate(self, operator: Operator, node: Any) -> None:
        """What onnx's own reference gives, in the file's version of the operators."""
        helper = self.onnx.helper
        read = ((source, operator.read(place)) for place, source in enumerate(node.input))
        values = {source: value for source, value in read if value is not None}
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in values.items()
        ]
        outputs = [name for name in node.output if name]
        graph = helper.make_graph([node], "constants", inputs, list(map(helper.make_empty_tensor_value_info, outputs)))
        evaluator = import_module("onnx.reference").ReferenceEvaluator(graph, opsets=self.opsets)
        for output, value in zip(outputs, evaluator.run(None, values), strict=True):
            self.constants[output] = np.asarray(value)

    def _spell(self, name: str) -> str:
        """A node's name as that of a module."""
        spelt = re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_") or "node"
        spelt = f"node_{spelt}" if spelt[0].isdigit() or hasattr(self, spelt) else spelt
        chosen, number = spelt, 1
        while hasattr(self, chosen):
            number += 1
            chosen = f"{spelt}_{number}"
        return chosen


def _dequantise(operator: Operator, integers: np.ndarray) -> Constant:
    """A constant behind a DequantizeLinear: integers with their scales, or the real numbers of a bias."""
    if re.fullmatch(r"u?int\d+", integers.dtype.names[0] if integers.dtype.names else integers.dtype.name) is None:
        raise operator.refuse(f"constants quantised to {integers.dtype}", "quantise to integers")
    if operator.attributes.get("block_size", 0):
        raise operator.refuse("a scale for each block (block_size)", "quantise with a scale for each output")
    axis = int(operator.attributes.get("axis", 1)) % max(integers.ndim, 1)
    given, zeros = operator.read(1), operator.read(2)
    scale = np.asarray(given, dtype=np.float32).reshape(-1)
    zero = np.zeros(1, np.int64) if zeros is None else zeros.astype(np.int64).reshape(-1)
    shape = [1] * integers.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    offset = zero.reshape(shape) if zero.size > 1 else zero
    difference = integers.astype(np.int64) - offset
    if integers.ndim < 2:  # a bias: real numbers
        return (difference * scale.astype(np.float64)).astype(np.float32)
    narrow = next(kind for kind in (np.int8, np.int16, np.int64) if _fits(difference, kind))
    return Quantised(difference.astype(narrow), scale, axis)


def _is_same(one: list[Any] | None, other: list[Any]) -> bool:
    """Whether both say the same scale and zero point."""
    return (
        one is not None
        and len(one) == len(other)
        and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    )


def _fits(array: np.ndarray, kind: type) -> bool:
    limits = np.iinfo(kind)
    return bool(array.min() >= limits.min and array.max() <= limits.max)


def _explain(error: Exception) -> str:
    """One line of an error that is not ours."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0][:200]}"


def _read_type(onnx: Any, images: Any) -> torch.dtype:
    """The type that the images come in: uint8, or else float32.

    Raises:
        ConversionError: other integers, whose arithmetic is not that of real numbers.
    """
    kind, known = images.type.tensor_type.elem_type, onnx.TensorProto
    if kind == known.UINT8:
        return torch.uint8
    if kind not in (known.FLOAT, known.FLOAT16, known.DOUBLE, known.BFLOAT16):
        raise ConversionError(
            f"{images.name}: expected images of uint8 or floats, got {known.DataType.Name(kind)}: export with either"
        )
    return torch.float32


def _read_shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a value without its batch; None where a length is not known."""
    dims = value.type.tensor_type.shape.dim[1:]
    return tuple(int(dim.dim_value) for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None
