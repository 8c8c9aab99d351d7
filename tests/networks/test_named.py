"""Named networks as recipes build them: pixels in, quantisers where they belong."""

import pytest
import torch
from torch import nn

from isospike.errors import NotationError
from isospike.networks import ARCHITECTURES, LevelActivation, Pixels, Quantisation, build_architecture, capture
from isospike.networks.weights import Binary, Int8
from tests.networks.comparison import assert_captured, randomise_statistics


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_named_network_takes_pixels_and_level_activations(name: str) -> None:
    with torch.device("meta"):
        network = build_architecture(name, (3, 32, 32), 10, Quantisation(levels="qcfs", count=4, weights="float"))
    kinds = [type(module) for module in network.modules()]
    assert kinds[1] is Pixels
    assert LevelActivation in kinds and nn.ReLU not in kinds
    assert (network.notation, network.in_shape, network.classes) == (name, (3, 32, 32), 10)


def test_capture_computes_the_same() -> None:
    torch.manual_seed(0)
    quantisation = Quantisation(levels="qcfs", count=4, threshold=2.0, weights="float")
    network = build_architecture("resnet8", (1, 28, 28), 10, quantisation, offset=(33,), divisor=64)
    assert_captured(randomise_statistics(network), (1, 28, 28), 3)


def test_ends_have_their_own_weights() -> None:
    quantisation = Quantisation(levels="qcfs", weights="binary", ends="int8")
    network = build_architecture("resnet8", (3, 32, 32), 10, quantisation)
    synapses = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    kinds = [type(module.get_submodule("parametrizations.weight.0")) for module in synapses]
    assert kinds == [Int8, *[Binary] * (len(synapses) - 2), Int8]
    assert not synapses[-1].get_submodule("parametrizations.weight.0").per_channel


def test_the_encoder_has_its_own_bound() -> None:
    network = build_architecture("vgg11", (3, 32, 32), 10, Quantisation(encoder_bound=4))
    levels = [module.levels for module in network.modules() if isinstance(module, LevelActivation)]
    assert levels == [4, *[None] * (len(levels) - 1)]


def test_no_quantisation_leaves_the_network_as_it_is() -> None:
    network = build_architecture("resnet8", (3, 32, 32), 10, Quantisation(levels="none", weights="float"))
    assert not any(isinstance(module, LevelActivation) for module in network.modules())
    assert capture(network.eval()).input.divisor == 255


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_shape": (3, 0, 32)}, "in_shape and classes"),
        ({"in_shape": (32, 32)}, "in_shape and classes"),
        ({"classes": 0}, "in_shape and classes"),
        ({"offset": (1, 2)}, "offset: expected 3 pixel values from 0 to 255"),
        ({"offset": (256, 0, 0)}, "offset: expected 3 pixel values"),
        ({"offset": (0.5, 0, 0)}, "offset: expected 3 pixel values"),
        ({"divisor": 0}, r"divisor above 0, got \(0, 0, 0\), 0"),
        ({"dropout": 1.0}, r"dropout: expected a probability from 0 to below 1, got 1\.0"),
        ({"dropout": -0.1}, "dropout: expected a probability"),
    ],
)
def test_bad_numbers(options: dict[str, object], message: str) -> None:
    with pytest.raises(NotationError, match=message):
        build_architecture("vgg11", **{"in_shape": (3, 32, 32), "classes": 10, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet21", {}, ["network.architecture", "resnet20", "resnet21"]),
        ("resnet20", {"dropout": 0.5}, ["network.dropout", "resnet20", "leave it out"]),
        ("resnet20", {"padding": "same"}, ["network.padding", "leave it out"]),
        ("vgg16", {"pool": "conv"}, ["pool", "max or avg"]),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, object], words: list[str]) -> None:
    with pytest.raises(NotationError) as caught:
        build_architecture(name, (3, 32, 32), 10, **options)
    assert all(word in str(caught.value) for word in words)
