"""What a training begins with, where a recipe says so: the weights of another network."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from isospike.errors import ConversionError, FileError, RecipeError
from isospike.experiment.run_folder import RunFolder
from isospike.files import read_bytes, read_json, read_tensors, write_json
from isospike.graph import SpikingGraph, load_graph
from isospike.networks import Network, restore
from isospike.training.checkpoints import INDEX

_ZOO = "zoo:"
_NOTE = "initial.json"
_PIXELS = 1000 * 32 * 32
"""Pixels a channel, of training images that BatchNorm's statistics are measured on, where a graph has none."""


def begin(model: Network, source: str, folder: RunFolder, draw: Callable[[], Tensor]) -> dict[str, str]:
    """Fill ``model`` with the weights that ``network.initial`` names, unless a checkpoint is there to take them from.

    Arguments:
        model: changed in place.
        source: a ``model.safetensors`` of the same network under other quantisation, an ``snn.safetensors`` of a
            lossless method, or ``zoo:NAME``.
        folder: of the run.
        draw: gives uint8 training images (n, channel, height, width), as they enter the network.

    Returns:
        ``source`` and the ``sha256`` of its file, for :func:`note` and the metrics: of what the training began with.

    Raises:
        FileError: the file is damaged or of another network, or there is none of that name in the zoo.
        ConversionError: a spiking graph of another network; see :func:`isospike.networks.restore`.
        RecipeError: a file that the training would take away.
    """
    noted = folder.training / _NOTE
    if (folder.training / INDEX).is_file() and noted.is_file():
        return {str(key): str(value) for key, value in read_json(noted).items()}
    path, graph = _open(source)
    if path.resolve().is_relative_to(folder.path.resolve()):
        raise RecipeError(
            f"network.initial: got {source}, which is in {folder.path}, where training removes earlier results: choose "
            "another --out"
        )
    if graph is None:
        load_weights(model, path)
    else:
        images = draw()
        try:
            restore(model, graph, images[: max(50, _PIXELS // images[0, 0].numel())])
        except ConversionError as error:
            raise ConversionError(f"network.initial: {path}: {error}") from error
    return {"source": source, "sha256": sha256(read_bytes(path)).hexdigest()}


def note(folder: RunFolder, initial: dict[str, str]) -> None:
    """Note beside the checkpoints what a training began with."""
    write_json(folder.training / _NOTE, initial)


def _open(source: str) -> tuple[Path, SpikingGraph | None]:
    """The file, and the spiking graph in it, if it holds one."""
    from isospike.zoo import find  # the zoo is made of experiments

    if source.startswith(_ZOO):
        entry = find(source.removeprefix(_ZOO))
        return entry.graph_path, entry.load()
    path = Path(source)
    if not path.is_file():
        raise FileError(
            f"network.initial: got {source!r}, expected a model.safetensors, an snn.safetensors or {_ZOO}NAME"
        )
    _, metadata = read_tensors(path)
    return path, load_graph(path) if "graph" in metadata else None


def load_weights(model: Network, path: Path) -> None:
    """Fill ``model`` with the weights of the same network under other quantisation: learned thresholds and latent
    weights are called otherwise there, or are not there at all. What the recipe says of pixels stays.

    Raises:
        FileError: the file is damaged, or its tensors are not those of this network.
    """
    tensors, _ = read_tensors(path)
    plain = {_strip_quantiser(name): array for name, array in tensors.items()}
    state = model.state_dict()
    for name, tensor in state.items():
        array = plain.get(_strip_quantiser(name))
        if name.endswith(("pixels.offset", ".gain")):
            continue
        if array is None and not name.endswith(".threshold"):
            raise FileError(f"{path}: the tensor {name} is missing: network.initial needs the same network's model")
        if array is None:
            continue
        if array.size != tensor.numel() or str(array.dtype) != str(tensor.dtype).removeprefix("torch."):
            raise FileError(
                f"{path}: {name} is {array.dtype} {array.shape}, expected {tensor.dtype} {tuple(tensor.shape)}: "
                "network.initial needs the same network's model"
            )
        state[name] = torch.from_numpy(array.copy()).reshape(tensor.shape)
    model.load_state_dict(state)


def _strip_quantiser(name: str) -> str:
    return name.replace("parametrizations.weight.original", "weight")
