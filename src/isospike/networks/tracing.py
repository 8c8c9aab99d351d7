"""Capture: a trained module as a graph of arrays, ready for conversion."""

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
    SpikingGraph,
)
from isospike.networks.activations import LevelActivation
from isospike.networks.layers import Classifier, Layer, Pixels, SpikeDrop
from isospike.networks.network import Network
from isospike.networks.weights import read_latent, split_weight


def capture(model: nn.Module) -> SpikingGraph:
    """Turn a network of the notation into a graph: the quantised ANN, exactly as its stored floats define it.

    Weights come as integers and a scale where they are quantised, as float64 where not; BatchNorm as gamma, beta, mean
    and ``sigma = sqrt(var + eps)`` in float64.

    Args:
        model: a network from :func:`isospike.networks.build_network`, on any device, in any mode.

    Returns:
        A graph with ``t_max=None``.

    Raises:
        ConversionError: another module, a layer that isospike does not know, or values that are NaN or infinite.
    """
    if not isinstance(model, Network):
        raise ConversionError(
            f"capture: expected a network built by isospike.networks.build_network, got {type(model).__name__}: "
            "describe it in the network notation"
        )
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
    if isinstance(module, SpikeDrop):  # it acts while training only
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
        sigma = np.sqrt(_to_array(norm.running_var) + norm.eps)
        nodes.append(BatchNorm(f"{name}.norm", (nodes[-1].name,), gamma, beta, mean, sigma))
    if not isinstance(activation, LevelActivation):
        raise ConversionError(
            f"{name}: its activation {type(activation).__name__} has no levels, so no spike count can equal it: train "
            "with quantise.levels=median or qcfs"
        )
    try:
        step = activation.read_step()
    except ConversionError as error:
        raise ConversionError(f"{name}: {error}") from error
    nodes.append(Activation(f"{name}.neuron", (nodes[-1].name,), step, activation.levels))
    return nodes


def _read_weight(name: str, module: nn.Module) -> tuple[np.ndarray, np.ndarray | None]:
    if not torch.isfinite(read_latent(module)).all():  # rounding to integers would hide it
        raise ConversionError(f"{name}.weight: holds NaN or infinity; train or load the network anew")
    weight, scale = split_weight(module)
    if scale is None:
        return _to_array(weight), None
    return weight.cpu().numpy(), _to_array(scale)


def _to_array(tensor: Tensor | None) -> np.ndarray:
    """Float64: the rational number that each stored float is, unchanged."""
    if tensor is None:
        raise ConversionError("BatchNorm: expected running statistics, got none: train with track_running_stats=True")
    return tensor.detach().to("cpu", torch.float64).numpy().copy()
