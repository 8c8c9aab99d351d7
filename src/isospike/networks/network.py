"""Networks of the notation as PyTorch modules."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from isospike.errors import NotationError
from isospike.networks.activations import LevelActivation, median, qcfs
from isospike.networks.blocks import check_dropout
from isospike.networks.layers import Classifier, Layer, Pixels, SpikeDrop
from isospike.networks.notation import ConvolutionSpec, DenseSpec, PoolSpec, parse_notation
from isospike.networks.weights import fold_deviation, quantise_weight

LEVELS = ("median", "qcfs", "none")
WEIGHTS = ("float", "ternary", "binary", "binary-centred", "int8")
POOLS = ("conv", "avg", "max")


@dataclass(frozen=True)
class Quantisation:
    """How activations and weights are quantised.

    Attributes:
        levels: "median", "qcfs", or "none" (ReLU, which no lossless method converts).
        k: median's step is ``2^-k``.
        bound: median's bound B; None for no end.
        encoder_bound: the same for the encoder (hidden layer 1); None for ``bound``.
        count: the number of levels L of qcfs.
        threshold: where the learned threshold of qcfs starts.
        weights: of the hidden layers: "float", "ternary", "binary", "binary-centred" (its latent weights centred and
            clipped, as B-SNN trains) or "int8".
        gain: what BatchNorm's gains begin with. What activations round then begins with this standard deviation, so
            that they use more levels the larger it is: smaller rounding errors, for more spikes and time steps.
        ends: of the first and last layer, where ``weights`` are quantised: "float" or "int8". With float ``weights``
            every layer is in full precision.

    Raises:
        NotationError: a value that is none of these.
    """

    levels: str = "median"
    k: int = 0
    bound: float | None = None
    encoder_bound: float | None = None
    count: int = 8
    threshold: float = 8.0
    weights: str = "ternary"
    ends: str = "float"
    gain: float = 1.0
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name, value, known in (
            ("levels", self.levels, LEVELS),
            ("weights", self.weights, WEIGHTS),
            ("ends", self.ends, ("float", "int8")),
        ):
            if value not in known:
                raise NotationError(f"quantise.{name}: expected one of {', '.join(known)}, got {value!r}")
        if not 0 < self.gain < float("inf"):
            raise NotationError(f"quantise.gain: expected a number above 0, got {self.gain}")
        self.make_activation(encoder=True)
        self.make_activation(encoder=False)

    def make_activation(self, encoder: bool) -> nn.Module:
        """A fresh activation for the encoder or for another hidden layer."""
        if self.levels == "none":
            return nn.ReLU()
        if self.levels == "qcfs":
            return qcfs(self.count, self.threshold)
        return median(self.k, self.encoder_bound if encoder and self.encoder_bound is not None else self.bound)

    def choose_weights(self, end: bool) -> str:
        """The quantiser's name for an end layer (first or last) or for one between."""
        return self.ends if end and self.weights != "float" else self.weights

    def set_gains(self, network: nn.Module) -> None:
        """Begin with these gains in every BatchNorm of ``network``."""
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.constant_(module.weight, self.gain)


class Network(nn.Sequential):
    """A network of the notation; takes raw pixels (batch, channel, height, width) and gives logits (batch, classes)."""

    notation: str
    in_shape: tuple[int, int, int]
    classes: int


def build_network(
    notation: str,
    in_shape: tuple[int, int, int],
    classes: int,
    quantisation: Quantisation | None = None,
    *,
    padding: str = "valid",
    pool: str = "conv",
    batch_norm: bool = True,
    offset: tuple[int, ...] | None = None,
    divisor: int = 255,
    deviation: tuple[float, ...] | None = None,
    encoder_drop: float = 0.0,
    dropout: float = 0.0,
) -> Network:
    """Build the network that ``notation`` describes, with the classifier after it.

    Every convolution and dense layer is followed by BatchNorm and the activation; biases are only where BatchNorm is
    off. A dense layer after a feature map spans what is left of it.

    Args:
        notation: e.g. ``32C5-P2-64C5-P2-1000`` (see :func:`parse_notation`).
        in_shape: (channel, height, width) of the images.
        classes: number of classes.
        quantisation: of activations and weights; ternary with median k=0 by default.
        padding: of convolutions that do not say: "same" or "valid".
        pool: "conv" (a learned convolution of the window's size and stride), "avg" or "max".
        batch_norm: whether BatchNorm follows each hidden layer.
        offset: integer pixel value per channel that counts as zero; zeros by default.
        divisor: pixels are worth ``1 / divisor``.
        deviation: standard deviation per channel, in pixel steps, that the first layer's weight absorbs.
        encoder_drop: while training, lose each of the encoder's spikes with a probability of up to this much.
        dropout: while training, drop activations after each pooling and dense layer with this probability.

    Raises:
        NotationError: the notation does not parse or does not fit ``in_shape``, or an option is unknown.
    """
    if pool not in POOLS:
        raise NotationError(f"pool: expected one of {', '.join(POOLS)}, got {pool!r}")
    offset = check_numbers(in_shape, classes, offset, divisor)
    check_dropout(dropout)
    quantisation = quantisation or Quantisation()
    builder = _Builder(notation, quantisation, in_shape, pool, batch_norm)
    for spec in parse_notation(notation, padding):
        encoder = builder.activation is None
        builder.add(spec)
        if encoder and builder.activation is not None and encoder_drop:
            builder.drop_spikes(encoder_drop)
        if dropout and not isinstance(spec, ConvolutionSpec):
            builder.drop_out(dropout)
    layers = OrderedDict([("pixels", Pixels(offset, divisor)), *builder.finish(classes)])
    network = Network(layers)
    quantisation.set_gains(network)
    if deviation is not None:
        fold_deviation(network, check_deviation(deviation, in_shape[0]), divisor)
    network.notation, network.in_shape, network.classes = notation, in_shape, classes
    return network


