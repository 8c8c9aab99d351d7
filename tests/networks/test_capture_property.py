"""Any module that is put together at random is captured as what it computes."""

import random
from collections.abc import Callable

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from isospike.networks import capture
from tests.networks.comparison import TOLERANCE, measure_difference, randomise_statistics


class Wild(nn.Module):
    """Convolutions, pools, sums and concatenations wherever they fit, half of them in place; a seed says which."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.parts = nn.ModuleDict()
        self(torch.zeros(2, 3, 9, 9))

    def forward(self, x: Tensor) -> Tensor:
        chance = random.Random(self.seed)
        maps = [x]
        for place in range(chance.randint(3, 9)):
            source = chance.choice(maps[-3:])
            kind = chance.choice(
                (self._convolve, self._convolve, self._normalise, _rectify, _pool, _add, _join, _scale)
            )
            maps.append(kind(chance, f"{kind.__name__}{place}", source, maps))
        ends = [each.mean((2, 3)) if chance.random() < 0.5 else each.flatten(1) for each in maps[-2:]]
        features = torch.cat(ends, 1)
        return self._part("classifier", lambda: nn.Linear(features.shape[1], 5))(features)

    def _part(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        if name not in self.parts:
            self.parts[name] = make()
        return self.parts[name]

    def _convolve(self, chance: random.Random, name: str, x: Tensor, _: list[Tensor]) -> Tensor:
        channels = x.shape[1]
        groups = channels if chance.random() < 0.3 else 1
        filters = channels * chance.choice((1, 2)) if groups > 1 else chance.choice((3, 4))
        stride, dilation, padding = chance.choice((1, 1, 2)), chance.choice((1, 1, 2)), chance.choice((0, 1, 2))
        padding = padding if x.shape[2] + 2 * padding > 2 * dilation else 2 * dilation
        return self._part(name, lambda: nn.Conv2d(channels, filters, 3, stride, padding, dilation, groups))(x)

    def _normalise(self, _: random.Random, name: str, x: Tensor, __: list[Tensor]) -> Tensor:
        channels = x.shape[1]
        return self._part(name, lambda: nn.BatchNorm2d(channels))(x)


def _rectify(chance: random.Random, _: str, x: Tensor, maps: list[Tensor]) -> Tensor:
    if x is not maps[0] and chance.random() < 0.5:
        return functional.relu_(x)
    return functional.relu6(x) if chance.random() < 0.5 else x.relu()


def _pool(chance: random.Random, _: str, x: Tensor, __: list[Tensor]) -> Tensor:
    if x.shape[2] < 4:
        return functional.adaptive_avg_pool2d(x, 1)
    if chance.random() < 0.5:
        return functional.max_pool2d(x, 2, chance.choice((1, 2)), chance.choice((0, 1)))
    return functional.avg_pool2d(x, 3, 2, 1)


def _add(chance: random.Random, _: str, x: Tensor, maps: list[Tensor]) -> Tensor:
    total = x + chance.choice([each for each in maps if each.shape[1:] == x.shape[1:]])
    if chance.random() < 0.5:
        total += x
    return total


def _join(chance: random.Random, _: str, x: Tensor, maps: list[Tensor]) -> Tensor:
    return torch.cat([x, chance.choice([each for each in maps if each.shape[2:] == x.shape[2:]])], 1)


def _scale(_: random.Random, __: str, x: Tensor, maps: list[Tensor]) -> Tensor:
    return x * 0.7 - 0.1 if x is maps[0] else x.sub_(0.1)


@given(st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_random_modules(seed: int) -> None:
    torch.manual_seed(seed)
    model = randomise_statistics(Wild(seed), seed)
    graph = capture(model, torch.zeros(2, 3, 9, 9))
    assert measure_difference(model, graph, torch.randn(4, 3, 9, 9)) < TOLERANCE
