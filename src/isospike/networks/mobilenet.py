"""MobileNet: convolutions split into one filter per channel and a 1x1 mixture."""

from torch import Tensor, nn

from isospike.networks.blocks import Activation, InShape, choose_stem, initialise, make_convolution

_LAYOUT = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Filters and stride of each separable convolution."""


class MobileNetV1(nn.Module):
    """A 3x3 convolution, 13 depthwise separable ones, global average pooling and a dense classifier.

    Args:
        in_shape: (channel, height, width) of the images.
        classes: number of classes.
        stem: "imagenet" (the first convolution has stride 2) or "cifar" (stride 1); None to go by ``in_shape``.
        width: share of the filters, the paper's alpha.
        activation: makes an activation.
        norm: whether BatchNorm follows each convolution.
        bias: whether synapses have biases; None for all but the convolutions with BatchNorm.

    Raises:
        NotationError: images too small, or an unknown stem.
    """

    def __init__(
        self,
        in_shape: InShape,
        classes: int,
        *,
        stem: str | None = None,
        width: float = 1.0,
        activation: Activation = nn.ReLU,
        norm: bool = True,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        stride = 2 if choose_stem("MobileNetV1", in_shape, stem, {"cifar": 16, "imagenet": 32}) == "imagenet" else 1
        channels = max(1, int(32 * width))
        self.stem = nn.Sequential(
            *make_convolution(in_shape[0], channels, 3, stride=stride, norm=norm, bias=bias), activation()
        )
        layers: list[nn.Module] = []
        for full, stride in _LAYOUT:
            filters = max(1, int(full * width))
            depthwise = make_convolution(channels, channels, 3, stride=stride, groups=channels, norm=norm, bias=bias)
            pointwise = make_convolution(channels, filters, 1, norm=norm, bias=bias)
            layers.append(nn.Sequential(*depthwise, activation(), *pointwise, activation()))
            channels = filters
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes, bias=bias is not False)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of images (batch, channel, height, width)."""
        return self.classifier(self.pool(self.features(self.stem(x))).flatten(1))


def mobilenet_v1(
    in_shape: InShape = (3, 224, 224),
    classes: int = 1000,
    *,
    stem: str | None = None,
    width: float = 1.0,
    activation: Activation = nn.ReLU,
    norm: bool = True,
    bias: bool | None = None,
) -> MobileNetV1:
    """MobileNetV1. Source: Howard et al., 2017, table 1."""
    return MobileNetV1(in_shape, classes, stem=stem, width=width, activation=activation, norm=norm, bias=bias)
