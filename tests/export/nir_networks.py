"""Rate-coded graphs for the tests of NIR, and images as their first node gives them."""

import numpy as np
import torch
from torch import Tensor

from isospike import capture, convert
from isospike.graph import (
    Add,
    Affine,
    Convolution,
    Dense,
    Flatten,
    Input,
    IntegrateAndFire,
    Readout,
    SpikingGraph,
)
from isospike.networks import Quantisation, build_network
from tests.random_networks import random_images, randomise


def make_chain(seed: int = 1) -> SpikingGraph:
    """A convolution, average pooling and a dense layer; qcfs."""
    torch.manual_seed(seed)
    quantisation = Quantisation("qcfs", count=4, threshold=4.0)
    model = randomise(build_network("4C3(same)-P2-6", (1, 8, 8), 3, quantisation, pool="avg"))
    return convert(capture(model), "qcfs", t_max=32)


def make_branches(seed: int = 2) -> SpikingGraph:
    """A shortcut past a convolution, thresholds and gains of every size, biases, a logit scale."""
    rng = np.random.default_rng(seed)
    nodes = (
        Input("pixels", (), (2, 4, 4), 255, np.array([3, 0])),
        Convolution("conv.0", ("pixels",), rng.normal(size=(3, 2, 3, 3)) / 300, padding=(1, 1)),
        IntegrateAndFire("conv.0.neuron", ("conv.0",), rng.uniform(0.5, 2, 3), np.zeros(3)),
        Convolution("conv1", ("conv.0.neuron",), rng.normal(size=(3, 1, 1, 1)), bias=rng.normal(size=3), groups=3),
        Affine("shortcut", ("conv.0.neuron",), rng.uniform(0.5, 1, 3)),
        Add("add", ("conv1", "shortcut", "conv.0.neuron"), rng.uniform(-1, 1, (3, 3))),
        IntegrateAndFire("sum.neuron", ("add",), rng.uniform(0.5, 2, 3), np.full(3, 0.25)),
        Flatten("flatten", ("sum.neuron",)),
        Dense("classifier", ("flatten",), rng.normal(size=(4, 48))),
        Readout("readout", ("classifier",), rng.normal(size=4), 0.5),
    )
    return SpikingGraph(nodes, 20)


def draw_images(graph: SpikingGraph, number: int = 5) -> tuple[Tensor, Tensor]:
    """Images, and what the Input gives of them."""
    images = random_images(graph.input.shape, number)
    return images, images.float() - torch.from_numpy(graph.input.offset.astype(np.float32))[:, None, None]
