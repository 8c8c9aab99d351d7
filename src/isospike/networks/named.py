"""The named networks as recipes build them: raw pixels in, quantised activations and weights."""

import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn

from isospike.errors import NotationError
from isospike.networks.layers import Pixels
from isospike.networks.mobilenet import mobilenet_v1
from isospike.networks.network import Network, Quantisation, check_deviation, check_numbers
from isospike.networks.resnet import resnet8, resnet18, resnet20, resnet34
from isospike.networks.vgg import vgg11, vgg15, vgg16
from isospike.networks.weights import fold_deviation, quantise_weight

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "vgg11": vgg11,
    "vgg15": vgg15,
    "vgg16": vgg16,
    "resnet8": resnet8,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "resnet34": resnet34,
    "mobilenet_v1": mobilenet_v1,
}
"""The named networks; each takes ``in_shape``, ``classes`` and options."""


class NamedNetwork(Network):
    """A named network behind :class:`Pixels`; ``notation`` is its name."""


def build_architecture(
    name: str,
    in_shape: tuple[int, int, int],
    classes: int,
    quantisation: Quantisation | None = None,
    *,
    offset: tuple[int, ...] | None = None,
    divisor: int = 255,
    deviation: tuple[float, ...] | None = None,
    **options: Any,
) -> NamedNetwork:
    """Build a named network behind :class:`Pixels`.

    Args:
        name: a key of ``ARCHITECTURES``.
        in_shape: (channel, height, width) of the images.
        classes: number of classes.
        quantisation: of activations and weights; ternary with median k=0 by default. The encoder is the first
            activation; ``ends`` concerns the first convolution and the classifier.
        offset: integer pixel value per channel that counts as zero; zeros by default.
        divisor: pixels are worth ``1 / divisor``.
        deviation: standard deviation per channel, in pixel steps, that the first layer's weight absorbs.
        options: of the architecture's own function (``pool``, ``norm``, ``dropout`` ...); None leaves its default.

    Raises:
        NotationError: an unknown name or option, numbers that make no sense, or images that do not fit.
    """
    if name not in ARCHITECTURES:
        raise NotationError(f"network.architecture: expected one of {', '.join(ARCHITECTURES)}, got {name!r}")
    given = {key: value for key, value in options.items() if value is not None}
    known = inspect.signature(ARCHITECTURES[name]).parameters
    for key, value in given.items():
        if key not in known:
            raise NotationError(f"network.{key}: {name} has no such option, got {value!r}: leave it out")
    offset = check_numbers(in_shape, classes, offset, divisor)
    chosen = quantisation or Quantisation()
    made: list[nn.Module] = []

    def make_activation() -> nn.Module:
        made.append(chosen.make_activation(encoder=not made))
        return made[-1]

    body = ARCHITECTURES[name](in_shape, classes, activation=make_activation, **given)
    chosen.set_gains(body)
    synapses = [module for module in body.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for module in synapses:
        end = module is synapses[0] or module is synapses[-1]
        quantise_weight(module, chosen.choose_weights(end), per_channel=module is not synapses[-1])
    if deviation is not None:
        fold_deviation(body, check_deviation(deviation, in_shape[0]), divisor)
    network = NamedNetwork(OrderedDict([("pixels", Pixels(offset, divisor)), ("body", body)]))
    network.notation, network.in_shape, network.classes = name, in_shape, classes
    return network
