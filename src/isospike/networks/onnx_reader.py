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
from isospike.networks.onnx_operations import Constant, Operator, Quantised, Step, build_step, read_ceiling
from isospike.networks.tracing import capture

_DOMAINS = ("", "ai.onnx")
_KEEP_INTEGERS = ("MaxPool", "Flatten", "Reshape", "Squeeze", "Identity", "Dropout")


def read_onnx(path: str | Path, *, pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None) -> SpikingGraph:
    """Read an ONNX classifier as a captured graph, as :func:`isospike.networks.capture` reads a PyTorch one.

    Weights behind a DequantizeLinear stay integers with their scales. QuantizeLinear and DequantizeLinear on a signal
    become a level activation of 255 levels, which rounds half up where ONNX rounds half to even; a ReLU before one is
    part of it, and the ceiling of a ReLU6 is its highest level.

    Args:
        path: one input, images (batch, channel, height, width) of known size; one output, logits.
        pixels: mean and deviation of each channel where the network takes normalised images (see ``capture``).

    Raises:
        FileError: onnx is not installed; the file is missing, damaged, or no ONNX.
        ConversionError: an operator that cannot be captured, by name.
    """
    model = load_onnx(path)
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
        return OnnxNetwork(onnx, model.graph)
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from error


class OnnxNetwork(nn.Module):
    """The operators of an ONNX graph as modules, each called by the node's name; what is constant is worked out.

    Attributes:
        in_shape: of an image.
        dtype: of the images.
    """

    def __init__(self, onnx: Any, graph: Any) -> None:
        super().__init__()
        self.onnx = onnx
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
        bytes_come = inputs[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
        self.dtype = torch.uint8 if bytes_come else torch.float32
        self.steps: list[tuple[str, tuple[str, ...], str]] = []
        self.signals = {self.source}
        self.users = Counter(source for node in graph.node for source in node.input)
        self.quantisers = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
        self.ceilings: dict[str, float | None] = {}  # of a ReLU that the QuantizeLinear after it has taken in
        self.grids: dict[str, list[Any]] = {}  # scale and zero point of what is quantised, until it is dequantised
        for node in graph.node:
            self._add(node, shapes)
        self.constants.clear()

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
        given: list[Constant | str | None] = [
            "signal" if source in self.signals else self.constants.get(source) for source in node.input
        ]
        target = node.output[0]
        if node.op_type == "Shape" or not sources:
            self._fold(node, given, target)
            return
        ceiling = self.ceilings.get(sources[0])
        operator = Operator(name, node.op_type, attributes, given, shapes.get(target), ceiling)
        if node.op_type == "DequantizeLinear":
            if not _is_same(self.grids.get(sources[0]), given[1:]):
                raise operator.refuse("integers of another scale", "dequantise what the same scale has quantised")
            step = Step(lambda _, x: x)  # real values already
        elif node.op_type == "Cast" and sources[0] == self.source:
            step = Step(lambda _, x: x.float())
        elif node.op_type in ("Relu", "Clip") and self._is_taken_in(target):
            step = Step(lambda _, x: x)
            self.ceilings[target] = read_ceiling(operator)
        else:
            step = build_step(operator)
            self._follow_grid(operator, sources, target)
        self.add_module(name, step)
        self.steps.append((name, sources, target))
        self.signals.add(target)

    def _is_taken_in(self, name: str) -> bool:
        """Whether only a QuantizeLinear takes the signal ``name``, and its least integer stands for 0."""
        quantiser = self.quantisers.get(name)
        if quantiser is None or self.users[name] != 1:
            return False
        zero = self.constants.get(quantiser.input[2]) if len(quantiser.input) > 2 else np.zeros(1, np.uint8)
        if not isinstance(zero, np.ndarray) or zero.dtype not in (np.int8, np.uint8):
            return False
        return bool(np.all(zero == np.iinfo(zero.dtype).min))

    def _follow_grid(self, operator: Operator, sources: tuple[str, ...], target: str) -> None:
        if operator.kind == "QuantizeLinear":
            self.grids[target] = operator.inputs[1:]
        elif any(source in self.grids for source in sources):
            if operator.kind not in _KEEP_INTEGERS:
                raise operator.refuse("arithmetic on integers", "dequantise first (the QDQ format)")
            self.grids[target] = self.grids[sources[0]]

    def _fold(self, node: Any, given: list[Constant | str | None], target: str) -> None:
        """Work out an operator of constants; sizes that depend on the batch stay unknown."""
        values = [value.real if isinstance(value, Quantised) else value for value in given]
        if node.op_type == "DequantizeLinear" and isinstance(given[0], np.ndarray):
            self.constants[target] = self._dequantise(node, given[0], values)
        elif node.op_type == "Transpose" and isinstance(given[0], Quantised):
            order = self.onnx.helper.get_node_attr_value(node, "perm")
            self.constants[target] = given[0].transpose(tuple(order))
        elif not any(
            isinstance(value, str) or (value is None and source)
            for source, value in zip(node.input, values, strict=True)
        ):
            evaluator = import_module("onnx.reference").ReferenceEvaluator(node)
            feeds = {source: value for source, value in zip(node.input, values, strict=True) if source}
            for output, value in zip(node.output, evaluator.run(None, feeds), strict=False):
                self.constants[output] = np.asarray(value)

    def _dequantise(self, node: Any, integers: np.ndarray, values: list[Any]) -> Constant:
        axis = next((each.i for each in node.attribute if each.name == "axis"), 1) % max(integers.ndim, 1)
        scale = np.asarray(values[1], dtype=np.float32).reshape(-1)
        zero = np.zeros(1, np.int64) if len(values) < 3 or values[2] is None else values[2].astype(np.int64).reshape(-1)
        shape = [1] * integers.ndim
        if scale.size > 1:
            shape[axis] = scale.size
        offset = zero.reshape(shape) if zero.size > 1 else zero
        difference = integers.astype(np.int64) - offset
        if integers.ndim < 2:  # a bias: real numbers
            return (difference * scale.astype(np.float64)).astype(np.float32)
        narrow = next(kind for kind in (np.int8, np.int16, np.int64) if _fits(difference, kind))
        return Quantised(difference.astype(narrow), scale, axis)

    def _spell(self, name: str) -> str:
        """A node's name as that of a module."""
        spelt = re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_") or "node"
        spelt = f"node_{spelt}" if spelt[0].isdigit() or hasattr(self, spelt) else spelt
        chosen, number = spelt, 1
        while hasattr(self, chosen):
            number += 1
            chosen = f"{spelt}_{number}"
        return chosen


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


def _read_shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a value without its batch; None where a length is not known."""
    dims = value.type.tensor_type.shape.dim[1:]
    return tuple(int(dim.dim_value) for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None
