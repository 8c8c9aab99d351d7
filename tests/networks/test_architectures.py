"""The named networks: their sizes are the published ones, and capture gives what they compute."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from isospike.errors import NotationError
from isospike.graph import Activation, Add, AveragePool, Convolution, Dense, MaxPool, Rectifier
from isospike.networks import (
    ARCHITECTURES,
    CapturedNetwork,
    capture,
    mobilenet_v1,
    qcfs,
    resnet18,
    resnet20,
    resnet34,
    vgg11,
    vgg15,
    vgg16,
)
from tests.networks.comparison import assert_captured, randomise_statistics

IMAGENET = ((3, 224, 224), 1000)
CONVOLUTIONS_OF_VGG16 = 9 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 2 * 256**2 + 256 * 512 + 5 * 512**2)


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (lambda: vgg11(*IMAGENET, norm=False), 132_863_336),
        (lambda: vgg16(*IMAGENET, norm=False), 138_357_544),
        (lambda: vgg16(*IMAGENET, norm=True, bias=True), 138_365_992),
        (lambda: vgg15(*IMAGENET), CONVOLUTIONS_OF_VGG16 + 512 * 49 * 4096 + 4096 * 1000),
        (lambda: vgg15(), CONVOLUTIONS_OF_VGG16 + 512 * 4096 + 4096 * 100),
        (lambda: resnet18(*IMAGENET), 11_689_512),
        (lambda: resnet18((3, 32, 32), 10), 11_173_962),
        (lambda: resnet34(*IMAGENET), 21_797_672),
        (lambda: resnet20(), 272_474),
        (lambda: mobilenet_v1(*IMAGENET), 4_231_976),
    ],
)
def test_number_of_parameters_is_the_published_one(build: Callable[[], nn.Module], parameters: int) -> None:
    with torch.device("meta"):
        assert sum(each.numel() for each in build().parameters()) == parameters


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_capture_at_cifar_size(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_statistics(ARCHITECTURES[name]((3, 32, 32), 10))
    assert_captured(model, (3, 32, 32), 3)


@pytest.mark.parametrize(
    "build",
    [
        lambda: vgg11(pool="avg", norm=False),
        lambda: resnet20(activation=nn.ReLU6, norm=False),
        lambda: mobilenet_v1((1, 32, 32), 10, width=0.25, activation=nn.ReLU6),
        lambda: resnet18((3, 64, 64), 10, stem="imagenet", pool="avg"),
    ],
)
def test_options_are_captured(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = randomise_statistics(build())
    channels = next(model.parameters()).shape[1]
    assert_captured(model, (channels, 64, 64) if hasattr(model, "stem") else (3, 32, 32), 3)


@pytest.mark.parametrize("build", [resnet18, mobilenet_v1])
def test_capture_at_imagenet_size(build: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    assert_captured(randomise_statistics(build(*IMAGENET)), (3, 224, 224), 2)


def test_level_activations_stay_one_node() -> None:
    torch.manual_seed(0)
    model = randomise_statistics(resnet20(activation=lambda: qcfs(4, 2.0))).double().eval()
    graph = capture(model, torch.zeros(2, 3, 32, 32))
    activations = [node for node in graph if isinstance(node, Activation)]
    assert len(activations) == 19
    assert activations[-1].levels == 4
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    found = CapturedNetwork(graph, dtype=torch.float64).evaluate(images)
    with torch.inference_mode():
        assert torch.allclose(found, model(images), rtol=1e-9, atol=1e-12)


def test_vgg15_pools_averages_before_its_activations_and_has_no_biases() -> None:
    graph = capture(vgg15(), torch.zeros(2, 3, 32, 32))
    pools = [node for node in graph if isinstance(node, AveragePool)]
    rectified = {node.inputs[0] for node in graph if isinstance(node, Rectifier)}
    assert len(pools) == 5
    assert all(isinstance(graph[node.inputs[0]], Convolution) and node.name in rectified for node in pools)
    assert len(graph.synapses) == 15
    assert all(node.bias is None for node in graph.synapses if isinstance(node, Convolution | Dense))
    assert not graph.readout.bias.any()
    assert not any(isinstance(node, MaxPool) for node in graph)


def test_resnet_is_a_graph_with_branches() -> None:
    graph = capture(resnet20(), torch.zeros(2, 3, 32, 32))
    sums = [node for node in graph if isinstance(node, Add)]
    assert len(sums) == 9
    assert sums[0].inputs == ("blocks.0.branch.4", "stem.2")  # BatchNorm of the branch, and the identity
    assert sums[3].inputs == ("blocks.3.branch.4", "blocks.3.shortcut.1")
    assert [node.name for node in graph][-4:] == ["pool", "flatten", "classifier", "readout"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: vgg16((3, 28, 28)), "VGG: expected in_shape .* at least 32x32 pixels, got .3, 28, 28"),
        (lambda: vgg16(pool="min"), "VGG: expected pool max or avg, got 'min'"),
        (lambda: resnet18(stem="mnist"), "ResNet: expected the stem cifar or imagenet, got 'mnist'"),
        (lambda: resnet34((3, 4, 4)), "ResNet: expected in_shape .* at least 8x8"),
        (lambda: resnet18((3,)), "ResNet: expected in_shape .* at least 8x8 pixels, got .3,"),  # type: ignore[arg-type]
        (lambda: vgg11(dropout=1.0), "dropout: expected a probability from 0 to below 1, got 1.0"),
        (lambda: mobilenet_v1((3, 8)), "MobileNetV1: expected in_shape"),  # type: ignore[arg-type]
    ],
)
def test_options_that_do_not_fit_are_refused(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(NotationError, match=message):
        build()
