"""A training on disk after each epoch: enough to go on as if it had never stopped.

``checkpoint.json`` names the file of tensors that belongs to it and is written last, so what it names is whole.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isospike.data import Augmentation, Images, ImageStream
from isospike.errors import FileError, TrainingError
from isospike.files import read_json, read_tensors, write_json, write_tensors
from isospike.training.configuration import TrainingConfig
from isospike.training.history import EpochReport

INDEX = "checkpoint.json"


def describe_run(
    model: nn.Module,
    config: TrainingConfig,
    augmentation: Augmentation | None,
    data: Images,
    teacher: nn.Module | None = None,
) -> dict[str, Any]:
    """What must be the same for a training to go on: every setting, every module as built, the images, the teacher."""
    facts = {
        **{f"train.{key}": value for key, value in asdict(config).items()},
        **{f"augmentation.{key}": value for key, value in asdict(augmentation or Augmentation()).items()},
        **{f"network.{name}": f"{type(part).__name__}({part.extra_repr()})" for name, part in model.named_modules()},
        "data.images": len(data),
        "data.shape": data.shape,
        "data.checksum": _checksum(data),
    }
    if teacher is not None:
        facts["teacher.checksum"] = _check_weights(teacher)
    described: dict[str, Any] = json.loads(json.dumps(facts))
    return described


def _checksum(data: Images) -> str:
    """Of pixels and labels; of a stream, whose images nobody has seen yet, of its place and framing."""
    if isinstance(data, ImageStream):
        return f"{zlib.crc32(repr((data.rows.place, data.classes, data.framing)).encode()):08x}"
    images = data.to("cpu")
    pixels = zlib.crc32(images.images.contiguous().numpy().data)
    return f"{zlib.crc32(images.labels.contiguous().numpy().data, pixels):08x}"


def _check_weights(model: nn.Module) -> str:
    total = 0
    for value in model.state_dict().values():
        total = zlib.crc32(np.ascontiguousarray(value.detach().cpu().numpy()).data, total)
    return f"{total:08x}"


def write_checkpoint(
    folder: Path,
    run: Mapping[str, Any],
    history: list[EpochReport],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    kept: Mapping[str, nn.Module],
) -> None:
    """Write weights, optimiser state, what else is ``kept`` (averaged weights, losses of images) and history into
    ``folder``; the checkpoint before stays until this one is whole.

    Raises:
        FileError: the folder cannot be written.
        TrainingError: the network holds something that a file of plain arrays cannot.
    """
    epoch = len(history)
    tensors = folder / f"checkpoint-{epoch}.safetensors"
    write_tensors(tensors, _collect_arrays(model, optimiser, kept), {"epoch": str(epoch)})
    content = {"epoch": epoch, "tensors": tensors.name, "run": run, "history": [asdict(report) for report in history]}
    write_json(folder / INDEX, content)
    for old in folder.glob("checkpoint-*.safetensors"):
        if old != tensors:
            old.unlink(missing_ok=True)


def read_checkpoint(
    folder: Path,
    run: Mapping[str, Any],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    kept: Mapping[str, nn.Module],
) -> list[EpochReport]:
    """Put the weights, the optimiser state and what else is ``kept`` of the last checkpoint in place.

    Returns:
        The reports of the epochs that are done; none where ``folder`` has no checkpoint, and nothing changes then.

    Raises:
        FileError: a file is truncated or missing.
        TrainingError: the checkpoint belongs to another configuration, other images or another network.
    """
    index = folder / INDEX
    if not index.exists():
        return []
    content = read_json(index)
    try:
        name, before = str(content["tensors"]), dict(content["run"])
        history = [EpochReport(**report) for report in content["history"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"{index}: expected the keys tensors, run and history, got {', '.join(content) or 'none'}: delete it"
        ) from error
    _check_run(index, before, run)
    arrays, _ = read_tensors(folder / Path(name).name)
    path = folder / Path(name).name
    _place_state(path, arrays, "model.", model)
    for name, part in kept.items():
        _place_state(path, arrays, f"{name}.", part)
    _place_optimiser(arrays, model, optimiser)
    return history


def _check_run(index: Path, before: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    before = {**_list_defaults(), **before}  # a checkpoint from before a setting existed was made as by its default
    for key in dict.fromkeys((*run, *before)):
        if run.get(key) != before.get(key):
            raise TrainingError(
                f"{index}: it was made with {key} = {before.get(key)!r}, expected {run.get(key)!r}: delete the "
                "checkpoint, or write to another folder with --out"
            )


def _list_defaults() -> dict[str, Any]:
    settings = {"train": TrainingConfig, "augmentation": Augmentation}
    defaults: dict[str, Any] = {
        f"{section}.{field.name}": field.default
        for section, kind in settings.items()
        for field in fields(kind)
        if field.default is not MISSING
    }
    return defaults


def _collect_arrays(
    model: nn.Module, optimiser: torch.optim.Optimizer, kept: Mapping[str, nn.Module]
) -> dict[str, np.ndarray]:
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    for part_name, part in kept.items():
        tensors |= {f"{part_name}.{name}": value for name, value in part.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{name}.{key}"] = value
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or value.dtype == torch.bfloat16:
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TrainingError(f"checkpoint: {name} is {got}, expected a tensor of float32 or integers: keep it so")
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}


def _place_state(path: Path, arrays: Mapping[str, np.ndarray], prefix: str, model: nn.Module) -> None:
    expected = model.state_dict()
    state: dict[str, Tensor] = {}
    found = {name.removeprefix(prefix) for name in arrays if name.startswith(prefix)}
    for name in dict.fromkeys((*expected, *sorted(found))):
        array = arrays.get(f"{prefix}{name}")
        got = "none" if array is None else str(_shape(array, expected.get(name)))
        wanted = str(tuple(expected[name].shape)) if name in expected else "none"
        if array is None or got != wanted:
            raise TrainingError(
                f"{path}: it holds another network: the tensor {name} has the shape {got}, expected {wanted}: delete "
                "the checkpoint, or write to another folder with --out"
            )
        state[name] = torch.from_numpy(array.reshape(expected[name].shape))
    model.load_state_dict(state)


def _place_optimiser(arrays: Mapping[str, np.ndarray], model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    for name, parameter in model.named_parameters():
        prefix = f"optimiser.{name}."
        for key in [key for key in arrays if key.startswith(prefix) and "." not in key.removeprefix(prefix)]:
            value = torch.from_numpy(arrays[key])
            if key.endswith(".step"):
                kept = value.reshape(()).to(parameter.device)
            else:
                # The layout in memory is the parameter's, or a fused step would pair the wrong elements.
                kept = torch.empty_like(parameter, requires_grad=False).copy_(value)
            optimiser.state[parameter][key.removeprefix(prefix)] = kept


def _shape(array: np.ndarray, expected: Tensor | None) -> tuple[int, ...]:
    """The shape of an array; one that holds a scalar may come back from a file with a dimension of 1."""
    return () if expected is not None and expected.ndim == 0 and array.size == 1 else array.shape
