"""A network's weights from a spiking graph: where further training begins."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isospike.errors import ConversionError
from isospike.graph import (
    AveragePool,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.graph.nodes import is_integer
from isospike.networks.activations import LevelActivation
from isospike.networks.layers import Classifier, Layer
from isospike.networks.named import NamedNetwork
from isospike.networks.network import Network
from isospike.networks.tracing import capture
from isospike.networks.weights import ChannelGain

_SIZE = 0.02
"""Root mean square of latent weights that come from integers: about what trained ones have."""


def restore(model: nn.Module, graph: SpikingGraph, images: Tensor) -> None:
    """Give a network the weights of a spiking graph of the same architecture, as a start for more training.

    The network then computes what the graph's neurons settle to: the same counts where it has the same levels and kind
    of weights, and the same logits; a network of other levels starts from those counts, clipped to its own. Integer
    weights become latent weights of the size that trained ones have, the graph's thresholds become BatchNorm's gains
    and shifts, and BatchNorm's statistics are measured on ``images``.

    Arguments:
        model: from :func:`build_network`, with BatchNorm and levels; changed in place.
        graph: of a lossless method (its neurons count), of a network of the same notation.
        images: uint8 (n, channel, height, width), some hundreds of the training images.

    Raises:
        ConversionError: a graph that branches or does not count, or that is of another network; a network that is not
            of the notation, or without BatchNorm or levels; no images, or of another shape. The network is as it was
            then.
    """
    _check_network(model)
    stages = _list_stages(graph)
    _check_same(graph, capture(model))
    if images.dim() != 4 or not len(images) or tuple(images.shape[1:]) != graph.input.shape:
        raise ConversionError(f"images: expected (n, {graph.input.shape}), got {tuple(images.shape)}")
    layers = [module for module in model.modules() if isinstance(module, Layer)]
    classifier = next(module for module in model.modules() if isinstance(module, Classifier))
    matches = [_Match(layer, stage) for layer, stage in zip(layers, stages, strict=False)]
    hooks = [match.norm.register_forward_pre_hook(match) for match in matches]
    training, readout, worth = model.training, graph.readout, 1 / graph.input.divisor
    try:
        with torch.no_grad():
            for match in matches:
                match.fill(worth)
                worth = match.q
            last = stages[-1]
            _set_weight(classifier, torch.from_numpy(last.weight * (readout.scale * last.windows / worth)))
            classifier.bias.copy_(torch.from_numpy(readout.scale * readout.bias))
            model.eval()(images)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True, eq=False)
class _Stage:
    """Synapses, what average pooling before them divides by, and what they feed."""

    weight: np.ndarray
    windows: int
    end: Node


class _Match:
    """A layer that is to count as a neuron of the graph does.

    A neuron counts ``floor((V - threshold) / step) + 1``, an activation ``floor(z / q + 1/2)``: so
    ``z = q * ((V - threshold) / step + 1/2)``. BatchNorm, called with the layer's currents, takes their statistics, and
    the gain and shift that give this z.
    """

    def __init__(self, layer: Layer, stage: _Stage) -> None:
        neuron = stage.end
        if layer.norm is None or not isinstance(layer.activation, LevelActivation):
            raise ConversionError("a graph fits a network with BatchNorm and levels alone: give a model.safetensors")
        if not isinstance(neuron, CountingNeuron) or neuron.step is None or neuron.start is not None:
            raise ConversionError(
                f"{neuron.name}: expected a neuron that counts from 0, by a threshold and a step for each channel: a "
                "graph with tables of thresholds cannot be trained on"
            )
        self.layer, self.stage, self.norm, self.q = layer, stage, layer.norm, float(layer.activation.read_step())
        threshold, unit = neuron.threshold, 2.0 ** -(neuron.fraction_bits or 0)
        if is_integer(threshold):
            threshold = threshold - 0.5  # deserves the same counts, and no V is so near that rounding could decide
        self.threshold, self.step = (torch.from_numpy(a * unit) for a in (threshold, neuron.step))
        self.worth = torch.ones(len(threshold), dtype=torch.float64)

    def fill(self, worth: float) -> None:
        """Set the latent weights; a spike coming in is worth ``worth``."""
        given = torch.from_numpy(self.stage.weight.astype(np.float64))
        whole = is_integer(self.stage.weight)
        _set_weight(
            self.layer.synapses, given * (_SIZE / given.square().mean().sqrt().clamp(min=1e-9)) if whole else given
        )
        # how many times these weights the layer computes with, channel by channel; any number serves for one of zeros
        taken, given = self.layer.synapses.weight.double().flatten(1), given.flatten(1)
        ratio = torch.where(given.any(1), (taken * given).sum(1) / given.square().sum(1), 1.0)
        self.worth = ratio * worth / self.stage.windows  # what a unit of V is in the layer's current

    def __call__(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Set ``norm`` for the currents that it is given."""
        current = inputs[0]
        places = [axis for axis in range(current.dim()) if axis != 1]
        variance, mean = (each.double().cpu() for each in torch.var_mean(current, places, correction=0))
        slope = self.q / (self.step * self.worth)
        values = {
            "running_mean": mean,
            "running_var": variance,
            "weight": slope * torch.sqrt(variance + self.norm.eps),
            "bias": slope * (mean - self.threshold * self.worth) + self.q / 2,
        }
        for name, value in values.items():
            getattr(norm, name).copy_(value)


