"""A network of the notation that takes over the weights of a spiking graph."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isospike.conversion import QuantisedAnn, convert
from isospike.errors import ConversionError
from isospike.graph import SpikingGraph
from isospike.networks import Network, Quantisation, build_architecture, build_network, capture, restore

NOTATION = "6C3(same)-P2-8C3-12"
SHAPE = (2, 8, 8)


def build(quantisation: Quantisation, seed: int, **options: Any) -> Network:
    """A network whose BatchNorms are as training leaves them, with gammas of either sign."""
    torch.manual_seed(seed)
    net = build_network(NOTATION, SHAPE, 5, quantisation, **{"offset": (120, 130), **options})
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5).data.mul_(torch.randn_like(module.weight).sign())
            nn.init.normal_(module.bias, std=0.5)
            module.momentum = None
    net.train()
    with torch.no_grad():
        net(draw_images(1, 200))
    return net.eval()


def draw_images(seed: int, number: int = 50) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (number, *SHAPE), dtype=torch.uint8, generator=generator)


def compare(first: Network, second: Network) -> tuple[float, float]:
    """The share of counts that differ, and the largest difference of logits, on other images."""
    images = draw_images(9)
    one, other = (QuantisedAnn(capture(net)).evaluate(images) for net in (first, second))
    pairs = list(zip(one.counts.values(), other.counts.values(), strict=True))
    differing = sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)
    with torch.no_grad():
        logits = [net(images) for net in (first, second)]
    return differing, float((logits[0] - logits[1]).abs().max())


@pytest.mark.parametrize("pool", ["conv", "avg", "max"])
@pytest.mark.parametrize(
    "quantisation",
    [
        Quantisation(k=1, bound=2, weights="ternary"),
        Quantisation(k=0, weights="ternary", ends="int8", encoder_bound=4),
        Quantisation(k=1, weights="float"),
        Quantisation("qcfs", count=4, threshold=3.0, weights="int8", ends="int8"),
        Quantisation(k=0, bound=3, weights="binary"),
        Quantisation(k=0, bound=3, weights="binary-centred"),
    ],
    ids=lambda each: f"{each.levels}-{each.weights}-{each.ends}",
)
@pytest.mark.parametrize("method", ["counting", "negative-spike"])
def test_the_network_counts_as_the_graph_does(quantisation: Quantisation, pool: str, method: str) -> None:
    net, fresh = build(quantisation, 1, pool=pool), build(quantisation, 2, pool=pool)
    options = {} if method == "negative-spike" or quantisation.bound or quantisation.levels == "qcfs" else {"limit": 1}
    restore(fresh, convert(capture(net), method, t_max=64, **options), draw_images(3, 200))
    differing, distance = compare(net, fresh)
    assert not fresh.training
    assert differing <= 2e-4  # counts on the edge of a float32
    assert distance < 0.05
    assert compare(net, build(quantisation, 2, pool=pool))[0] > 0.1


def test_other_levels_and_weights_start_from_the_same_counts() -> None:
    net = build(Quantisation(k=0, weights="ternary"), 1)
    fresh = build(Quantisation(k=1, weights="float"), 2)
    graph = convert(capture(net), "negative-spike", t_max=64)
    restore(fresh, graph, draw_images(3, 200))
    assert compare(net, fresh)[0] <= 2e-4


def test_statistics_are_those_of_training() -> None:
    """In training mode, on the images it was measured on, it computes what it does in evaluation."""
    net, images = build(Quantisation(k=1, bound=2), 1), draw_images(3, 200)
    fresh = build(Quantisation(k=1, bound=2), 2)
    restore(fresh, convert(capture(net), "scatter-gather", t_max=1), images)
    with torch.no_grad():
        still = fresh(images)
        moving = fresh.train()(images)
    assert float((still - moving).abs().max()) < 0.05


def test_latent_weights_are_as_large_as_trained_ones() -> None:
    fresh = build(Quantisation(k=1, bound=2), 2)
    restore(fresh, convert(capture(build(Quantisation(k=1, bound=2), 1)), "scatter-gather", t_max=1), draw_images(3))
    latent = fresh.get_parameter("conv2.synapses.parametrizations.weight.original").detach()
    assert float(latent.square().mean().sqrt()) == pytest.approx(0.02, rel=1e-4)


PLAIN = Quantisation(k=1, bound=2)


def make_graph() -> SpikingGraph:
    return convert(capture(build(PLAIN, 1)), "scatter-gather", t_max=1)


def refuse(model: nn.Module, graph: SpikingGraph, words: str) -> None:
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConversionError, match=words):
        restore(model, graph, draw_images(3))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"offset": (0, 0)}, r"minus \[120, 130\] over 255, expected .* minus \[0, 0\] over 255"),
        ({"divisor": 128}, "over 255, expected .* over 128"),
        ({"deviation": (60.0, 61.0)}, "network.deviation"),
        ({"batch_norm": False}, "BatchNorm"),
    ],
)
def test_a_network_that_takes_other_pixels_or_has_no_batch_norm(options: dict[str, Any], words: str) -> None:
    refuse(build(PLAIN, 2, **options), make_graph(), words)


def test_a_network_without_levels() -> None:
    refuse(build(Quantisation("none"), 2), make_graph(), "levels")


def test_a_graph_of_another_network() -> None:
    net = build_network("6C3(same)-P2-9C3-12", SHAPE, 5, PLAIN, offset=(120, 130))
    refuse(net, make_graph(), r"convolution \(8, 6, 3, 3\), stride .* expected a convolution \(9, 6, 3, 3\), stride")
    net = build_network("6C3(same)-P2-8C3", SHAPE, 5, PLAIN, offset=(120, 130))
    refuse(net, make_graph(), r"a dense layer \(12, 32\), expected a dense layer \(5, 32\)")
    refuse(build(PLAIN, 2, pool="avg"), make_graph(), "expected an average pool")
    pooled = convert(capture(build(PLAIN, 1, pool="avg")), "scatter-gather", t_max=1)
    refuse(build(PLAIN, 2, pool="max"), pooled, "an average pool .* expected a max pool")
    padded = build_network("6C3-P2-8C3(same)-12", SHAPE, 5, PLAIN, offset=(120, 130))
    refuse(padded, make_graph(), r"padding \(1, 1\), .* padding \(0, 0\)")


def test_images_that_do_not_fit() -> None:
    net, graph = build(PLAIN, 2), make_graph()
    before = copy.deepcopy(net.state_dict())
    for images in (draw_images(1)[:0], draw_images(1)[:, :, :6, :6], draw_images(1)[0]):
        with pytest.raises(ConversionError, match="images: expected"):
            restore(net, graph, images)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_channel_without_weights() -> None:
    """What its threshold says of it stays so, and no number is lost."""
    net, fresh = build(PLAIN, 1), build(PLAIN, 2)
    with torch.no_grad():
        net.get_parameter("conv2.synapses.parametrizations.weight.original")[3] = 0
    restore(fresh, convert(capture(net), "counting", t_max=16), draw_images(3, 200))
    assert all(bool(value.isfinite().all()) for value in fresh.state_dict().values())
    assert compare(net, fresh)[0] <= 2e-4


def test_graphs_that_do_not_count_or_branch() -> None:
    refuse(build(PLAIN, 2), convert(capture(build(PLAIN, 1)), "qcfs", t_max=8), "lossless")
    residual = build_architecture("resnet8", SHAPE, 5, PLAIN, offset=(120, 130)).eval()
    refuse(build(PLAIN, 2), convert(capture(residual), "counting", t_max=8), "one chain of layers")
    refuse(residual, make_graph(), "notation")
