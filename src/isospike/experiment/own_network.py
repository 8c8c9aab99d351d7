"""A network of the user's own: a function in a file of theirs, and weights that cannot execute code."""

import difflib
import importlib.util
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn

from isospike.errors import ConversionError, FileError
from isospike.experiment.own_settings import OwnNetwork, PixelScale
from isospike.files import read_bytes
from isospike.graph import SpikingGraph
from isospike.networks import Pixels, capture
from isospike.networks.onnx_reader import OnnxNetwork, load_onnx

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 3


def build_own_network(place: str) -> nn.Module:
    """Run the user's file and let its function build the network.

    Args:
        place: ``FILE.py:function``; a class of modules, or a module that is there already, serves too. Or
            ``FILE.onnx``, of which nothing is run.

    Returns:
        The module, in eval mode.

    Raises:
        FileError: the file is not there.
        ConversionError: it cannot be run, has no such function, or what that gives is no ``nn.Module``.
    """
    if place.endswith(".onnx"):
        return load_onnx(place).eval()
    file, separator, name = place.rpartition(":")
    if not separator or not file.endswith(".py") or not name:
        raise ConversionError(f"--model {place}: expected FILE.py:function, such as net.py:build, or FILE.onnx")
    path = Path(file)
    if not path.is_file():
        raise FileError(f"--model {place}: there is no file {path}")
    found = getattr(module := _run_file(path, place), name, None)
    if found is None:
        nearest = difflib.get_close_matches(name, [known for known in vars(module) if known[0] != "_"], n=1)
        hint = f": did you mean {nearest[0]!r}?" if nearest else ""
        raise ConversionError(f"--model {place}: {path} has nothing called {name!r}{hint}")
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise ConversionError(f"--model {place}: {name} is a {type(found).__name__}, expected a function")
        try:
            found = found()
        except Exception as error:  # whatever the user's code raises
            raise ConversionError(f"--model {place}: {name}() failed: {_describe(error)}") from error
    if not isinstance(found, nn.Module):
        raise ConversionError(f"--model {place}: {name}() gave a {type(found).__name__}, expected a torch.nn.Module")
    return found.eval()


def _run_file(path: Path, place: str) -> ModuleType:
    """Run a file as Python runs a script: it may import what lies beside it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileError(f"--model {place}: {path} cannot be run as Python")
    module = importlib.util.module_from_spec(spec)
    beside = str(path.parent.resolve())
    sys.path.insert(0, beside)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise ConversionError(f"--model {place}: {path} cannot be run: {_describe(error)}") from error
    finally:
        sys.path.remove(beside)
    return module


def _describe(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill ``model`` from a file of tensors; nothing in the file is executed.

    ``.safetensors``, else a file of ``torch.save`` read with ``weights_only=True``: a state dict, itself or under
    ``state_dict``, ``model_state_dict`` or ``model``; the prefixes ``module.`` and ``_orig_mod.``, which wrappers put
    before every name, are taken off.

    Raises:
        FileError: the file cannot be read, or its tensors are not the model's; one line names the first of them.
    """
    state = _unwrap(_read_state(path))
    expected = model.state_dict()
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name not in expected]
    other = [
        f"{name} is {tuple(state[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape and not (state[name].numel() == tensor.numel() == 1)
    ]
    complaints = [
        f"{word} {', '.join(names[:_SHOWN])}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        for word, names in (("missing:", missing), ("unknown:", extra), ("of another shape:", other))
        if names
    ]
    if complaints:
        raise FileError(
            f"{path}: its tensors are not those of the {type(model).__name__}: {'; '.join(complaints)}: give the "
            "weights of this network"
        )
    model.load_state_dict({name: value.view_as(expected[name]) for name, value in state.items()}, strict=False)


def _read_state(path: Path) -> Any:
    if path.suffix == ".safetensors":
        content = read_bytes(path)
        try:
            return parse_safetensors(content)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise FileError(
                f"{path}: expected a whole safetensors file, got one that does not parse ({error}): write it anew"
            ) from error
    if not path.is_file():
        raise FileError(f"{path}: there is no such file: give the network's weights with --weights")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch have errors of their own
        raise FileError(
            f"{path}: cannot be read as plain tensors ({_describe(error)}); nothing else in a file is ever executed: "
            "save it with torch.save(model.state_dict(), path), or as .safetensors"
        ) from error


def _unwrap(state: Any) -> Mapping[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    entries = state.items() if isinstance(state, Mapping) else ()
    if not entries or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in entries):
        keys = ", ".join(map(str, list(state)[:_SHOWN])) if isinstance(state, Mapping) else ""
        got = f"the keys {keys}" if keys else f"a {type(state).__name__}"
        raise FileError(f"--weights: expected a state dict of tensors, got {got}: save model.state_dict()")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def capture_own(own: OwnNetwork) -> SpikingGraph:
    """Build, fill and capture the user's network, its pixels folded in.

    Raises:
        FileError: a file that is not there, or weights of another network.
        ConversionError: code that fails, an operation that cannot be captured, options that do not fit.
    """
    channels = own.in_shape[0]
    model = build_own_network(own.model)
    if own.weights is not None:
        load_weights(model, own.weights)
    normalises = isinstance(model, OnnxNetwork) and model.takes_bytes
    if normalises or any(isinstance(module, Pixels) for module in model.modules()):
        if own.pixels is not None:
            raise ConversionError(f"{own.model}: it takes raw pixels already: leave --mean, --std and --pixels out")
        return capture(model, torch.zeros(2, *own.in_shape, dtype=torch.uint8))
    scale = own.pixels or PixelScale()
    if scale.mean is not None or scale.deviation is not None:
        mean, deviation = scale.mean or (0.0,) * channels, scale.deviation or (1.0,) * channels
        return capture(model, torch.zeros(2, *own.in_shape), pixels=(mean, deviation))
    offset = scale.offset * channels if len(scale.offset) == 1 else scale.offset
    if len(offset) != channels or scale.divisor < 1 or not all(0 <= value <= 255 for value in offset):
        raise ConversionError(
            f"--pixels: expected 1 or {channels} offsets from 0 to 255 and a divisor above 0, got {scale.offset} and "
            f"{scale.divisor}"
        )
    example = torch.zeros(2, *own.in_shape, dtype=torch.uint8)
    behind = nn.Sequential(OrderedDict([("pixels", Pixels(offset, scale.divisor)), ("network", model)]))
    return _rename(capture(behind, example))


def _rename(graph: SpikingGraph) -> SpikingGraph:
    """The names that the user's own modules have."""

    def shorten(name: str) -> str:
        return name.removeprefix("network.")

    if len({shorten(node.name) for node in graph}) < len(graph.nodes):
        return graph
    return SpikingGraph(
        tuple(replace(node, name=shorten(node.name), inputs=tuple(map(shorten, node.inputs))) for node in graph)
    )