def check_numbers(
    in_shape: tuple[int, ...], classes: int, offset: tuple[int, ...] | None, divisor: int
) -> tuple[int, ...]:
    """The offset of each channel, zeros where there is none, if the numbers make sense.

    Raises:
        NotationError: no (channel, height, width), no class, an offset that is no pixel, or a divisor below 1.
    """
    if len(in_shape) != 3 or min(in_shape) < 1 or classes < 1:
        raise NotationError(
            f"in_shape and classes: expected (channel, height, width) and a number, got {in_shape}, {classes}"
        )
    offset = offset or (0,) * in_shape[0]
    if len(offset) != in_shape[0] or not all(value in range(256) for value in offset) or not divisor >= 1:
        raise NotationError(
            f"offset: expected {in_shape[0]} pixel values from 0 to 255 and a divisor above 0, got {offset}, {divisor}"
        )
    return offset


def check_deviation(deviation: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The deviation, if it can divide.

    Raises:
        NotationError: not one number above 0 for each channel.
    """
    if len(deviation) != channels or not all(0 < value < float("inf") for value in deviation):
        raise NotationError(f"deviation: expected {channels} numbers above 0, one a channel, got {deviation}")
    return deviation


class _Builder:
    """Adds layers one after another and keeps the shape that they leave."""

    def __init__(
        self, notation: str, quantisation: Quantisation, shape: tuple[int, ...], pool: str, norm: bool
    ) -> None:
        self.notation, self.quantisation, self.shape, self.pool, self.norm = notation, quantisation, shape, pool, norm
        self.layers: list[tuple[str, nn.Module]] = []
        self.numbers: dict[str, int] = {}
        self.activation: nn.Module | None = None
        self.divisor = 1

    def add(self, spec: ConvolutionSpec | PoolSpec | DenseSpec) -> None:
        """Append the layer of ``spec``."""
        if isinstance(spec, DenseSpec):
            self._flatten()
            self._append("dense", lambda: nn.Linear(self.shape[0], spec.features, bias=not self.norm), (spec.features,))
        elif isinstance(spec, ConvolutionSpec):
            margin = spec.kernel // 2 if spec.padding == "same" else 0
            self._convolve("conv", spec.filters, spec.kernel, 1, margin)
        elif self.pool == "conv":
            self._convolve("pool", self.shape[0], spec.window, spec.window, 0)
        else:
            size = self._slide(spec.window, spec.window, 0)
            kind = nn.AvgPool2d if self.pool == "avg" else nn.MaxPool2d
            self.layers.append((self._name("pool"), kind(spec.window)))
            self.divisor *= spec.window**2 if self.pool == "avg" else 1
            self.shape = (self.shape[0], *size)

    def drop_spikes(self, most: float) -> None:
        """Lose spikes of the layer before, while training."""
        step = self.activation.read_step if isinstance(self.activation, LevelActivation) else None
        self.layers.append(("encoder_drop", SpikeDrop(most, step)))

    def drop_out(self, probability: float) -> None:
        """Drop activations of the layer before, while training."""
        self.layers.append((self._name("dropout"), nn.Dropout(probability)))

    def finish(self, classes: int) -> list[tuple[str, nn.Module]]:
        """Append the classifier and give all layers by name."""
        self._flatten()
        weights = self.quantisation.choose_weights(end=True)
        step = self.activation.read_step if isinstance(self.activation, LevelActivation) else None
        self.layers.append(("classifier", Classifier(self.shape[0], classes, weights, step, self.divisor)))
        return self.layers

    def _convolve(self, kind: str, filters: int, kernel: int, stride: int, margin: int) -> None:
        size = self._slide(kernel, stride, margin)
        channels = self.shape[0]
        self._append(
            kind, lambda: nn.Conv2d(channels, filters, kernel, stride, margin, bias=not self.norm), (filters, *size)
        )

    def _append(self, kind: str, make: Callable[[], nn.Conv2d | nn.Linear], shape: tuple[int, ...]) -> None:
        first = self.activation is None
        synapses = make()
        quantise_weight(synapses, self.quantisation.choose_weights(end=first))
        self.activation = self.quantisation.make_activation(encoder=first)
        self.layers.append((self._name(kind), Layer(synapses, self.norm, self.activation)))
        self.shape, self.divisor = shape, 1

    def _flatten(self) -> None:
        if len(self.shape) == 3:
            self.layers.append(("flatten", nn.Flatten()))
            self.shape = (int(torch.Size(self.shape).numel()),)

    def _slide(self, kernel: int, stride: int, margin: int) -> tuple[int, int]:
        height, width = ((length + 2 * margin - kernel) // stride + 1 for length in self.shape[1:])
        if height < 1 or width < 1:
            raise NotationError(
                f"network {self.notation}: a window of {kernel} does not fit the {self.shape[1]}x{self.shape[2]} that "
                f"is left before layer {len(self.layers) + 1}: use padding 'same', smaller kernels or fewer poolings"
            )
        return height, width

    def _name(self, kind: str) -> str:
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return f"{kind}{self.numbers[kind]}"
