"""Random networks: of the notation as PyTorch modules, and of any geometry as graphs."""

from fractions import Fraction

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from isospike.graph import (
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Flatten,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.graph.shapes import infer_shape
from isospike.networks import Layer, LevelActivation, Network, Quantisation, build_network
from tests.problems import chain, levels, pixels, whole

NOTATIONS = (
    "3C3",
    "3C3(same)-P2",
    "2C3(same)*2-P2-3C2",
    "4C2-P2-5",
    "6-4",
    "2C3-3C3(same)-P3",
    "P2-3C2-4",
    "3C1-P2-P2-3",
)
BOUNDED = ("median", "qcfs")
WEIGHTS = ("float", "ternary", "binary", "int8")


@st.composite
def networks(
    draw: st.DrawFn,
    weights: tuple[str, ...] = WEIGHTS,
    bounded: bool = False,
    ends: tuple[str, ...] = ("float", "int8"),
) -> Network:
    """A network of the notation with random weights and BatchNorms, some gammas negative and some zero."""
    kind = draw(st.sampled_from(BOUNDED))
    k = draw(st.integers(0, 2))
    bound = draw(st.sampled_from((1, 2, 3) if bounded else (1, 2, 3, None)))
    quantisation = Quantisation(
        kind,
        k=k,
        bound=bound,
        encoder_bound=draw(st.sampled_from((None, 4))),
        count=draw(st.integers(1, 5)),
        threshold=draw(st.sampled_from((1.0, 1.7, 4.0))),
        weights=draw(st.sampled_from(weights)),
        ends=draw(st.sampled_from(ends)),
    )
    channels = draw(st.integers(1, 2))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    model = build_network(
        draw(st.sampled_from(NOTATIONS)),
        (channels, draw(st.integers(6, 7)), draw(st.integers(6, 7))),
        draw(st.integers(2, 4)),
        quantisation,
        pool=draw(st.sampled_from(("conv", "avg", "max"))),
        batch_norm=draw(st.sampled_from((True, True, True, False))),
        offset=tuple(draw(st.sampled_from((0, 0, 100))) for _ in range(channels)),
        divisor=draw(st.sampled_from((255, 64))),
    )
    return randomise(model)


def randomise(model: Network) -> Network:
    """Give every BatchNorm, bias and learned threshold a random value at which neurons fire now and then."""
    for module in model.modules():
        if isinstance(module, Layer) and module.norm is not None:
            randomise_norm(module.norm)
        elif isinstance(module, Layer) and module.synapses.bias is not None:
            nn.init.normal_(module.synapses.bias, 0.3)
        elif isinstance(module, LevelActivation) and isinstance(module.threshold, nn.Parameter):
            module.threshold.data *= 0.5 + torch.rand(())
    return model.eval()


def randomise_norm(norm: nn.BatchNorm2d | nn.BatchNorm1d) -> None:
    """Random statistics; one gamma in four is negative, one in ten is zero."""
    size = norm.num_features
    gamma = (0.5 + torch.rand(size)) * torch.where(torch.rand(size) < 0.25, -1.0, 1.0)
    norm.weight.data = gamma * (torch.rand(size) > 0.1)
    norm.bias.data = torch.randn(size) * 0.5 + 0.5
    norm.running_mean = torch.randn(size) * 0.5
    norm.running_var = torch.rand(size) + 0.05


def random_images(shape: tuple[int, ...], number: int, seed: int = 0) -> Tensor:
    """Random pixels, among them black and white images where there are three or more."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (number, *shape), generator=generator, dtype=torch.uint8)
    if number > 2:
        images[0], images[1] = 0, 255
    return images


@st.composite
def integer_graphs(draw: st.DrawFn) -> SpikingGraph:
    """A captured ANN of integer weights with any strides, padding, dilation, groups and pooling; ties are common."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    divisor = draw(st.sampled_from((1, 4, 10, 255)))
    shape: tuple[int, ...] = (draw(st.sampled_from((1, 2))), draw(st.integers(3, 5)), draw(st.integers(3, 5)))
    nodes: list[Node] = [pixels(*shape, divisor=divisor, offset=draw(st.integers(0, 5)))]
    for number in range(draw(st.integers(1, 3))):
        name = f"conv{number}"
        nodes.append(_draw_convolution(draw, random, name, shape))
        nodes.extend(_draw_end(draw, random, name, len(nodes[-1].arrays["weight"]), 255 / divisor if not number else 2))
        pooling = draw(st.sampled_from((None, None, AveragePool, MaxPool)))
        if pooling is not None:
            stride, padding = draw(st.sampled_from(((1, 1), (2, 2), (1, 2)))), draw(st.sampled_from(((0, 0), (1, 1))))
            narrow = min(_shape(nodes)[1:]) == 1
            nodes.append(pooling(f"pool{number}", (), (2, 2), stride, (1, 1) if narrow else padding))
        shape = _shape(nodes)
    nodes.append(Flatten("flatten", ()))
    if draw(st.booleans()):
        nodes.append(Dense("dense", (), whole(random.integers(-1, 2, (3, *_shape(nodes))))))
        nodes.extend(_draw_end(draw, random, "dense", 3, 2))
    scale = draw(st.sampled_from((None, np.full(3, 0.3))))
    nodes.append(Dense("classifier", (), whole(random.integers(-3, 4, (3, *_shape(nodes)))), scale))
    return chain(*nodes, Readout("readout", (), random.normal(size=3)))


def _draw_convolution(draw: st.DrawFn, random: np.random.Generator, name: str, shape: tuple[int, ...]) -> Convolution:
    groups = draw(st.sampled_from((1, shape[0])))
    out = draw(st.sampled_from((1, 2))) * groups if groups <= 2 else groups
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = draw(st.sampled_from(((1, 1), (1, 1), (2, 2))))
    padding = draw(st.sampled_from(((0, 0), (1, 1), (2, 0))))
    # a map that has become too small gets more padding
    needed = [
        max(pad, -(-(dilate * (size - 1) + 1 - length) // 2))
        for pad, dilate, size, length in zip(padding, dilation, kernel, shape[1:], strict=True)
    ]
    return Convolution(
        name,
        (),
        whole(random.integers(-2, 3, (out, shape[0] // groups, *kernel))),
        draw(st.sampled_from(((1, 1), (1, 1), (2, 1), (2, 2)))),
        (needed[0], needed[1]),
        dilation,
        groups,
        draw(st.sampled_from((None, np.full(out, 0.75)))),
        draw(st.sampled_from((None, np.round(random.normal(size=out), 1)))),
    )


def _draw_end(draw: st.DrawFn, random: np.random.Generator, name: str, out: int, typical: float) -> list[Node]:
    """BatchNorm (or none) and activation. Parameters are short decimals or eighths, so that ties happen."""
    step = draw(st.sampled_from((Fraction(1), Fraction(1, 2), Fraction(1, 5), Fraction(3, 7))))
    activation: Node = levels(f"{name}.neuron", draw(st.sampled_from((1, 2, 4, None))), step)
    if draw(st.integers(0, 3)) == 0:
        return [activation]
    parts = draw(st.sampled_from((8, 10)))
    gamma, beta, mean = (np.round(parts * random.normal(size=out)) / parts for _ in range(3))
    gamma *= random.random(out) > 0.1
    sigma = np.maximum(np.round(parts * random.random(out) * typical) / parts, 0.125)
    return [BatchNorm(f"{name}.norm", (), gamma, beta, mean, sigma), activation]


def _shape(nodes: list[Node]) -> tuple[int, ...]:
    """The shape that the last node gives."""
    shape: tuple[int, ...] = ()
    for node in nodes:
        shape = infer_shape(node, [shape])
    return shape
