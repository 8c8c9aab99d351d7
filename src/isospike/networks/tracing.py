"""Capture: a trained module as a graph of arrays, ready for conversion."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from isospike.errors import ConversionError, GraphError
from isospike.graph import (
    Activation,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    Rectifier,
    SpikingGraph,
)
from isospike.networks.activations import LevelActivation
from isospike.networks.exporting import export_module
from isospike.networks.layers import Classifier, Layer, Pixels, SpikeDrop
from isospike.networks.named import NamedNetwork
from isospike.networks.network import Network
from isospike.networks.translation import Normalisation, Translator
from isospike.networks.weights import read_latent, split_weight


def capture(
    model: nn.Module, example: Tensor | None = None, *, pixels: tuple[Sequence[float], Sequence[float]] | None = None
) -> SpikingGraph:
    """Turn a trained classifier into a graph of arrays: what it computes in eval mode, as its stored floats define it.

    Weights come as integers and a scale where they are quantised, as float64 where not; BatchNorm as gamma, beta, mean
    and ``sigma = sqrt(var + eps)`` in float64; a level activation stays one node. The module is left as it was, mode
    included. What can be captured: Conv2d, Linear, BatchNorm, ReLU, ReLU6, level activations, average, max, adaptive
    and global pooling, flattening, dropout, sums and concatenations of branches, arithmetic with a constant per
    channel, modules that are used more than once, operations in place.

    What comes in, and so what the graph's Input says:

    * a module that begins with :class:`isospike.networks.Pixels` takes raw pixels: only this way is the network exact
      in integers from the pixel on;
    * with ``pixels=(mean, deviation)`` the module takes float images ``(p / 255 - mean) / deviation``, and the graph
      takes the raw pixels p: the normalisation is its first node, a BatchNorm called ``input.norm``;
    * an ``example`` of uint8 says that the module takes raw pixels and normalises them itself;
    * else the graph takes float images as the module does (``Input.floats``).

    Args:
        model: any module, on any device, in any mode. A network from :func:`isospike.networks.build_network` or
            ``build_architecture`` needs no example.
        example: images (batch of at least 2, channel, height, width) such as the module takes, float or uint8. Only
            their shape and type matter; the graph takes any number of images.
        pixels: mean and standard deviation of each channel, in units of 0 to 1.

    Returns:
        A graph with ``t_max=None``.

    Raises:
        ConversionError: an operation that cannot be captured, named with its module and a remedy; an example that does
            not fit; ``pixels`` for a network that takes raw ones; values that are NaN or infinite.
    """
    model = _unwrap(model)
    if isinstance(model, Network) and pixels is not None:
        raise ConversionError(
            f"pixels: a {type(model).__name__} begins with Pixels and takes raw pixels already: leave pixels out"
        )
    if isinstance(model, NamedNetwork):
        example = torch.zeros(2, *model.in_shape, dtype=torch.uint8) if example is None else example
    elif isinstance(model, Network):
        return _capture_network(model)
    if example is None or example.dim() != 4 or len(example) < 2:
        came = "none" if example is None else f"the shape {tuple(example.shape)}"
        raise ConversionError(
            f"capture: a {type(model).__name__} needs example images (batch of at least 2, channel, height, width), "
            f"got {came}: give capture(model, example)"
        )
    if example.dtype is not torch.uint8 and not example.is_floating_point():
        raise ConversionError(f"capture: expected example images of float or uint8, got {example.dtype}: convert them")
    normalisation = None if pixels is None else _read_normalisation(pixels, example.shape[1])
    if normalisation is not None and not example.is_floating_point():
        example = example.float()
    parameter = next(model.parameters(), None)
    if parameter is not None:
        example = example.to(parameter.device)
        example = example.to(parameter.dtype) if example.is_floating_point() else example
    return Translator(export_module(model, example), normalisation).run()


def _unwrap(model: nn.Module) -> nn.Module:
    """The module inside torch.compile, DataParallel or DistributedDataParallel."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = model.module
    return _unwrap(inner) if isinstance(inner, nn.Module) else model


