"""Capture: the arrays of the graph are the module's, exactly; and what it refuses."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn.utils import parametrizations, prune

from isospike.conversion import QuantisedAnn
from isospike.errors import ConversionError
from isospike.graph import BatchNorm
from isospike.networks import Layer, LevelActivation, Network, Quantisation, build_network, capture
from tests.random_networks import networks, random_images, randomise


def _network(**options: object) -> Network:
    torch.manual_seed(0)
    quantisation = Quantisation(**{"bound": 2, "ends": "int8", **options})  # type: ignore[arg-type]
    return randomise(build_network("3C3(same)-P2-4", (1, 6, 6), 3, quantisation))


def test_names_and_kinds() -> None:
    graph = capture(_network())
    assert [(type(node).__name__, node.name) for node in graph] == [
        ("Input", "pixels"),
        ("Convolution", "conv1"),
        ("BatchNorm", "conv1.norm"),
        ("Activation", "conv1.neuron"),
        ("Convolution", "pool1"),
        ("BatchNorm", "pool1.norm"),
        ("Activation", "pool1.neuron"),
        ("Flatten", "flatten"),
        ("Dense", "dense1"),
        ("BatchNorm", "dense1.norm"),
        ("Activation", "dense1.neuron"),
        ("Dense", "classifier"),
        ("Readout", "readout"),
    ]
    assert graph.t_max is None


def test_arrays_are_the_exact_values_of_the_floats() -> None:
    model = _network(weights="binary")
    graph, layer = capture(model), model.get_submodule("conv1")
    assert isinstance(layer, Layer)
    assert isinstance(layer.norm, nn.BatchNorm2d)
    norm = graph["conv1.norm"]
    assert isinstance(norm, BatchNorm)
    assert norm.gamma.tolist() == layer.norm.weight.tolist()
    assert norm.beta.tolist() == layer.norm.bias.tolist()
    assert layer.norm.running_mean is not None
    assert layer.norm.running_var is not None
    assert norm.mean.tolist() == layer.norm.running_mean.tolist()
    assert norm.sigma.tolist() == [np.sqrt(float(value) + 1e-5) for value in layer.norm.running_var]
    arrays = graph["pool1"].arrays
    pool = model.get_submodule("pool1.synapses")
    expected = arrays["weight"].astype(np.float32) * arrays["scale"].astype(np.float32).reshape(-1, 1, 1, 1)
    assert isinstance(pool, nn.Conv2d)
    assert np.array_equal(expected, pool.weight.detach().numpy())


def test_activations_are_captured_as_rationals() -> None:
    assert capture(_network(k=2))["conv1.neuron"].settings == {"step": Fraction(1, 4), "levels": 8}
    unbounded = capture(_network(bound=None))["conv1.neuron"]
    assert unbounded.settings == {"step": Fraction(1), "levels": None}


def test_training_mode_and_later_changes_do_not_matter() -> None:
    model = _network()
    graph = capture(model.train())
    before = graph["conv1.norm"].arrays["gamma"].copy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert np.array_equal(graph["conv1.norm"].arrays["gamma"], before)


@given(networks())
@settings(max_examples=20)
def test_quantised_ann_is_what_pytorch_computes_but_for_ties(model: Network) -> None:
    """In float64 nearly every image gives the same logits; a tie or a rounding may change a count now and then."""
    ann = capture(model)
    images = random_images(ann.input.shape, 6)
    exact = QuantisedAnn(ann)
    logits = exact.evaluate(images).logits
    unit = 1.0
    if any(array.dtype == np.int8 for array in ann["classifier"].arrays.values()):
        scale = ann["classifier"].arrays["scale"]
        classifier = model.get_submodule("classifier")
        unit = float(scale[0]) * float(classifier.unit()) / classifier.divisor  # type: ignore[operator, arg-type]
    with torch.inference_mode():
        found = model(images).double() / unit
    close = torch.isclose(found, logits, rtol=1e-3, atol=1e-2).all(1)
    assert int(close.sum()) >= 4


def test_unknown_layers_of_a_network_are_refused() -> None:
    model = _network()
    model.add_module("extra", nn.Tanh())
    with pytest.raises(ConversionError, match="extra: cannot capture a Tanh"):
        capture(model)


@pytest.mark.parametrize(
    ("reparametrise", "message"),
    [
        (parametrizations.weight_norm, "expected float, ternary, binary or int8 weights, got those of _WeightNorm"),
        (lambda module: prune.identity(module, "weight"), "expected a parameter, got a weight that is worked out"),
    ],
)
def test_weights_that_are_worked_out_are_refused(reparametrise: Callable[[nn.Module], object], message: str) -> None:
    model = _network(weights="float")
    reparametrise(model.get_submodule("dense1.synapses"))
    with pytest.raises(ConversionError, match=f"^dense1: weights: {message}"):
        capture(model)


@pytest.mark.parametrize("weights", ["float", "ternary", "binary", "int8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["conv1", "pool1", "dense1", "classifier"])
def test_weights_that_are_not_finite_name_their_layer(weights: str, value: float, name: str) -> None:
    model = _network(weights=weights)
    synapses = model.get_submodule(name if name == "classifier" else f"{name}.synapses")
    with torch.no_grad():
        next(each for key, each in synapses.named_parameters() if "bias" not in key).view(-1)[1] = value
    with pytest.raises(ConversionError, match=rf"^{name}\.weight: holds NaN or infinity"):
        capture(model)


@pytest.mark.parametrize("field", ["weight", "bias", "running_mean", "running_var"])
def test_batch_norm_that_is_not_finite_names_its_layer(field: str) -> None:
    model = _network()
    with torch.no_grad():
        getattr(model.get_submodule("pool1.norm"), field)[1] = float("nan")
    with pytest.raises(ConversionError, match=r"^pool1\.norm\.\w+: holds NaN or infinity"):
        capture(model)


def test_ruined_threshold_names_its_layer() -> None:
    model = _network(levels="qcfs")
    activation = model.get_submodule("pool1.activation")
    assert isinstance(activation, LevelActivation)
    assert isinstance(activation.threshold, nn.Parameter)
    activation.threshold.data.fill_(-1)
    with pytest.raises(ConversionError, match=r"^pool1: level activation: expected a threshold above 0, got -1\.0"):
        capture(model)


def test_negative_variance_is_refused() -> None:
    model = _network()
    with torch.no_grad():
        model.get_submodule("pool1.norm").running_var[0] = -1  # type: ignore[operator]
    with pytest.raises(ConversionError, match=r"^pool1\.norm\.sigma: holds NaN or infinity"):
        capture(model)
