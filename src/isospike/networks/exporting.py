"""From a module to a flat graph of ATen operations: ``torch.export``, and ``torch.fx`` where that refuses."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from isospike.errors import ConversionError
from isospike.networks.activations import LevelActivation
from isospike.networks.layers import Classifier, Pixels
from isospike.networks.weights import ChannelGain, QuantisedWeight

_LEAVES = (LevelActivation, Pixels, QuantisedWeight, ChannelGain)
_FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError, ArithmeticError)
"""What a user's forward, torch.export and torch.fx raise when a module cannot be traced."""
_NOTES = ("numpy", "item", "tolist")
"""Methods that take a tensor out of the computation."""


@dataclass(frozen=True)
class Exported:
    """A module as a graph of ATen operations.

    Attributes:
        graph: the operations, in order; each node's ``meta["val"]`` tells shapes and ``meta["nn_module_stack"]`` where
            it came from.
        constants: parameters, buffers and tensors written in the code, by the name of their placeholder.
        image: the name of the placeholder of the images.
        leaves: the modules that stay one operation, ``isospike::leaf``, by its index.
        model: the module itself.
    """

    graph: fx.Graph
    constants: dict[str, Tensor]
    image: str
    leaves: list[nn.Module]
    model: nn.Module


def export_module(model: nn.Module, example: Tensor) -> Exported:
    """Trace ``model`` in eval mode with its batch dimension left open; the module stays as it was.

    Level activations, ``Pixels`` and quantised weights stay one operation each.

    Args:
        model: any module that takes images (batch, channel, height, width).
        example: such images, at least 2.

    Raises:
        ConversionError: neither torch.export nor torch.fx can trace it; the message names the module where it failed.
    """
    leaves: list[nn.Module] = [module for module in model.modules() if isinstance(module, _LEAVES)]
    program: ExportedProgram | None = None
    with _prepare(model, leaves), _silence(), torch.no_grad():
        entered: list[nn.Module] = []
        try:
            with _follow(entered):
                program = _export(model, example)
        except _FAILURES as error:
            where = _find_name(model, entered)
            try:
                program = _export(_retrace(model), example)
            except _FAILURES:
                raise ConversionError(f"{where}: {_explain(error)}") from error
    _check_batch(model, program)
    signature = program.graph_signature
    stored = {
        **dict(model.named_parameters()),
        **dict(model.named_buffers()),
        **program.state_dict,
        **program.constants,
    }
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    constants = {name: stored[target] for name, target in names.items()}
    return Exported(program.graph, constants, signature.user_inputs[0], leaves, model)


@torch.library.custom_op("isospike::leaf", mutates_args=())
def _leaf(x: Tensor, index: int) -> Tensor:
    """A module that stays whole in an exported graph; it is looked at and never run."""
    raise NotImplementedError(f"leaf {index} of {tuple(x.shape)}")


@_leaf.register_fake
def _(x: Tensor, index: int) -> Tensor:  # noqa: ARG001
    return torch.empty_like(x, dtype=x.dtype if x.is_floating_point() else torch.float32)


def _classify(classifier: Classifier, x: Tensor) -> Tensor:
    """A classifier without the rounding of its bias, which conversion does itself."""
    return nn.functional.linear(x, classifier.weight, classifier.bias)


@contextmanager
def _prepare(model: nn.Module, leaves: list[nn.Module]) -> Iterator[None]:
    """Eval mode and leaves; afterwards every module has the attributes that it had, whatever its forward assigned."""
    before = [pair for module in model.modules() for pair in _copy_state(module)]
    try:
        model.eval()
        for index, leaf in enumerate(leaves):
            leaf.forward = partial(torch.ops.isospike.leaf, index=index)
        for module in model.modules():
            if isinstance(module, Classifier):
                module.forward = partial(_classify, module)  # type: ignore[method-assign]
        yield
    finally:
        for container, content in before:
            container.clear()
            container.extend(content) if isinstance(container, list) else container.update(content)


def _copy_state(module: nn.Module) -> list[tuple[Any, Any]]:
    """A module's attributes, and its lists, sets and dictionaries (buffers too), each with a copy of what it holds."""
    held = [value for value in vars(module).values() if isinstance(value, list | set | dict)]
    return [(container, container.copy()) for container in (vars(module), *held)]


@contextmanager
def _silence() -> Iterator[None]:
    """What torch.export says beside its exception would hide the one line that we say."""
    previous = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(previous)


@contextmanager
def _follow(entered: list[nn.Module]) -> Iterator[None]:
    """Keep the modules that have been entered and not left: after a failure, the last is where it happened."""

    def enter(module: nn.Module, arguments: tuple) -> None:  # noqa: ARG001
        entered.append(module)

    def leave(module: nn.Module, arguments: tuple, output: object) -> None:  # noqa: ARG001
        entered.pop()

    with ExitStack() as stack:
        handles: list[RemovableHandle] = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        for handle in handles:
            stack.callback(handle.remove)
        yield


def _export(model: nn.Module, example: Tensor) -> ExportedProgram:
    return torch.export.export(model, (example,), dynamic_shapes=({0: Dim.DYNAMIC},), strict=False)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Leaves of ours beside those of torch.nn."""
        return isinstance(m, (*_LEAVES, Classifier)) or super().is_leaf_module(m, module_qualified_name)


def _retrace(model: nn.Module) -> nn.Module:
    """The operations alone, without the Python around them that torch.export does not like, such as values noted down
    that nothing is computed from."""
    graph = _Tracer().trace(model)
    graph.eliminate_dead_code(lambda node: node.op != "call_method" or node.target not in _NOTES)
    return fx.GraphModule(model, graph)


def _find_name(model: nn.Module, entered: list[nn.Module]) -> str:
    names = {module: name for name, module in model.named_modules()}
    name = next((names[module] for module in reversed(entered) if names.get(module)), "")
    return name or type(model).__name__


def _explain(error: Exception) -> str:
    """One line: what cannot be traced and what to do about it."""
    text = str(error).strip()
    if "data-dependent" in text or "control flow" in text:
        return (
            "cannot capture control flow (or a number) that depends on the values of a tensor: take it out of forward, "
            "every image must pass the same operations"
        )
    if "specialized it to be a constant" in text:
        return (
            "cannot capture a forward that makes a constant of the batch size: write x.flatten(1) or x.shape[0], not "
            "len(x) or a number"
        )
    first = text.splitlines()[0] if text else "no message"
    return (
        f"cannot trace its forward ({type(error).__name__}: {first[:200]}): check that the model takes the example, "
        "and keep to torch operations on tensors"
    )


def _check_batch(model: nn.Module, program: ExportedProgram) -> None:
    """Refuse a forward that chooses by the number of images: what was traced would hold for some batches only."""
    if any(limits.upper < 1 << 30 or limits.lower > 2 for limits in program.range_constraints.values()):
        raise ConversionError(
            f"{type(model).__name__}: cannot capture a forward that depends on the batch size: every batch must pass "
            "the same operations"
        )
