"""From a flat graph of ATen operations to a captured graph."""

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from isospike.errors import ConversionError
from isospike.graph import BatchNorm, Input, SpikingGraph
from isospike.networks.assembling import Assembly, Signal
from isospike.networks.exporting import Exported
from isospike.networks.operations import OPERATIONS, UNKNOWN, Call, Value
from isospike.networks.remedies import REMEDIES

_IN_PLACE_WITHOUT_CHANGE = ("detach",)
_GIVES_ITS_INPUT = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
_NO_ARITHMETIC = (
    *_GIVES_ITS_INPUT, "max_pool2d", "adaptive_max_pool2d", "amax", "relu", "relu6", "hardtanh", "clamp", "clamp_min",
    "cat", "concat", "concatenate", "view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze",
    "contiguous", "clone", "detach", "alias", "to", "_to_copy",
)  # fmt: skip
"""What integers may pass: it gives some of the values that come in, or its own bounds."""


@dataclass(frozen=True)
class Normalisation:
    """How float images come from pixels p: ``(p / 255 - mean) / deviation``, per channel, float64."""

    mean: np.ndarray
    deviation: np.ndarray


class Translator:
    """Walks the operations in order and keeps what each gives.

    An operation that cannot be captured is an error only if the logits depend on it, so errors are kept as values.

    Args:
        exported: from :func:`isospike.networks.exporting.export_module`.
        normalisation: of pixels to the float images that the module takes; None where it takes them as they are.
    """

    def __init__(self, exported: Exported, normalisation: Normalisation | None) -> None:
        self.exported, self.normalisation = exported, normalisation
        self.assembly = Assembly()
        self.values: dict[fx.Node, Value] = {}
        self.storage: dict[fx.Node, fx.Node] = {}
        self.origins: dict[fx.Node, fx.Node] = {}  # of memory that may be a copy, or may not
        self.batch = ""

    def run(self) -> SpikingGraph:
        """The captured graph.

        Raises:
            ConversionError: an operation that cannot be captured; the message names its module.
        """
        model = type(self.exported.model).__name__
        for node in self.exported.graph.nodes:
            if node.op == "output":
                results = node.args[0]
                if len(results) != 1 or not isinstance(results[0], fx.Node):
                    raise ConversionError(
                        f"{model}: expected one tensor of logits, got {len(results)} outputs: return the logits alone"
                    )
                logits = self.values[results[0]]
                if isinstance(logits, ConversionError):
                    raise logits
                if not isinstance(logits, Signal):
                    raise ConversionError(f"{model}: its logits do not depend on the images: check its forward")
                return self.assembly.finish(model, logits)
            self.storage[node] = node
            self.values[node] = self._translate(node)
        raise ConversionError(f"{model}: gives no output: return the logits")

    def _translate(self, node: fx.Node) -> Value:
        try:
            if node.op == "placeholder":
                return self._present_images(node) if node.name == self.exported.image else self._find_constant(node)
            if node.op == "call_function" and node.target is operator.getitem:
                source = node.args[0]
                self.storage[node] = self.storage[source]  # type: ignore[index]
                whole = self.values[source]  # type: ignore[index]
                return whole[node.args[1]] if isinstance(whole, tuple) else whole  # type: ignore[index]
            if node.op == "call_function":
                return self._call(node)
        except ConversionError as error:
            return error
        return UNKNOWN

    def _find_constant(self, node: fx.Node) -> Value:
        return self.exported.constants.get(node.name, UNKNOWN)

    def _present_images(self, node: fx.Node) -> Signal:
        image = node.meta["val"]
        self.batch = str(image.shape[0])
        shape = tuple(int(length) for length in image.shape[1:])
        offset = np.zeros(shape[0], dtype=np.int64)
        if self.normalisation is None:
            floats = bool(image.dtype.is_floating_point)
            return self.assembly.add(Input, "input", (), shape=shape, divisor=1, offset=offset, floats=floats)
        pixels = self.assembly.add(Input, "input", (), shape=shape, divisor=255, offset=offset)
        ones, zeros = np.ones(shape[0]), np.zeros(shape[0])
        mean, sigma = self.normalisation.mean, self.normalisation.deviation
        return self.assembly.add(
            BatchNorm, "input.norm", (pixels.node,), gamma=ones, beta=zeros, mean=mean, sigma=sigma
        )

    def _call(self, node: fx.Node) -> Value:
        operands = [self.values[each] for each in node.all_input_nodes]
        if not isinstance(node.target, torch._ops.OpOverload):
            errors = [operand for operand in operands if isinstance(operand, ConversionError)]
            images = any(isinstance(operand, Signal) for operand in operands)
            return errors[0] if errors else self._refuse(node, str(node.target)) if images else UNKNOWN
        schema = node.target._schema
        name = schema.name.split("::")[1]
        operation = name.rstrip("_") if schema.is_mutable else name
        changes = schema.is_mutable and operation not in _IN_PLACE_WITHOUT_CHANGE
        value = self._evaluate(node, node.target, operation, operands, changes)
        aliased = any(result.alias_info is not None for result in schema.returns)
        if node.args and isinstance(node.args[0], fx.Node) and (aliased or operation in _GIVES_ITS_INPUT):
            self._share(node, node.target, node.args[0])
            if changes:
                self._change(node.args[0], value)
        return value

    def _share(self, node: fx.Node, target: torch._ops.OpOverload, source: fx.Node) -> None:
        """Keep in mind that ``node`` sees the memory of ``source``: surely, perhaps (where a memory format is asked
        for), or not at all (where its type changes). The schema of ``aten::to`` says nothing of that."""
        result, before = node.meta.get("val"), source.meta.get("val")
        names = [argument.name for argument in target._schema.arguments]
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        if isinstance(result, Tensor) and isinstance(before, Tensor):
            if (result.dtype, result.device) != (before.dtype, before.device) or given.get("copy"):
                return
            if target._schema.name == "aten::contiguous" or given.get("memory_format") is not None:
                self.origins[node] = self._find_origin(source)
                return
        self.storage[node] = self.storage[source]

    def _find_origin(self, node: fx.Node) -> fx.Node:
        """The node whose memory this one sees, or may see."""
        root = self.storage[node]
        return self.origins.get(root, root)

    def _evaluate(
        self, node: fx.Node, target: torch._ops.OpOverload, operation: str, operands: list[Value], changes: bool
    ) -> Value:
        errors = [operand for operand in operands if isinstance(operand, ConversionError)]
        if errors:
            return errors[0]
        if isinstance(node.meta["val"], torch.SymInt | torch.SymFloat | torch.SymBool | int | float):
            return UNKNOWN
        if operation != "leaf" and not any(isinstance(operand, Signal | tuple) for operand in operands):
            return self._fold(node, target, operands, changes)
        handler = OPERATIONS.get(operation)
        if handler is None:
            return self._refuse(node, operation)
        try:
            value = handler(self._describe(node, target, operation))
            self._check_result(node, operation, value)
        except ConversionError as error:
            return error
        return value

    def _fold(self, node: fx.Node, target: torch._ops.OpOverload, operands: list[Value], changes: bool) -> Value:
        """Arithmetic on parameters alone, done now."""
        if changes:
            return ConversionError(
                f"{self._name(node, node.name)}: cannot capture a forward that changes its own parameters or buffers"
            )
        random = torch.Tag.nondeterministic_seeded in target.tags
        if random or not all(isinstance(operand, Tensor) for operand in operands):
            return UNKNOWN
        with torch.no_grad():
            return target(*self._look_up(node.args), **self._look_up(node.kwargs))

    def _describe(self, node: fx.Node, target: torch._ops.OpOverload, operation: str) -> Call:
        arguments = {}
        for place, argument in enumerate(target._schema.arguments):
            default = node.kwargs.get(argument.name, argument.default_value)
            arguments[argument.name] = self._look_up(node.args[place] if place < len(node.args) else default)
        name = self._name(node, operation)
        return Call(name, operation, arguments, self._shape(node), self.assembly, self.exported.leaves)

    def _look_up(self, given: Any) -> Any:
        find: Any = self.values.__getitem__
        return fx.map_arg(given, find)

    def _shape(self, node: fx.Node) -> tuple[int, ...]:
        """What the module itself gives, without the batch."""
        result = node.meta["val"]
        result = result[0] if isinstance(result, tuple | list) else result
        if len(result.shape) and str(result.shape[0]) == self.batch:
            lengths = result.shape[1:]
            if all(isinstance(length, int) for length in lengths):
                return tuple(lengths)
        if isinstance(self.values.get(node.args[0]) if node.args else None, Tensor):  # type: ignore[arg-type]
            return tuple(result.shape)
        raise ConversionError(
            f"{self._name(node, node.name)}: cannot capture a shape of {_show(result.shape)}: keep the batch first and "
            "apart from the other dimensions"
        )

    def _check_result(self, node: fx.Node, operation: str, value: Value) -> None:
        value = value[0] if isinstance(value, tuple) else value
        if not isinstance(value, Signal):
            return
        result = node.meta["val"]
        if operation not in _NO_ARITHMETIC and isinstance(result, Tensor) and not result.is_floating_point():
            raise ConversionError(
                f"{self._name(node, node.name)}: cannot capture {operation} in {result.dtype}, which is not that of "
                "real numbers: convert first: x.float()"
            )
        expected = self._shape(node)
        if value.shape != expected:
            raise ConversionError(
                f"{self._name(node, node.name)}: gives {expected}, where a captured graph gives {value.shape}: use "
                "ceil_mode=False"
            )

    def _change(self, changed: fx.Node, value: Value) -> None:
        """An in-place operation: everything that sees the same memory sees the new values."""
        old, storage, origin = self.values[changed], self.storage[changed], self._find_origin(changed)
        for other, where in self.storage.items():
            if other in self.values and where is storage:
                self.values[other] = value if _is_same(self.values[other], old) else self._refuse_view(other)
            elif other in self.values and self._find_origin(other) is origin:
                self.values[other] = self._refuse_view(other)

    def _refuse_view(self, node: fx.Node) -> ConversionError:
        return ConversionError(
            f"{self._name(node, node.name)}: cannot capture a view whose memory changes in place later on, or may: use "
            "the operation that is not in place"
        )

    def _refuse(self, node: fx.Node, operation: str) -> ConversionError:
        name, kind = self._find_module(node)
        remedy = REMEDIES.get(
            operation, "use convolutions, dense layers, BatchNorm, ReLU, pooling, sums, concatenations"
        )
        return ConversionError(f"{name or kind}: cannot capture {operation} (in {kind}): {remedy}")

    def _find_module(self, node: fx.Node) -> tuple[str, str]:
        """The path and the class of the innermost module that the operation belongs to."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, kind = stack[-1] if stack else ("", type(self.exported.model).__name__)
        name = path if not path.startswith("_empty") else ""
        return name, (kind if isinstance(kind, str) else kind.__name__).split(".")[-1]

    def _name(self, node: fx.Node, operation: str) -> str:
        """The module's path where the operation is all that it does, else path and operation."""
        path, _ = self._find_module(node)
        module = _find(self.exported.model, path)
        alone = module is not None and path and all(name == "parametrizations" for name, _ in module.named_children())
        return path if alone else ".".join(part for part in (path, _RENAMED.get(operation, operation)) if part)


_RENAMED = {"cat": "concatenate", "concat": "concatenate", "view": "flatten", "reshape": "flatten"}


def _is_same(one: Value, other: Value) -> bool:
    """Whether both see the same values in the same shape."""
    if isinstance(one, Signal) and isinstance(other, Signal):
        return (one.node, one.shape) == (other.node, other.shape)
    return one is other


def _find(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def _show(shape: torch.Size) -> str:
    return f"({', '.join(str(length) for length in shape)})"