def _check_network(model: nn.Module) -> None:
    gained = any(isinstance(module, ChannelGain) for module in model.modules())
    if not isinstance(model, Network) or isinstance(model, NamedNetwork) or gained:
        raise ConversionError(
            "a graph fits a network of the notation alone, without network.deviation: give a model.safetensors"
        )


def _check_same(graph: SpikingGraph, ann: SpikingGraph) -> None:
    """The layers of the graph are those of the captured network."""
    for got, wanted in zip_longest(_describe(graph), _describe(ann)):
        if got != wanted:
            raise ConversionError(
                f"the graph has {got or 'no more layers'}, expected {wanted or 'none'}, as the network has: give a "
                "graph of the same network"
            )


def _describe(graph: SpikingGraph) -> Iterator[str]:
    for node in graph:
        if isinstance(node, Input):
            yield f"pixels {node.shape} minus {node.offset.tolist()} over {node.divisor}"
        elif isinstance(node, Convolution):
            geometry = f"stride {node.stride}, padding {node.padding}, dilation {node.dilation}, groups {node.groups}"
            yield f"a convolution {node.weight.shape}, {geometry}"
        elif isinstance(node, Dense):
            yield f"a dense layer {node.weight.shape}"
        elif isinstance(node, AveragePool | MaxPool):
            kind = "an average pool" if isinstance(node, AveragePool) else "a max pool"
            yield f"{kind} {node.kernel}, stride {node.stride}, padding {node.padding}"


def _list_stages(graph: SpikingGraph) -> list[_Stage]:
    stages: list[_Stage] = []
    weight: np.ndarray | None = None
    windows, before = 1, None
    for node in graph:
        if node.inputs != (() if before is None else (before,)):
            raise ConversionError(f"{node.name} has the inputs {', '.join(node.inputs)}, expected one chain of layers")
        before = node.name
        if isinstance(node, Convolution | Dense):
            weight = node.weight
        elif isinstance(node, AveragePool):
            windows *= node.kernel[0] * node.kernel[1]
        elif isinstance(node, CountingNeuron | Readout) and weight is not None:
            stages.append(_Stage(weight, windows, node))
            weight, windows = None, 1
        elif not isinstance(node, Input | Flatten | MaxPool):
            raise ConversionError(
                f"{node.name}: got a {type(node).__name__}, expected layers whose neurons count: convert by a lossless "
                "method, such as counting"
            )
    return stages


def _set_weight(module: nn.Module, weight: Tensor) -> None:
    if parametrize.is_parametrized(module, "weight"):
        module.weight = weight.float()  # becomes the latent weight
    else:
        module.get_parameter("weight").copy_(weight)
