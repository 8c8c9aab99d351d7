"""A captured graph, evaluated as plain real arithmetic: what its module computes."""

from collections.abc import Callable, Collection

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from isospike.double_convolution import convolve, lay_weight_out
from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
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

Operation = Callable[..., Tensor]


def evaluate_capture(
    ann: SpikingGraph, images: Tensor, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Tensor:
    """The logits (batch, classes) of a captured graph in floating point; :class:`CapturedNetwork` in one call.

    Args:
        ann: from :func:`isospike.networks.capture`.
        images: (batch, channel, height, width): float where the graph's Input says ``floats``, else raw pixels.
        dtype: torch.float32 or torch.float64.
        device: "cpu" or "cuda".

    Raises:
        ConversionError: a graph that spikes, or images that do not fit.
    """
    return CapturedNetwork(ann, dtype=dtype, device=device).evaluate(images)


class CapturedNetwork:
    """A captured graph made ready for evaluation in floating point, with what each node stands for: currents
    ``scale * (weight * s) + bias``, *means* for average pools, real values for activations.

    Args:
        ann: from :func:`isospike.networks.capture`.
        dtype: torch.float32 or torch.float64.
        device: "cpu" or "cuda".

    Raises:
        ConversionError: the graph spikes.
    """

    def __init__(self, ann: SpikingGraph, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
        if ann.is_converted:
            raise ConversionError("evaluation: expected a captured ANN, got a graph that spikes: simulate it")
        self.ann, self.dtype, self.device = ann, dtype, torch.device(device)
        self.operations = {node.name: self._make_operation(node) for node in ann}
        self.last_use = {source: node.name for node in ann for source in node.inputs}

    def evaluate(self, images: Tensor) -> Tensor:
        """Logits (batch, classes) of ``images`` (batch, channel, height, width)."""
        return self.measure(images, (self.ann.readout.name,))[self.ann.readout.name]

    def replace(self, node: Node) -> None:
        """Evaluate ``node`` from now on in place of the node of its name, which has the same inputs."""
        self.operations[node.name] = self._make_operation(node)

    def measure(
        self, images: Tensor, names: Collection[str], summarise: Callable[[Tensor], Tensor] = lambda signal: signal
    ) -> dict[str, Tensor]:
        """What the nodes ``names`` give for ``images``, (batch, ...) each; nothing else is kept, and no node after the
        last of them is evaluated.

        Args:
            images: (batch, channel, height, width).
            names: of nodes.
            summarise: makes less of each signal before it is kept.

        Raises:
            ConversionError: images of another shape or type than the graph takes.
        """
        self._check_images(images)
        signals: dict[str, Tensor] = {}
        kept: dict[str, Tensor] = {}
        wanted = len(set(names))
        with torch.inference_mode():
            for node in self.ann:
                sources = [signals[name] for name in node.inputs] if node.inputs else [images]
                signals[node.name] = self.operations[node.name](*sources)
                if node.name in names:
                    kept[node.name] = summarise(signals[node.name])
                    if len(kept) == wanted:
                        break
                for source in set(node.inputs):
                    if self.last_use[source] == node.name:
                        del signals[source]
        return kept

    def _check_images(self, images: Tensor) -> None:
        expected = self.ann.input.shape
        floats = images.is_floating_point()
        if images.dim() != 4 or tuple(images.shape[1:]) != expected or (self.ann.input.floats and not floats):
            kind = "float" if self.ann.input.floats else "uint8"
            raise ConversionError(
                f"images: expected {kind} (batch, {', '.join(map(str, expected))}), got "
                f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            )

    def _make_operation(self, node: Node) -> Operation:
        if isinstance(node, Convolution | Dense):
            return self._make_synapses(node)
        if isinstance(node, AveragePool):
            return lambda x: functional.avg_pool2d(x, node.kernel, node.stride, node.padding)
        if isinstance(node, MaxPool):
            return lambda x: functional.max_pool2d(x, node.kernel, node.stride, node.padding)
        if isinstance(node, Flatten):
            return lambda x: x.flatten(1)
        if isinstance(node, Add):
            return lambda *branches: torch.stack(branches).sum(0) if len(branches) > 2 else branches[0] + branches[1]
        if isinstance(node, Concatenate):
            return lambda *branches: torch.cat(branches, 1)
        if isinstance(node, Rectifier):
            return lambda x: x.clamp(0, node.ceiling)
        if isinstance(node, Activation):
            step: float | Tensor = float(node.step)
            if node.ratios is not None:
                step = self._spread(step * node.ratios, len(self.ann.shapes[node.name]) + 1)
            return lambda z: torch.floor(z / step + 0.5).clamp_(0, node.levels) * step
        return self._make_affine(node)

    def _make_synapses(self, node: Convolution | Dense) -> Operation:
        weight = node.weight.astype(np.float64)
        if node.scale is not None:
            weight = weight * node.scale.reshape(-1, *[1] * (weight.ndim - 1))
        tensor = self._to_tensor(weight)
        bias = None if node.bias is None else self._to_tensor(node.bias)
        if isinstance(node, Dense):
            return lambda x: functional.linear(x, tensor, bias)
        tensor = lay_weight_out(tensor)
        return lambda x: convolve(x, tensor, bias, node.stride, node.padding, node.dilation, node.groups, spikes=False)

    def _make_affine(self, node: Node) -> Operation:
        """One slope and one intercept per channel: pixels, BatchNorm, and the readout's bias."""
        if isinstance(node, Input):
            offset, divisor = self._spread(node.offset, 4), node.divisor
            return lambda images: (images.to(self.device, self.dtype) - offset) / divisor
        dimensions = len(self.ann.shapes[node.name]) + 1
        if isinstance(node, BatchNorm):
            gain = self._spread(node.gamma / node.sigma, dimensions)
            mean, beta = self._spread(node.mean, dimensions), self._spread(node.beta, dimensions)
            return lambda u: torch.addcmul(beta, u - mean, gain)
        if isinstance(node, Readout):
            bias, scale = self._spread(node.bias, dimensions), node.scale
            return lambda u: (u + bias) * scale
        raise ConversionError(f"{node.name}: a {type(node).__name__} does not occur in a captured ANN")

    def _spread(self, array: np.ndarray, dimensions: int) -> Tensor:
        return self._to_tensor(array).view(-1, *[1] * (dimensions - 2))

    def _to_tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self.device, self.dtype)
