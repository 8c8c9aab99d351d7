"""The notation of the papers."""

import pytest
import torch
from torch import nn

from isospike.errors import ConversionError, NotationError
from isospike.networks import (
    Classifier,
    ConvolutionSpec,
    DenseSpec,
    Layer,
    LevelActivation,
    PoolSpec,
    Quantisation,
    build_network,
    parse_notation,
)

CIFAR = "96C3-256C3-P2-384C3-P2-384C3-256C3-P2-1024-1024"
# notation, padding, shape of the images, classes, layers
PUBLISHED = [
    ("32C5-P2-64C5-P2-1000", "valid", (1, 28, 28), 10, 5),
    (CIFAR, "same", (3, 24, 24), 10, 10),
    ("16C5(same)-16C5-P2-32C5-P2-256", "valid", (1, 28, 28), 10, 6),
    ("64C3*3-P2-128C3*2-P2-256C3*2-P2-512C3-512", "same", (3, 24, 24), 100, 12),
    ("20C5-P2-50C5-P2-500", "valid", (1, 28, 28), 10, 5),
    ("400-400", "valid", (1, 28, 28), 10, 2),
    ("32C5-P2-64C5-P2-1024", "valid", (1, 28, 28), 10, 5),
    ("128C3-256C3-P2-512C3-P2-1024C3-512C3-P2-1024-512", "same", (3, 24, 24), 10, 10),
]


@pytest.mark.parametrize(("notation", "padding", "shape", "classes", "layers"), PUBLISHED)
@pytest.mark.parametrize("pool", ["conv", "avg", "max"])
def test_published_networks_parse_and_fit(
    notation: str, padding: str, shape: tuple[int, int, int], classes: int, layers: int, pool: str
) -> None:
    assert len(parse_notation(notation, padding)) == layers
    with torch.device("meta"):
        model = build_network(notation, shape, classes, padding=padding, pool=pool)
        assert model(torch.empty(2, *shape)).shape == (2, classes)
    assert model.notation == notation
    assert model.in_shape == shape
    assert model.classes == classes


def test_tokens() -> None:
    assert parse_notation("16C5(same)-8C3-P2-32C1*2-P3-256*2-10") == (
        ConvolutionSpec(16, 5, "same"),
        ConvolutionSpec(8, 3, "valid"),
        PoolSpec(2),
        ConvolutionSpec(32, 1, "valid"),
        ConvolutionSpec(32, 1, "valid"),
        PoolSpec(3),
        DenseSpec(256),
        DenseSpec(256),
        DenseSpec(10),
    )
    assert parse_notation(" 4C3 - P2 ") == (ConvolutionSpec(4, 3, "valid"), PoolSpec(2))


def test_padding_of_a_layer_overrules_the_option() -> None:
    assert parse_notation("4C3(valid)-4C3", "same") == (ConvolutionSpec(4, 3, "valid"), ConvolutionSpec(4, 3, "same"))
    assert parse_notation("4C3(same)*2", "valid") == (ConvolutionSpec(4, 3, "same"),) * 2


@pytest.mark.parametrize(
    ("notation", "shown", "reason"),
    [
        ("32C5-Q2-64C5", "32C5->>Q2<<-64C5", "expected tokens like 32C5"),
        ("32X5-P2", ">>32X5<<-P2", "expected tokens like"),
        ("32C5--10", "32C5->><<-10", "expected tokens like"),
        ("", ">><<", "expected tokens like"),
        ("32C5-P2-", "32C5-P2->><<", "expected tokens like"),
        ("32c5", ">>32c5<<", "expected tokens like"),
        ("32C", ">>32C<<", "expected tokens like"),
        ("P", ">>P<<", "expected tokens like"),
        ("8C3-0C3", "8C3->>0C3<<", "every number must be from 1 to 1048576"),
        ("8C0", ">>8C0<<", "every number must be from 1 to 1048576"),
        ("8C3*0", ">>8C3*0<<", "every number must be from 1 to 1048576"),
        ("P0", ">>P0<<", "every number must be from 1 to 1048576"),
        ("8C3-0", "8C3->>0<<", "every number must be from 1 to 1048576"),
        ("8C3(full)", ">>8C3(full)<<", "padding 'full' is neither same nor valid"),
        ("8C4(same)", ">>8C4(same)<<", "padding 'same' expects an odd kernel, got 4"),
        ("P2(same)", ">>P2(same)<<", "only a convolution has a padding"),
        ("10(valid)", ">>10(valid)<<", "only a convolution has a padding"),
        ("8C3-100-P2", "8C3-100->>P2<<", "a dense layer has no feature map left"),
        ("100-8C3", "100->>8C3<<", "a dense layer has no feature map left"),
        ("8C3*-10", ">>8C3*<<-10", "expected tokens like"),
    ],
)
def test_bad_token_is_shown_in_its_place(notation: str, shown: str, reason: str) -> None:
    with pytest.raises(NotationError) as caught:
        parse_notation(notation)
    message = str(caught.value)
    assert message.startswith(f"network {shown}: cannot read token ")
    assert reason in message
    assert "\n" not in message


