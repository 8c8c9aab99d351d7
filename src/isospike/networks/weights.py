"""Quantised weights as parametrisations (``torch.nn.utils.parametrize``): integers times a scale per channel."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isospike.errors import ConversionError, NotationError
from isospike.networks.activations import RoundTrip


class QuantisedWeight(nn.Module):
    """A weight that is forward ``scale * integers`` and backward the latent weight itself (straight-through), times a
    slope where :meth:`round` gives one."""

    share = 1.0
    """How much of the weight is quantised, 0 to 1: the first part of a training may use the latent weight, at 0, or a
    mixture of both."""

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Integers (int8, shape of the weight) and scale (float32, one per output channel)."""
        raise NotImplementedError

    def forward(self, latent: Tensor) -> Tensor:
        """The quantised weight, in the latent weight's type."""
        if self.share == 0:
            return latent
        with torch.no_grad():
            quantised, slope = self.round(latent)
            if self.share < 1:
                quantised = torch.lerp(latent if slope is None else latent * slope, quantised, self.share)
        return RoundTrip.apply(latent, quantised, slope)

    def round(self, latent: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scale times integers, in the latent weight's type, and the slope of the straight line that they follow; None
        for 1."""
        integers, scale = self.split(latent)
        return integers.to(latent.dtype) * _per_channel(scale, latent), None

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The latent weight that an assigned weight becomes."""
        return weight


class Ternary(QuantisedWeight):
    """``sign(w) where |w| > 0.7 mean|w|, else 0``, with scale 1: BatchNorm absorbs it.

    Rounding ``w / (1.4 mean|w|)`` to -1, 0 and 1 gives the same, so the gradient passes with the slope of that line.
    With slope 1 it would shrink by as much as weights grow when they become ternary, and an optimiser's memory of
    larger gradients would rule its next steps.

    Source: ternary weight networks (Li et al., 2016, eq. 6), without their scale. The mean is taken in float64, so that
    the order of summation (threads, devices) does not decide borderline weights.
    """

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`QuantisedWeight`."""
        return self.round(latent)[0].to(torch.int8), latent.new_ones(len(latent), dtype=torch.float32)

    def round(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`QuantisedWeight`. Comparisons that write numbers need a quarter of the time that booleans take,
        on a CPU."""
        cut = 0.7 * latent.abs().mean(dtype=torch.float64)
        above = torch.gt(latent, cut, out=torch.empty_like(latent))
        ternary = above.sub_(torch.lt(latent, -cut, out=torch.empty_like(latent)))
        return ternary, torch.where(cut > 0, 0.5 / cut, 1.0).to(latent.dtype)


class Binary(QuantisedWeight):
    """``mean|w| per filter * sign(w)``, with sign(0) = 1. Source: XNOR-Net (Rastegari et al., 2016, eq. 6).

    With ``centred``, w is first centred over its input channels and clipped to -1 .. 1; while training, the latent
    weights themselves are, before each forward pass. Source: the XNOR-Net training that B-SNN (Lu and Sengupta, 2020)
    uses; there the gradient is scaled too, here it passes straight through.
    """

    def __init__(self, centred: bool = False) -> None:
        super().__init__()
        self.centred = centred

    def extra_repr(self) -> str:
        """What ``print(model)`` shows, and what a checkpoint must agree with."""
        return "centred" if self.centred else ""

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`QuantisedWeight`."""
        latent = _centre(latent) if self.centred else latent
        scale = latent.abs().flatten(1).mean(1, dtype=torch.float64).float()
        return torch.where(latent < 0, -1, 1).to(torch.int8), scale

    def forward(self, latent: Tensor) -> Tensor:
        """See :class:`QuantisedWeight`."""
        if self.centred and self.training and latent.requires_grad and torch.is_grad_enabled():
            with torch.no_grad():
                latent.copy_(_centre(latent))
        return super().forward(latent)


class Int8(QuantisedWeight):
    """``scale * round(w / scale)`` with ``scale = max|w| / 127``, per output channel or for the whole tensor."""

    def __init__(self, per_channel: bool = True) -> None:
        super().__init__()
        self.per_channel = per_channel

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`QuantisedWeight`."""
        largest = latent.abs().flatten(1).amax(1).float()
        if not self.per_channel:
            largest = largest.amax().expand(len(latent))
        # a channel of zeros keeps its zeros, with any scale above zero
        scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
        integers = torch.round(latent.float() / _per_channel(scale, latent))
        return integers.clamp_(-127, 127).to(torch.int8), scale


class ChannelGain(nn.Module):
    """The weight times one gain for each channel that comes in: what dividing that channel's pixels by their standard
    deviation would do, without any number that is no pixel. What it gives is what a quantiser then rounds.

    Args:
        gain: float32 (channels,), each above zero.
    """

    gain: Tensor

    def __init__(self, gain: Tensor) -> None:
        super().__init__()
        self.register_buffer("gain", gain.detach().clone().float())

    def forward(self, weight: Tensor) -> Tensor:
        """The same shape; a dense weight takes each channel's gain at all its positions."""
        repeated = self.gain.repeat_interleave(weight.shape[1] // len(self.gain))
        return weight * repeated.view(1, -1, *[1] * (weight.dim() - 2))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight itself: gains scale what training begins with, as normalised pixels would."""
        return weight

    def extra_repr(self) -> str:
        """What ``print(model)`` shows, and what a checkpoint must agree with."""
        return f"gain={tuple(self.gain.tolist())}"


def fold_deviation(model: nn.Module, deviation: tuple[float, ...], divisor: int) -> None:
    """Fold each channel's standard deviation into the weight of the first layer, in front of its quantiser.

    Arguments:
        model: its first convolution or dense layer takes the pixels.
        deviation: in pixel steps, one for each channel, above zero.
        divisor: pixels are worth ``1 / divisor`` already.

    Raises:
        NotationError: the first layer does not see all channels at once.
    """
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear))
    if first.weight.shape[1] % len(deviation):
        raise NotationError(
            f"deviation: the first layer takes {first.weight.shape[1]} of {len(deviation)} channels at a time, "
            "expected all: leave network.deviation out"
        )
    quantiser = _find_quantiser(first)
    if quantiser is not None:
        parametrize.remove_parametrizations(first, "weight", leave_parametrized=False)
    parametrize.register_parametrization(first, "weight", ChannelGain(divisor / torch.tensor(deviation)))
    if quantiser is not None:
        parametrize.register_parametrization(first, "weight", quantiser)


def quantise_weight(module: nn.Module, weights: str, per_channel: bool = True) -> None:
    """Register the quantiser called ``weights`` ("float", "ternary", "binary", "binary-centred", "int8") on
    ``module.weight``.

    Raises:
        ConversionError: unknown name.
    """
    if weights == "float":
        return
    kinds: dict[str, QuantisedWeight] = {
        "ternary": Ternary(),
        "binary": Binary(),
        "binary-centred": Binary(centred=True),
        "int8": Int8(per_channel),
    }
    if weights not in kinds:
        raise ConversionError(f"weights: unknown quantiser {weights!r}; expected float, {', '.join(kinds)}")
    parametrize.register_parametrization(module, "weight", kinds[weights])


def read_latent(module: nn.Module) -> Tensor:
    """The weight that training moves, times its gains: the float behind a quantised weight, or the weight itself.

    Raises:
        ConversionError: the module works its weight out of other parameters.
    """
    if not parametrize.is_parametrized(module, "weight"):
        weight = module._parameters.get("weight")
        if weight is None:
            raise ConversionError(
                "weights: expected a parameter, got a weight that is worked out of others: call "
                "torch.nn.utils.remove_weight_norm or what else undoes it"
            )
        return weight.detach()
    latent = module.get_parameter("parametrizations.weight.original").detach()
    for part in module.get_submodule("parametrizations.weight").children():
        latent = part(latent) if isinstance(part, ChannelGain) else latent
    return latent


def split_weight(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The weight as conversion sees it: integers (int8) and scale (float32, per output channel), or the float weight
    and None where nothing quantises it."""
    quantiser = _find_quantiser(module)
    latent = read_latent(module)
    if quantiser is None:
        return latent, None
    with torch.no_grad():
        return quantiser.split(latent.cpu())


def _find_quantiser(module: nn.Module) -> QuantisedWeight | None:
    if not parametrize.is_parametrized(module, "weight"):
        return None
    found = None
    for part in module.get_submodule("parametrizations.weight").children():
        if isinstance(part, QuantisedWeight):
            found = part
        elif not isinstance(part, ChannelGain):
            raise ConversionError(
                f"weights: expected float, ternary, binary or int8 weights, got those of {type(part).__name__}: "
                "use isospike.networks.quantise_weight"
            )
    return found


def _centre(weight: Tensor) -> Tensor:
    """Without its mean over input channels (or features), clipped to -1 .. 1; a single input has no mean to lose."""
    centred = weight - weight.mean(1, keepdim=True) if weight.shape[1] > 1 else weight
    return centred.clamp(-1, 1)


def _per_channel(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1))
