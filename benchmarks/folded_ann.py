"""The quantised ANN that a spiking graph stands for, as a float32 PyTorch network with BatchNorm folded in.

Thresholds are BatchNorm and quantiser in one: a neuron's count is ``clip(floor((u - threshold) / step) + 1, 0, N)``. So
weights are divided by the step, the bias is ``1 - threshold / step``, and a floor and a clip are left.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from isospike.graph import (
    AveragePool,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Readout,
    SpikingGraph,
)


class Staircase(nn.Module):
    """``clip(floor(x), 0, levels)``, in place."""

    def __init__(self, levels: int | None) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        """Counts."""
        return x.floor_().clamp_(0, self.levels)


def fold(graph: SpikingGraph, layout: torch.memory_format = torch.contiguous_format) -> Callable[[Tensor], Tensor]:
    """The network from uint8 images to logits, for inference.

    Args:
        graph: an integer spiking graph, one layer after another.
        layout: of feature maps: contiguous (NCHW) or channels last.
    """
    layers: list[nn.Module] = []
    for node in graph:
        if isinstance(node, Convolution):
            layers.append(_convolution(node))
        elif isinstance(node, Dense):
            layers.append(_dense(node))
        elif isinstance(node, AveragePool):
            layers.append(nn.AvgPool2d(node.kernel, node.stride, node.padding, divisor_override=1))
        elif isinstance(node, MaxPool):
            layers.append(nn.MaxPool2d(node.kernel, node.stride, node.padding))
        elif isinstance(node, Flatten):
            layers.append(nn.Flatten())
        elif isinstance(node, CountingNeuron):
            _scale(layers[-1], node)
            layers.append(Staircase(node.levels))
        elif isinstance(node, Readout):
            layers[-1].bias.data = torch.from_numpy(node.bias.astype(np.float32))
        elif not isinstance(node, Input):
            raise SystemExit(f"{node.name}: benchmarks fold no {type(node).__name__}")
    network = nn.Sequential(*layers).eval().to(memory_format=layout)
    offset = torch.from_numpy(graph.input.offset.astype(np.float32)).view(-1, 1, 1)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            pixels = images.to(torch.float32, memory_format=layout).sub_(offset)
            logits: Tensor = network(pixels)
            return logits

    return run


def _convolution(node: Convolution) -> nn.Conv2d:
    out, per_group, *kernel = node.weight.shape
    layer = nn.Conv2d(
        per_group * node.groups, out, tuple(kernel), node.stride, node.padding, node.dilation, node.groups
    )
    layer.weight.data = torch.from_numpy(node.weight.astype(np.float32))
    return layer


def _dense(node: Dense) -> nn.Linear:
    layer = nn.Linear(node.weight.shape[1], node.weight.shape[0])
    layer.weight.data = torch.from_numpy(node.weight.astype(np.float32))
    return layer


def _scale(layer: nn.Module, node: CountingNeuron) -> None:
    """Fold thresholds into the layer before; a table becomes the line through its ends."""
    if node.step is None:
        first = node.threshold[:, 0].astype(np.float64)
        step = np.maximum((node.threshold[:, -1] - first) / max(node.threshold.shape[1] - 1, 1), 1e-6)
    else:
        unit = 2.0 ** (node.fraction_bits or 0)
        # membranes are whole, so half a unit less decides the same, and keeps clear of ties that rounding would turn
        first, step = (node.threshold - 0.5) / unit, node.step / unit
    weight = layer.weight.data
    layer.weight.data = weight / torch.from_numpy(step).to(weight).view(-1, *[1] * (weight.dim() - 1))
    layer.bias.data = torch.from_numpy(1 - first / step).to(weight)
