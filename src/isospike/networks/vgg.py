"""VGG networks: 11 and 16 layers, and the 15 layers of percentile threshold balancing."""

from torch import Tensor, nn

from isospike.networks.blocks import (
    Activation,
    InShape,
    check_dropout,
    check_shape,
    choose_pool,
    initialise,
    make_convolution,
)

Layout = tuple[tuple[int, ...], ...]
"""The filters of the convolutions before each of five poolings."""

_VGG11: Layout = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_VGG16: Layout = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Vgg(nn.Module):
    """3x3 convolutions, halved five times by pooling, then dense layers.

    Args:
        layout: filters of the convolutions before each pooling.
        in_shape: (channel, height, width) of the images, 32 x 32 pixels at least.
        classes: number of classes.
        hidden: neurons of each dense layer before the classifier.
        activation: makes an activation.
        norm: whether BatchNorm follows each convolution.
        bias: whether synapses have biases; None for all but the convolutions with BatchNorm.
        pool: "max" or "avg".
        pool_first: whether pooling comes before the activation instead of after it.
        dropout: of dense layers.
        feature_dropout: after the activation of each convolution that no pooling follows.

    Raises:
        NotationError: images too small, an unknown pool, or a dropout that is no probability below 1.
    """

    def __init__(
        self,
        layout: Layout,
        in_shape: InShape,
        classes: int,
        *,
        hidden: tuple[int, ...] = (4096, 4096),
        activation: Activation = nn.ReLU,
        norm: bool = True,
        bias: bool | None = None,
        pool: str = "max",
        pool_first: bool = False,
        dropout: float = 0.5,
        feature_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_shape("VGG", in_shape, 2 ** len(layout))
        make_pool = choose_pool("VGG", pool)
        check_dropout(dropout)
        check_dropout(feature_dropout)
        layers: list[nn.Module] = []
        channels = in_shape[0]
        for stage in layout:
            for place, filters in enumerate(stage, 1):
                layers += make_convolution(channels, filters, 3, norm=norm, bias=bias)
                ends = [make_pool(2), activation()] if pool_first else [activation(), make_pool(2)]
                between = [activation(), *([nn.Dropout(feature_dropout)] if feature_dropout else [])]
                layers += ends if place == len(stage) else between
                channels = filters
        self.features = nn.Sequential(*layers)
        features = channels * (in_shape[1] >> len(layout)) * (in_shape[2] >> len(layout))
        dense: list[nn.Module] = []
        for neurons in hidden:
            dense += [nn.Dropout(dropout), nn.Linear(features, neurons, bias=bias is not False), activation()]
            features = neurons
        dense += [nn.Dropout(dropout), nn.Linear(features, classes, bias=bias is not False)]
        self.classifier = nn.Sequential(*dense)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of images (batch, channel, height, width)."""
        return self.classifier(self.features(x).flatten(1))


def vgg11(
    in_shape: InShape = (3, 32, 32),
    classes: int = 10,
    *,
    activation: Activation = nn.ReLU,
    norm: bool = True,
    bias: bool | None = None,
    pool: str = "max",
    dropout: float = 0.5,
) -> Vgg:
    """VGG with 8 convolutions and 3 dense layers.

    Source: Simonyan and Zisserman, ICLR 2015, table 1, column A; ``norm`` is an addition.
    """
    return Vgg(_VGG11, in_shape, classes, activation=activation, norm=norm, bias=bias, pool=pool, dropout=dropout)


def vgg15(
    in_shape: InShape = (3, 32, 32),
    classes: int = 100,
    *,
    activation: Activation = nn.ReLU,
    norm: bool = False,
    bias: bool | None = False,
    pool: str = "avg",
    dropout: float = 0.1,
) -> Vgg:
    """VGG with 13 convolutions and 2 dense layers, average pooling *before* the activation, and no biases.

    Source: Lu and Sengupta, Frontiers in Neuroscience 2020 (B-SNN).
    """
    return Vgg(
        _VGG16,
        in_shape,
        classes,
        hidden=(4096,),
        activation=activation,
        norm=norm,
        bias=bias,
        pool=pool,
        pool_first=True,
        dropout=dropout,
        feature_dropout=dropout,
    )


def vgg16(
    in_shape: InShape = (3, 32, 32),
    classes: int = 10,
    *,
    activation: Activation = nn.ReLU,
    norm: bool = True,
    bias: bool | None = None,
    pool: str = "max",
    dropout: float = 0.5,
) -> Vgg:
    """VGG with 13 convolutions and 3 dense layers.

    Source: Simonyan and Zisserman, ICLR 2015, table 1, column D; ``norm`` is an addition, and average pooling is what
    conversion to spikes likes better (SRP: Hao et al., AAAI 2023).
    """
    return Vgg(_VGG16, in_shape, classes, activation=activation, norm=norm, bias=bias, pool=pool, dropout=dropout)