def test_unknown_options() -> None:
    with pytest.raises(NotationError, match="padding: expected same or valid, got 'full'"):
        parse_notation("8C3", "full")
    with pytest.raises(NotationError, match="pool: expected one of conv, avg, max, got 'min'"):
        build_network("8C3", (1, 8, 8), 10, pool="min")
    with pytest.raises(NotationError, match=r"quantise.levels: expected one of median, qcfs, none, got 'mean'"):
        Quantisation(levels="mean")
    with pytest.raises(NotationError, match=r"quantise.weights: expected one of .*, got 'int4'"):
        Quantisation(weights="int4")
    with pytest.raises(NotationError, match=r"quantise.ends: expected one of float, int8, got 'ternary'"):
        Quantisation(ends="ternary")
    with pytest.raises(ConversionError, match="k from 0 to 16, got -1"):
        Quantisation(k=-1)
    for options in ({"bound": float("inf")}, {"encoder_bound": float("inf")}):
        with pytest.raises(ConversionError, match="whole number above 0, got inf"):
            Quantisation(**options)


@pytest.mark.parametrize(
    ("notation", "shape", "message"),
    [
        ("8C5-P2-8C5", (1, 8, 8), "8C5-P2-8C5: a window of 5 does not fit the 2x2 that is left before layer 3"),
        ("P9", (1, 8, 9), "P9: a window of 9 does not fit the 8x9"),
    ],
)
def test_network_that_does_not_fit_its_images(notation: str, shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(NotationError, match=message):
        build_network(notation, shape, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_shape": (1, 0, 8)}, "in_shape and classes"),
        ({"in_shape": (8, 8)}, "in_shape and classes"),
        ({"classes": 0}, "in_shape and classes"),
        ({"offset": (1, 2)}, "offset: expected 1 pixel values from 0 to 255"),
        ({"offset": (256,)}, "offset: expected 1 pixel values"),
        ({"divisor": 0}, r"divisor above 0, got \(0,\), 0"),
        ({"dropout": 1.5}, r"dropout: expected a probability from 0 to below 1, got 1\.5"),
    ],
)
def test_bad_numbers(options: dict[str, object], message: str) -> None:
    with pytest.raises(NotationError, match=message):
        build_network("8C3", **{"in_shape": (1, 8, 8), "classes": 10, **options})  # type: ignore[arg-type]


def test_layers_of_a_network_in_order() -> None:
    model = build_network("4C3(same)-P2-6C3-5", (3, 8, 8), 10, Quantisation(bound=2, encoder_bound=4, ends="int8"))
    assert [name for name, _ in model.named_children()] == [
        "pixels",
        "conv1",
        "pool1",
        "conv2",
        "flatten",
        "dense1",
        "classifier",
    ]
    encoder, pool, dense = (model.get_submodule(name) for name in ("conv1", "pool1", "dense1"))
    assert isinstance(encoder, Layer)
    assert isinstance(pool, Layer)
    assert isinstance(dense, Layer)
    assert isinstance(pool.synapses, nn.Conv2d)
    assert (pool.synapses.kernel_size, pool.synapses.stride, pool.synapses.padding) == ((2, 2), (2, 2), (0, 0))
    assert pool.synapses.out_channels == pool.synapses.in_channels == 4
    assert encoder.synapses.bias is None
    assert isinstance(encoder.norm, nn.BatchNorm2d)
    assert isinstance(dense.norm, nn.BatchNorm1d)
    assert dense.synapses.weight.shape == (5, 6 * 2 * 2)
    assert isinstance(encoder.activation, LevelActivation)
    assert isinstance(dense.activation, LevelActivation)
    assert (encoder.activation.levels, dense.activation.levels) == (4, 2)
    assert isinstance(model.get_submodule("classifier"), Classifier)


@pytest.mark.parametrize(("pool", "kind"), [("avg", nn.AvgPool2d), ("max", nn.MaxPool2d)])
def test_pools_without_weights(pool: str, kind: type[nn.Module]) -> None:
    assert isinstance(build_network("4C3-P2", (1, 8, 8), 10, pool=pool).get_submodule("pool1"), kind)


def test_biases_are_only_where_batch_norm_is_off() -> None:
    for batch_norm in (True, False):
        model = build_network("4C3-P2-5", (1, 8, 8), 10, batch_norm=batch_norm)
        layers = [layer for layer in model if isinstance(layer, Layer)]
        assert len(layers) == 3
        assert all((layer.norm is None) == (layer.synapses.bias is not None) == (not batch_norm) for layer in layers)


def test_full_precision_twin() -> None:
    model = build_network("4C3-5", (1, 8, 8), 10, Quantisation(levels="none", weights="float", ends="int8"))
    assert isinstance(model.get_submodule("conv1.activation"), nn.ReLU)
    assert not any("parametrizations" in name for name, _ in model.named_parameters())


def test_pixels_are_shifted_and_divided() -> None:
    model = build_network("4", (2, 1, 1), 10, offset=(10, 0), divisor=5)
    images = torch.tensor([[[[5]], [[255]]]], dtype=torch.uint8)
    assert model.get_submodule("pixels")(images).flatten().tolist() == [-1, 51]


def test_batchnorm_begins_with_the_gain() -> None:
    network = build_network("4C3-P2-6", (1, 8, 8), 10, Quantisation(gain=2.5))
    gains = [module.weight for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert [gain.unique().tolist() for gain in gains] == [[2.5]] * 3
    with pytest.raises(NotationError, match=r"quantise\.gain: expected a number above 0, got 0"):
        Quantisation(gain=0)
