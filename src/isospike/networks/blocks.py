"""What the named networks have in common: convolutions with BatchNorm, stems, initial weights."""

from collections.abc import Callable

from torch import nn

from isospike.errors import NotationError

Activation = Callable[[], nn.Module]
"""Makes a fresh activation: ``nn.ReLU``, ``nn.ReLU6``, or ``lambda: isospike.networks.qcfs(8)``."""

InShape = tuple[int, int, int]
POOLS: dict[str, Callable[..., nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


def make_convolution(
    inside: int, outside: int, kernel: int, *, norm: bool, bias: bool | None = None, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution padded by half its kernel, and BatchNorm if ``norm``; biases where there is no BatchNorm, unless
    ``bias`` says otherwise."""
    biased = not norm if bias is None else bias
    convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=biased)
    return [convolution, nn.BatchNorm2d(outside)] if norm else [convolution]


def choose_stem(network: str, in_shape: InShape, stem: str | None, smallest: dict[str, int]) -> str:
    """The stem for images of ``in_shape``: "imagenet" from 96 x 96 pixels on, else "cifar", unless ``stem`` says.

    Raises:
        NotationError: another stem, or images smaller than ``smallest`` allows.
    """
    chosen = stem or ("imagenet" if min(in_shape[1:], default=0) >= 96 else "cifar")
    if chosen not in smallest:
        raise NotationError(f"{network}: expected the stem {' or '.join(smallest)}, got {stem!r}")
    check_shape(network, in_shape, smallest[chosen])
    return chosen


def check_shape(network: str, in_shape: InShape, smallest: int) -> None:
    """Refuse images that are too small.

    Raises:
        NotationError: images below ``smallest`` x ``smallest`` pixels, or not (channel, height, width).
    """
    if len(in_shape) != 3 or in_shape[0] < 1 or min(in_shape[1:]) < smallest:
        raise NotationError(
            f"{network}: expected in_shape (channel, height, width) of at least {smallest}x{smallest} pixels, got "
            f"{in_shape}"
        )


def check_dropout(probability: float) -> None:
    """Refuse a probability to drop that would leave nothing.

    Raises:
        NotationError: not from 0 to below 1.
    """
    if not 0 <= probability < 1:
        raise NotationError(f"dropout: expected a probability from 0 to below 1, got {probability}")


def choose_pool(network: str, pool: str) -> Callable[..., nn.Module]:
    """The pooling module called ``pool``.

    Raises:
        NotationError: neither "max" nor "avg".
    """
    if pool not in POOLS:
        raise NotationError(f"{network}: expected pool max or avg, got {pool!r}")
    return POOLS[pool]


def initialise(model: nn.Module) -> None:
    """Random weights: He et al. (2015) for convolutions, by what goes out; normal with 0.01 for dense layers."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
