"""A network's weights from a spiking graph: where further training begins."""

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
            of the notation, or without BatchNorm or levels. The network is as it was then.
    """
    _check_network(model, graph)
    stages = _list_stages(graph)
    layers = [module for module in model.modules() if isinstance(module, Layer)]
    classifier = next(module for module in model.modules() if isinstance(module, Classifier))
    _check_shapes([*(layer.synapses for layer in layers), classifier], [stage.weight for stage in stages])
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
        self.worth = 1.0

    def fill(self, worth: float) -> None:
        """Set the latent weights; a spike coming in is worth ``worth``."""
        given = torch.from_numpy(self.stage.weight.astype(np.float64))
        whole = is_integer(self.stage.weight)
        _set_weight(self.layer.synapses, given * (_SIZE / given.square().mean().sqrt()) if whole else given)
        ratio = (self.layer.synapses.weight.double() * given).sum() / given.square().sum()
        self.worth = float(ratio) * worth / self.stage.windows  # what a unit of V is in the layer's current

    def __call__(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Set ``norm`` for the currents that it is given."""
        current = inputs[0].double()
        variance, mean = torch.var_mean(current, [axis for axis in range(current.dim()) if axis != 1], correction=0)
        slope = self.q / (self.step * self.worth)
        values = {
            "running_mean": mean,
            "running_var": variance,
            "weight": slope * torch.sqrt(variance + self.norm.eps),
            "bias": slope * (mean - self.threshold * self.worth) + self.q / 2,
        }
        for name, value in values.items():
            getattr(norm, name).copy_(value)


def _check_network(model: nn.Module, graph: SpikingGraph) -> None:
    gained = any(isinstance(module, ChannelGain) for module in model.modules())
    if not isinstance(model, Network) or isinstance(model, NamedNetwork) or gained:
        raise ConversionError(
            "a graph fits a network of the notation alone, without network.deviation: give a model.safetensors"
        )
    offset, divisor = graph.input.offset.tolist(), graph.input.divisor
    pixels = model.get_submodule("pixels")
    found, expected = pixels.get_buffer("offset").tolist(), getattr(pixels, "divisor", 1)
    if (offset, divisor) != (found, expected):
        raise ConversionError(
            f"the network takes pixels with the offset {found} and divisor {expected}, the graph with {offset} and "
            f"{divisor}: set network.offset and network.divisor to these"
        )


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


def _check_shapes(synapses: list[nn.Conv2d | nn.Linear], weights: list[np.ndarray]) -> None:
    shapes = [tuple(module.weight.shape) for module in synapses]
    for number, (got, wanted) in enumerate(zip_longest((each.shape for each in weights), shapes), start=1):
        if got != wanted:
            raise ConversionError(
                f"weight {number} of the graph is {got or 'not there'}, expected {wanted or 'none'}: give a graph of "
                "the same network"
            )


def _set_weight(module: nn.Module, weight: Tensor) -> None:
    if parametrize.is_parametrized(module, "weight"):
        module.weight = weight.float()  # becomes the latent weight
    else:
        module.get_parameter("weight").copy_(weight)
