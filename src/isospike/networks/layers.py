"""The modules that networks of the notation are made of."""

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor, nn

from isospike.errors import NotationError
from isospike.networks.activations import RoundTrip
from isospike.networks.weights import quantise_weight, split_weight

_FEW, _MOST = 256, 2.0**24
"""Spikes of a neuron that are drawn one by one, and those that are told apart."""


class Pixels(nn.Module):
    """Raw pixels p to ``(p - offset) / divisor``, so that what follows pads by the offset when it pads by zero.

    Args:
        offset: one integer per channel, 0 to 255: the rounded mean, or zeros.
        divisor: what one pixel step is worth, as ``1 / divisor``.
    """

    offset: Tensor

    def __init__(self, offset: tuple[int, ...], divisor: int = 255) -> None:
        super().__init__()
        self.divisor = divisor
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        """Float images (batch, channel, height, width) from pixels 0..255 of any type."""
        offset = self.offset.to(torch.float32).view(-1, 1, 1)
        return (images.to(torch.float32) - offset) / self.divisor

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"offset={tuple(self.offset.tolist())}, divisor={self.divisor}"


class SpikeDrop(nn.Module):
    """While training, loses each spike of the activations coming in with a probability drawn for each batch from 0 to
    ``most``, so that a network learns to live with lost spikes and still with none; in steps of 1/256. Otherwise it
    does nothing.

    Args:
        most: the highest probability.
        step: gives what one spike is worth, when asked; None where there are no levels.

    Raises:
        NotationError: a probability outside 0 to 1, or activations without levels.
    """

    def __init__(self, most: float, step: Callable[[], Fraction] | None) -> None:
        super().__init__()
        if not 0 <= most <= 1 or step is None:
            raise NotationError(
                f"noise.training_drop: expected a probability from 0 to 1 and activations with levels, got {most}"
            )
        self.most, self.step = most, step

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, with spikes lost; the gradient passes where they are left, in proportion."""
        if not self.training:
            return x
        with torch.no_grad():
            count = torch.round(x.detach() * (1 / float(self.step())))
            cut = int(256 * self.most * float(torch.rand(())))
            few = count.numel() and float(count.max()) <= _FEW
            share = _keep_few(count.to(torch.int16), cut) if few else _keep_many(count.float(), cut)
        return x * share.to(x.dtype)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"most={self.most}"


def _keep_few(count: Tensor, cut: int) -> Tensor:
    """The share of each count (int16) that is left, where each spike is, drawn singly, with a probability of
    ``1 - cut / 256``."""
    left = torch.zeros_like(count)
    for spike in range(int(count.max())):
        left += (_draw_bytes(count) >= cut) & (count > spike)
    return left / count.clamp_(min=1)


def _keep_many(count: Tensor, cut: int) -> Tensor:
    """The same for counts (float32) that are too large to draw singly; beyond 2^24, where a float no longer tells one
    spike from none, as if they were 2^24."""
    count = count.nan_to_num(0.0, _MOST, 0.0).clamp_(0, _MOST)
    return torch.binomial(count, torch.full_like(count, 1 - cut / 256)) / count.clamp(min=1)


def _draw_bytes(like: Tensor) -> Tensor:
    """Uniform uint8 of the shape of ``like``; eight come from one draw, for drawing is what takes the time."""
    words = torch.empty(like.numel() // 8 + 1, dtype=torch.int64, device=like.device).random_(-(2**63), None)
    return words.view(torch.uint8)[: like.numel()].view(like.shape)


class Layer(nn.Module):
    """Synapses, BatchNorm and an activation, in this order; ``norm`` may be absent."""

    def __init__(self, synapses: nn.Conv2d | nn.Linear, norm: bool, activation: nn.Module) -> None:
        super().__init__()
        self.synapses = synapses
        channels = synapses.weight.shape[0]
        kind = nn.BatchNorm2d if isinstance(synapses, nn.Conv2d) else nn.BatchNorm1d
        self.norm = kind(channels) if norm else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """One activation per channel (and position)."""
        u = self.synapses(x)
        return self.activation(u if self.norm is None else self.norm(u))


class Classifier(nn.Linear):
    """The last dense layer. With int8 weights there is one scale for all classes and the bias is a whole number of
    ``scale * unit()``, where a spike coming in is worth ``unit()``: so logits can be compared as integers.

    Args:
        unit: gives the step of the activations coming in, when asked.
        divisor: what average pooling between them and this layer divides by.
    """

    def __init__(
        self, features: int, classes: int, weights: str, unit: Callable[[], Fraction] | None = None, divisor: int = 1
    ) -> None:
        super().__init__(features, classes)
        self.unit = unit
        self.divisor = divisor
        quantise_weight(self, weights, per_channel=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes)."""
        if self.unit is None:
            return super().forward(x)
        _, scale = split_weight(self)
        if scale is None:
            return super().forward(x)
        worth = scale[0].double() * float(self.unit() / self.divisor)
        rounded = torch.floor(self.bias.detach().double() / worth + 0.5) * worth
        return nn.functional.linear(x, self.weight, RoundTrip.apply(self.bias, rounded.to(self.bias.dtype)))
