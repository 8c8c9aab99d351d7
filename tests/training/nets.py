"""Small networks that take uint8 images, and small sets of images."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isospike.data import ImageSet, load


class Scale(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 255


class Sign(nn.Module):
    """A quantised weight: its sign forwards, itself backwards."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (weight.sign() - weight).detach()


def build_net(seed: int = 0, width: int = 8, classes: int = 10, dropout: float = 0.0) -> nn.Sequential:
    """A convolution with binary weights, BatchNorm, and a classifier, for 8x8 images of one channel."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            Scale(),
            nn.Conv2d(1, width, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 2, stride=2, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * width * 9, classes),
        )
        parametrize.register_parametrization(net[4], "weight", Sign())
    return net


def take_digits(n: int = 200) -> ImageSet:
    return load("digits").train.first(n)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    mine, yours = one.state_dict(), other.state_dict()
    return list(mine) == list(yours) and all(torch.equal(mine[name], yours[name]) for name in mine)