def _read_normalisation(pixels: tuple[Sequence[float], Sequence[float]], channels: int) -> Normalisation:
    try:
        both = np.array([np.array(values, dtype=np.float64) for values in pixels])
    except (ValueError, TypeError):  # of different lengths, or no numbers
        both = np.empty(0)
    if both.shape != (2, channels) or not np.isfinite(both).all() or not (both[1] > 0).all():
        raise ConversionError(
            f"pixels: expected a mean and a deviation above 0 for each of {channels} channels, got "
            f"{' '.join(str(pixels).split())}"
        )
    return Normalisation(both[0], both[1])


def _capture_network(model: Network) -> SpikingGraph:
    """A network of the notation, layer by layer; no tracing."""
    nodes: list[Node] = []
    for name, module in model.named_children():
        nodes.extend(_capture_layer(name, module, nodes, model.in_shape))
    try:
        return SpikingGraph(tuple(nodes))
    except GraphError as error:
        raise ConversionError(str(error)) from error


def _capture_layer(name: str, module: nn.Module, before: list[Node], in_shape: tuple[int, int, int]) -> list[Node]:
    if isinstance(module, Pixels):
        return [Input(name, (), in_shape, module.divisor, module.offset.cpu().numpy().astype(np.int64))]
    inputs = (before[-1].name,)
    if isinstance(module, Layer):
        return _capture_block(name, module, inputs)
    if isinstance(module, Classifier):
        weight, scale = _read_weight(name, module)
        bias = _to_array(module.bias)
        return [Dense(name, inputs, weight, scale), Readout("readout", (name,), bias)]
    if isinstance(module, nn.Flatten):
        return [Flatten(name, inputs)]
    if isinstance(module, SpikeDrop | nn.Dropout):  # these act while training only
        return []
    if isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
        window = int(module.kernel_size)  # type: ignore[arg-type]
        kind = AveragePool if isinstance(module, nn.AvgPool2d) else MaxPool
        return [kind(name, inputs, (window, window), (window, window))]
    raise ConversionError(f"{name}: cannot capture a {type(module).__name__}; build the network from the notation")


def _capture_block(name: str, layer: Layer, inputs: tuple[str, ...]) -> list[Node]:
    synapses, norm, activation = layer.synapses, layer.norm, layer.activation
    weight, scale = _read_weight(name, synapses)
    bias = None if synapses.bias is None else _to_array(synapses.bias)
    nodes: list[Node] = []
    if isinstance(synapses, nn.Conv2d):
        geometry = {key: getattr(synapses, key) for key in ("stride", "padding", "dilation", "groups")}
        nodes.append(Convolution(name, inputs, weight, **geometry, scale=scale, bias=bias))
    else:
        nodes.append(Dense(name, inputs, weight, scale, bias))
    if norm is not None:
        gamma, beta, mean = (_to_array(value) for value in (norm.weight, norm.bias, norm.running_mean))
        with np.errstate(invalid="ignore"):  # a variance below zero becomes NaN, which the graph refuses
            sigma = np.sqrt(_to_array(norm.running_var) + norm.eps)
        nodes.append(BatchNorm(f"{name}.norm", (nodes[-1].name,), gamma, beta, mean, sigma))
    if isinstance(activation, nn.ReLU):
        return [*nodes, Rectifier(f"{name}.neuron", (nodes[-1].name,))]
    if not isinstance(activation, LevelActivation):
        kind = type(activation).__name__
        raise ConversionError(f"{name}: cannot capture its activation {kind}: use median, qcfs or ReLU")
    try:
        step = activation.read_step()
    except ConversionError as error:
        raise ConversionError(f"{name}: {error}") from error
    nodes.append(Activation(f"{name}.neuron", (nodes[-1].name,), step, activation.levels))
    return nodes


def _read_weight(name: str, module: nn.Module) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        weight, scale = split_weight(module)
    except ConversionError as error:
        raise ConversionError(f"{name}: {error}") from error
    if not torch.isfinite(read_latent(module)).all():  # rounding to integers would hide it
        raise ConversionError(f"{name}.weight: holds NaN or infinity; train or load the network anew")
    if scale is None:
        return _to_array(weight), None
    return weight.cpu().numpy(), _to_array(scale)


def _to_array(tensor: Tensor | None) -> np.ndarray:
    """Float64: the rational number that each stored float is, unchanged."""
    if tensor is None:
        raise ConversionError("BatchNorm: expected running statistics, got none: train with track_running_stats=True")
    return tensor.detach().to("cpu", torch.float64).numpy().copy()
