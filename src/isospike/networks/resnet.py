"""Residual networks of basic blocks: ResNet-18 and 34, and ResNet-20 for CIFAR."""

from torch import Tensor, nn

from isospike.networks.blocks import Activation, InShape, choose_pool, choose_stem, initialise, make_convolution


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: the input itself, or a 1x1 convolution of it where the shape changes.

    Source: He et al., CVPR 2016, figure 5 left, shortcuts of option B.
    """

    def __init__(
        self, inside: int, outside: int, stride: int, *, activation: Activation, norm: bool, bias: bool | None
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *make_convolution(inside, outside, 3, stride=stride, norm=norm, bias=bias),
            activation(),
            *make_convolution(outside, outside, 3, norm=norm, bias=bias),
        )
        same = inside == outside and stride == 1
        projection = [] if same else make_convolution(inside, outside, 1, stride=stride, norm=norm, bias=bias)
        self.shortcut = nn.Sequential(*projection)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, outside, height / stride, width / stride) from (batch, inside, height, width)."""
        return self.activation(self.branch(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A stem, stages of basic blocks that each halve the feature map (but the first), global average pooling and a
    dense classifier.

    Args:
        blocks: number of blocks per stage.
        width: filters of the first stage; they double from stage to stage.
        in_shape: (channel, height, width) of the images.
        classes: number of classes.
        stem: "cifar" (a 3x3 convolution) or "imagenet" (7x7 with stride 2, then pooling); None to go by ``in_shape``.
        activation: makes an activation.
        norm: whether BatchNorm follows each convolution.
        bias: whether synapses have biases; None for all but the convolutions with BatchNorm.
        pool: of the ImageNet stem, "max" or "avg".

    Raises:
        NotationError: images too small, or an unknown stem or pool.
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int,
        in_shape: InShape,
        classes: int,
        *,
        stem: str | None = None,
        activation: Activation = nn.ReLU,
        norm: bool = True,
        bias: bool | None = None,
        pool: str = "max",
    ) -> None:
        super().__init__()
        make_pool = choose_pool("ResNet", pool)
        kind = choose_stem("ResNet", in_shape, stem, {"cifar": 8, "imagenet": 32})
        large = kind == "imagenet"
        self.stem = nn.Sequential(
            *make_convolution(in_shape[0], width, 7 if large else 3, stride=2 if large else 1, norm=norm, bias=bias),
            activation(),
            *([make_pool(3, 2, 1)] if large else []),
        )
        layers: list[nn.Module] = []
        channels = width
        for stage, number in enumerate(blocks):
            for place in range(number):
                stride = 2 if stage and not place else 1
                filters = width << stage
                layers.append(BasicBlock(channels, filters, stride, activation=activation, norm=norm, bias=bias))
                channels = filters
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes, bias=bias is not False)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of images (batch, channel, height, width)."""
        return self.classifier(self.pool(self.blocks(self.stem(x))).flatten(1))


def resnet8(
    in_shape: InShape = (3, 32, 32),
    classes: int = 10,
    *,
    stem: str | None = "cifar",
    activation: Activation = nn.ReLU,
    norm: bool = True,
    bias: bool | None = None,
    pool: str = "max",
) -> ResNet:
    """The smallest network of :func:`resnet20`'s family: stages of 1, 1, 1 blocks, 16 to 64 filters.

    Source: He et al., CVPR 2016, section 4.2, with n = 1.
    """
    return ResNet((1, 1, 1), 16, in_shape, classes, stem=stem, activation=activation, norm=norm, bias=bias, pool=pool)


def resnet18(
    in_shape: InShape = (3, 224, 224),
    classes: int = 1000,
    *,
    stem: str | None = None,
    activation: Activation = nn.ReLU,
    norm: bool = True,
    bias: bool | None = None,
    pool: str = "max",
) -> ResNet:
    """ResNet-18: stages of 2, 2, 2, 2 blocks, 64 to 512 filters. Source: He et al., CVPR 2016, table 1."""
    return ResNet(
        (2, 2, 2, 2), 64, in_shape, classes, stem=stem, activation=activation, norm=norm, bias=bias, pool=pool
    )


def resnet20(
    in_shape: InShape = (3, 32, 32),
    classes: int = 10,
    *,
    stem: str | None = "cifar",
    activation: Activation = nn.ReLU,
    norm: bool = True,
    bias: bool | None = None,
    pool: str = "max",
) -> ResNet:
    """ResNet-20 for CIFAR: stages of 3, 3, 3 blocks, 16 to 64 filters.

    Source: He et al., CVPR 2016, section 4.2; shortcuts that change the shape are 1x1 convolutions (option B) and not
    padded zeros, as in the works on conversion.
    """
    return ResNet((3, 3, 3), 16, in_shape, classes, stem=stem, activation=activation, norm=norm, bias=bias, pool=pool)


def resnet34(
    in_shape: InShape = (3, 224, 224),
    classes: int = 1000,
    *,
    stem: str | None = None,
    activation: Activation = nn.ReLU,
    norm: bool = True,
    bias: bool | None = None,
    pool: str = "max",
) -> ResNet:
    """ResNet-34: stages of 3, 4, 6, 3 blocks, 64 to 512 filters. Source: He et al., CVPR 2016, table 1."""
    return ResNet(
        (3, 4, 6, 3), 64, in_shape, classes, stem=stem, activation=activation, norm=norm, bias=bias, pool=pool
    )
