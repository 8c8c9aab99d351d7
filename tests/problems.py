"""Tiny networks with counts and logits worked out by hand: integer and bounded, so that every method runs on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from isospike.conversion import METHODS
from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)


@dataclass(frozen=True)
class Problem:
    """A captured ANN, one image, and what comes out: counts by node (flattened) and integer logits."""

    name: str
    ann: SpikingGraph
    image: Tensor
    counts: dict[str, list[int]]
    logits: list[int]


def chain(*nodes: Node, t_max: int | None = None, joints: dict[str, tuple[str, ...]] | None = None) -> SpikingGraph:
    """A graph in which each node takes the signal of the one before, or of those that ``joints`` names."""
    linked: list[Node] = []
    for node in nodes:
        before = (linked[-1].name,) if linked else ()
        linked.append(replace(node, inputs=(joints or {}).get(node.name, before)))
    return SpikingGraph(tuple(linked), t_max)


def whole(values: object) -> np.ndarray:
    """Integers as an array."""
    return np.array(values, dtype=np.int64)


def real(values: object) -> np.ndarray:
    """Real numbers as an array."""
    return np.array(values, dtype=np.float64)


def pixels(*shape: int, divisor: int = 1, offset: int = 0) -> Input:
    """The input, one image step worth ``1 / divisor``."""
    return Input("pixels", (), (shape[0], shape[1], shape[2]), divisor, np.full(shape[0], offset, dtype=np.int64))


def norm(
    name: str, gamma: Sequence[float], beta: Sequence[float], mean: Sequence[float], sigma: Sequence[float]
) -> BatchNorm:
    """A BatchNorm."""
    return BatchNorm(name, (), real(gamma), real(beta), real(mean), real(sigma))


def levels(name: str, most: int | None, step: Fraction | int = 1) -> Activation:
    """A level activation."""
    return Activation(name, (), Fraction(step), most)


def image(rows: object) -> Tensor:
    """A batch of one image of one channel from rows of pixels."""
    return torch.tensor(rows, dtype=torch.uint8)[None, None]


def _plain() -> Problem:
    # u0 = x[i,j] + x[i+1,j+1] = 4 3 / 1 7, z = (u - 1) / 2 = 1.5 1 / 0 3
    # u1 = x[i,j] - x[i,j+1] + x[i+1,j] - x[i+1,j+1] = -4 4 / -2 -1, z = 2 u / 4 + 1 = -1 3 / 0 0.5
    weight = whole([[[[1, 0], [0, 1]]], [[[1, -1], [1, -1]]]])
    ann = chain(
        pixels(1, 3, 3),
        Convolution("conv", (), weight),
        norm("norm", [1, 2], [0, 1], [1, 0], [2, 4]),
        levels("neuron", 4),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, -1]])),
        Readout("readout", (), real([0.5, -1.25])),
    )
    # biases of whole spikes: 0.5 -> 1, -1.25 -> -1
    counts = {"neuron": [2, 1, 0, 3, 0, 3, 0, 1]}
    return Problem("plain", ann, image([[1, 2, 0], [0, 3, 1], [2, 1, 4]]), counts, [6 + 1, 2 - 1])


def _dense() -> Problem:
    # hidden: u = 3 - 3 = 0 and -1 + 3 = 2. The first neuron fires too early and must take its spike back.
    ann = chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[1, 0], [0, 1]])),
        levels("encoder.neuron", 4),
        Dense("hidden", (), whole([[3, -1], [-1, 1]])),
        levels("hidden.neuron", 4),
        Dense("classifier", (), whole([[1, 2], [3, -1]])),
        Readout("readout", (), real([0.25, -0.5])),
    )
    return Problem("dense", ann, image([[1, 3]]), {"encoder.neuron": [1, 3], "hidden.neuron": [0, 2]}, [4, -2])


def _negative_gamma() -> Problem:
    # u = 8, 1: z = -(8 - 2) / 2 + 10 = 7 and -2 * 1 + 3 = 1; z / 2 + 1/2 = 4 (a tie) and 1
    # hidden: u = 4 - 1 = 3, worth 2 each: z = -6 + 7 = 1
    ann = chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[1, 1], [2, -1]])),
        norm("encoder.norm", [-1, -2], [10, 3], [2, 0], [2, 1]),
        levels("encoder.neuron", 8, step=2),
        Dense("hidden", (), whole([[1, -1]])),
        norm("hidden.norm", [-1], [7], [0], [1]),
        levels("hidden.neuron", 8),
        Dense("classifier", (), whole([[2], [-3]])),
        Readout("readout", (), real([0, 0])),
    )
    return Problem("gamma below zero", ann, image([[3, 5]]), {"encoder.neuron": [4, 1], "hidden.neuron": [1]}, [2, -3])


def _zero_gamma() -> Problem:
    # constants: 2.5 -> 3, -1 -> 0, 9 -> 4 (the highest level); the last channel is u = 3 + 5
    ann = chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[1, 1], [1, -1], [-1, 1], [1, 1]])),
        norm("norm", [0, 0, 0, 0.25], [2.5, -1, 9, 0], [7, 8, 9, 0], [1, 2, 3, 1]),
        levels("neuron", 4),
        Dense("classifier", (), whole([[1, 5, 1, 1], [1, 0, -1, 0]])),
        Readout("readout", (), real([0, 0])),
    )
    return Problem("gamma zero", ann, image([[3, 5]]), {"neuron": [3, 0, 4, 2]}, [9, -1])


def _bias() -> Problem:
    # conv: u = 10, -3: z = (10 - 2 - 2) / 2 = 3 and 2 * (-3 + 4.5 - 0.5) / 4 + 1 = 1.5, a tie
    # hidden, without BatchNorm: z = 3 + 2 - 1.75 = 3.25
    weight = whole([[[[1, 1], [1, 1]]], [[[1, 0], [0, -1]]]])
    ann = chain(
        pixels(1, 2, 2),
        Convolution("conv", (), weight, bias=real([-2, 4.5])),
        norm("conv.norm", [1, 2], [0, 1], [2, 0.5], [2, 4]),
        levels("conv.neuron", 8),
        Flatten("flatten", ()),
        Dense("hidden", (), whole([[1, 1]]), bias=real([-1.75])),
        levels("hidden.neuron", 8),
        Dense("classifier", (), whole([[1], [-1]])),
        Readout("readout", (), real([1.5, -1.5])),
    )
    # 1.5 -> 2 and -1.5 -> -1: half rounds up
    counts = {"conv.neuron": [3, 2], "hidden.neuron": [3]}
    return Problem("conv bias", ann, image([[1, 2], [3, 4]]), counts, [5, -4])


def _tie() -> Problem:
    # z / q + 1/2 = (p / 10) / (1 / 5) + 1/2 = (p + 1) / 2: every odd pixel is an exact tie, and float64 gives 1, 3, 9
    ann = chain(
        pixels(1, 1, 3, divisor=10),
        Flatten("flatten", ()),
        Dense("encoder", (), whole(np.eye(3))),
        levels("neuron", 16, step=Fraction(1, 5)),
        Dense("classifier", (), whole([[1, 1, 1], [1, -1, 0]])),
        Readout("readout", (), real([0, 0])),
    )
    return Problem("exact tie", ann, image([[3, 7, 19]]), {"neuron": [2, 4, 10]}, [16, -2])


_MAP = [[1, 2, 0, 3], [3, 0, 1, 1], [5, 1, 2, 0], [0, 2, 0, 3]]
_COUNTS = [1, 2, 0, 3, 3, 0, 1, 1, 4, 1, 2, 0, 0, 2, 0, 3]  # 5 is cut to the 4 levels


def _average_pool() -> Problem:
    # sums 6 5 / 7 5, averages 1.5 1.25 / 1.75 1.25, counts 2 1 / 2 1; their sum 6 reaches the classifier as 6 / 4
    ann = chain(
        pixels(1, 4, 4),
        Convolution("encoder", (), whole([[[[1]]]])),
        levels("encoder.neuron", 4),
        AveragePool("pool1", (), (2, 2), (2, 2)),
        Convolution("hidden", (), whole([[[[1]]]])),
        levels("hidden.neuron", 4),
        AveragePool("pool2", (), (2, 2), (2, 2)),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[2], [-1]])),
        Readout("readout", (), real([0.5, 0.3])),
    )
    # in units of 1 / 4 the biases are 2 and 1.2
    counts = {"encoder.neuron": _COUNTS, "hidden.neuron": [2, 1, 2, 1]}
    return Problem("average pool", ann, image(_MAP), counts, [12 + 2, -6 + 1])


def _max_pool() -> Problem:
    # maxima 3 3 / 4 3; hidden: 3 - 3 + 4 - 3 = 1 and 3 + 3 - 4 = 2
    ann = chain(
        pixels(1, 4, 4),
        Convolution("encoder", (), whole([[[[1]]]])),
        levels("encoder.neuron", 4),
        MaxPool("pool", (), (2, 2), (2, 2)),
        Convolution("hidden", (), whole([[[[1, -1], [1, -1]]], [[[1, 1], [-1, 0]]]])),
        levels("hidden.neuron", 4),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1, 1], [1, -1]])),
        Readout("readout", (), real([0, 0])),
    )
    counts = {"encoder.neuron": _COUNTS, "pool": [3, 3, 4, 3], "hidden.neuron": [1, 2]}
    return Problem("max pool", ann, image(_MAP), counts, [3, -1])


def _strided() -> Problem:
    # windows of ones around (0, 0), (0, 2), (2, 0), (2, 2): 12 16 / 24 28; z = (u - 12) / 4 = 0 1 / 3 4, at most 3
    ann = chain(
        pixels(1, 3, 3),
        Convolution("encoder", (), whole(np.ones((1, 1, 3, 3))), stride=(2, 2), padding=(1, 1)),
        norm("norm", [1], [0], [12], [4]),
        levels("neuron", 3),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1, 1, 1, 1], [1, -1, 1, -1]])),
        Readout("readout", (), real([0, 0])),
    )
    return Problem("strided conv", ann, image([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), {"neuron": [0, 1, 3, 3]}, [7, -1])


def _offset() -> Problem:
    # p - 4 = 2, -1, padded by what a pixel of 4 is: u = 2 * 2 - 1 = 3 and 2 - 2 = 0; 3 / 2 + 1/2 = 2 (a tie)
    ann = chain(
        pixels(1, 1, 2, offset=4),
        Convolution("encoder", (), whole([[[[1, 2, 1]]]]), padding=(0, 1)),
        levels("neuron", 4, step=2),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1, 1], [2, 0]])),
        Readout("readout", (), real([1, -1])),
    )
    # in units of 2 the biases are 0.5 -> 1 and -0.5 -> 0
    return Problem("padding by the mean", ann, image([[6, 3]]), {"neuron": [2, 0]}, [3, 4])


def _scales() -> Problem:
    # a filter of zeros has scale 0: z = 2.5 whatever comes; the other: 0.5 * (5 - 1) = 2
    ann = chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[1, 1], [1, -1]]), scale=real([0, 0.5]), bias=real([2.5, 0])),
        levels("neuron", 4),
        Dense("classifier", (), whole([[1, 0], [1, 1]]), scale=real([0.5, 0.5])),
        Readout("readout", (), real([1, 0.2])),
    )
    return Problem("scale zero", ann, image([[5, 1]]), {"neuron": [3, 2]}, [3 + 2, 5])


def _groups() -> Problem:
    # each channel by itself, every second pixel: 1 + 2 * 3 = 7 and -2 + 5 = 3
    ann = chain(
        pixels(2, 1, 3),
        Convolution("encoder", (), whole([[[[1, 2]]], [[[-1, 1]]]]), dilation=(1, 2), groups=2),
        levels("neuron", 8),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1, -1], [0, 2]])),
        Readout("readout", (), real([0, 0])),
    )
    batch = torch.tensor([[[[1, 9, 3]], [[2, 9, 5]]]], dtype=torch.uint8)
    return Problem("groups and dilation", ann, batch, {"neuron": [7, 3]}, [4, 6])


def _residual() -> Problem:
    # counts 1 3; branch: u = 2 - 3 = -1 and 4, z = 1/2 + 1 = 1.5 and 3 (4 - 1) / 4 = 2.25; with the shortcut 2.5, 5.25
    # in steps of 1/2: 5 + 1/2 and 10.5 + 1/2. Gains -1/2, 1 and 3/4, 1 as integers: -1, 2 and 3, 4
    linked = chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[1, 0], [0, 1]])),
        levels("encoder.neuron", 4),
        Dense("branch", (), whole([[2, -1], [1, 1]])),
        norm("norm", [-1, 3], [1, 0], [0, 1], [2, 4]),
        Add("sum", ()),
        levels("neuron", 16, step=Fraction(1, 2)),
        Dense("classifier", (), whole([[1, 1], [2, -1]])),
        Readout("readout", (), real([0, 0])),
        joints={"sum": ("norm", "encoder.neuron")},
    )
    return Problem("residual", linked, image([[1, 3]]), {"encoder.neuron": [1, 3], "neuron": [5, 11]}, [16, -1])


def _concatenation() -> Problem:
    # counts 1 (worth 1) and 6 (worth 1/2), so 2 * 1 and 6 in halves: u = 8, -2, z = 4, -1
    ann = chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("one", (), whole([[1, 0]])),
        levels("one.neuron", 4),
        Dense("other", (), whole([[0, 1]])),
        levels("other.neuron", 8, step=Fraction(1, 2)),
        Concatenate("both", ()),
        Dense("hidden", (), whole([[1, 1], [2, -1]])),
        levels("hidden.neuron", 4),
        Dense("classifier", (), whole([[1, 0], [-1, 1]])),
        Readout("readout", (), real([0, 0.5])),
        joints={"other": ("flatten",), "both": ("one.neuron", "other.neuron")},
    )
    counts = {"one.neuron": [1], "other.neuron": [6], "hidden.neuron": [4, 0]}
    return Problem("concatenation", ann, image([[1, 3]]), counts, [4, -4 + 1])


PROBLEMS: tuple[Problem, ...] = (
    _plain(),
    _dense(),
    _negative_gamma(),
    _zero_gamma(),
    _bias(),
    _tie(),
    _average_pool(),
    _max_pool(),
    _strided(),
    _offset(),
    _scales(),
    _groups(),
    _residual(),
    _concatenation(),
)

LOSSLESS = [name for name, method in METHODS.items() if method.lossless]
RATE_CODED = [name for name, method in METHODS.items() if not method.lossless]
