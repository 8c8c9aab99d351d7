"""What conversion makes of a network, and what it refuses."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import isospike
from isospike.conversion import convert
from isospike.conversion.base import CountingConversion
from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    CountingNeuron,
    Dense,
    Flatten,
    MaxPool,
    Readout,
    SpikingGraph,
)
from isospike.graph.nodes import is_integer
from isospike.networks import Network, Quantisation, build_network, capture
from tests.conversion.layers import derive_layer
from tests.problems import LOSSLESS, PROBLEMS, chain, levels, norm, pixels, whole
from tests.random_networks import randomise

ANNS = {each.name: each.ann for each in PROBLEMS}


def _network(**options: object) -> Network:
    torch.manual_seed(0)
    quantisation = Quantisation(**{"bound": 2, "ends": "int8", **options})  # type: ignore[arg-type]
    return randomise(build_network("3C3(same)-P2-4", (1, 6, 6), 3, quantisation))


def _neuron(graph: SpikingGraph, name: str) -> CountingNeuron:
    node = graph[name]
    assert isinstance(node, CountingNeuron)
    return node


def _swap(graph: SpikingGraph, name: str, **changes: object) -> SpikingGraph:
    nodes = tuple(replace(node, **changes) if node.name == name else node for node in graph)  # type: ignore[arg-type]
    return SpikingGraph(nodes, graph.t_max)


def test_public_functions_are_the_package_s() -> None:
    assert isospike.convert is convert
    assert isospike.capture is capture
    with pytest.raises(AttributeError, match="has no attribute 'transmogrify'"):
        _ = isospike.transmogrify


def test_gamma_below_zero_negates_the_weights_of_its_channel() -> None:
    ann = ANNS["gamma below zero"]
    graph = convert(ann, "negative-spike")
    assert graph["encoder"].arrays["weight"].tolist() == [[-1, -1], [-2, 1]]
    assert graph["hidden"].arrays["weight"].tolist() == [[-1, 1]]
    assert ann["encoder"].arrays["weight"].tolist() == [[1, 1], [2, -1]]  # the ANN is left as it is


def test_gamma_zero_clears_the_weights_of_its_channel() -> None:
    graph = convert(ANNS["gamma zero"], "negative-spike")
    assert graph["encoder"].arrays["weight"].tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]


def test_scales_biases_and_batch_norm_are_gone() -> None:
    for method in LOSSLESS:
        for ann in ANNS.values():
            graph = convert(ann, method)
            assert graph.is_integer
            assert all(set(node.arrays) == {"weight"} for node in graph.synapses)
            assert [node.name for node in graph if not isinstance(node, CountingNeuron | Add)] == [
                node.name for node in ann if not isinstance(node, BatchNorm | Activation | Add)
            ]


def test_limits_of_the_methods() -> None:
    ann = ANNS["max pool"]
    for method, limit in (("negative-spike", 1), ("all-integer", 1), ("scatter-gather", 4)):
        graph = convert(ann, method)
        assert [_neuron(graph, name).limit for name in ("encoder.neuron", "hidden.neuron")] == [limit, limit]
        pool = graph["pool"]
        assert isinstance(pool, MaxPool)
        assert pool.limit == limit
        assert [_neuron(graph, name).levels for name in ("encoder.neuron", "hidden.neuron")] == [4, 4]


def test_average_pool_moves_its_divisor_into_the_next_thresholds() -> None:
    graph = convert(ANNS["average pool"], "negative-spike")
    assert isinstance(graph["pool1"], AveragePool)
    hidden = _neuron(graph, "hidden.neuron")
    # sums of four: levels at 2, 6, 10, 14 instead of 0.5, 1.5, ...
    assert hidden.step is not None
    assert hidden.fraction_bits is not None
    theta, delta = int(hidden.threshold[0]), int(hidden.step[0])
    assert [-((-(theta + n * delta)) >> hidden.fraction_bits) for n in range(4)] == [2, 6, 10, 14]
    assert graph.readout.scale == 0.25


@pytest.mark.parametrize("t_max", [1, 2, 5, 9])
def test_without_levels_thresholds_are_exact_up_to_what_t_max_can_pay_out(t_max: int) -> None:
    """And one level more: a neuron that deserves T_max + 1 spikes must not look settled at T_max."""
    random = np.random.default_rng(t_max)
    for _ in range(40):
        batch_norm = norm("norm", random.normal(1, 0.3, 1), random.normal(size=1), [0], random.uniform(0.5, 9, 1))
        ann = chain(
            pixels(1, 1, 1),
            Flatten("flatten", ()),
            Dense("encoder", (), whole([[1]])),
            batch_norm,
            levels("neuron", None),
            Dense("classifier", (), whole([[1]])),
            Readout("readout", (), np.zeros(1)),
        )
        neuron = _neuron(convert(ann, "negative-spike", t_max=t_max), "neuron")
        assert neuron.step is not None
        assert neuron.fraction_bits is not None
        (real_one,) = derive_layer(levels("neuron", None), batch_norm, None, [Fraction(1)])
        for v in range(256):
            exact = ((v - real_one.first) / real_one.step).__floor__() + 1
            found = ((v << neuron.fraction_bits) - int(neuron.threshold[0])) // int(neuron.step[0]) + 1
            assert min(max(found, 0), t_max + 1) == min(max(exact, 0), t_max + 1)


def test_weights_that_are_floats_keep_float_thresholds() -> None:
    graph = convert(_network(weights="float"), "negative-spike")
    assert not graph.is_integer
    assert all(neuron.fraction_bits is None and not is_integer(neuron.threshold) for neuron in graph.neurons)
    mixed = convert(_network(ends="float"), "negative-spike")
    assert [neuron.fraction_bits is None for neuron in mixed.neurons] == [True, False, False]


def test_all_integer_has_no_float_anywhere() -> None:
    graph = convert(_network(), "all-integer")
    assert all(is_integer(array) for node in graph for array in node.arrays.values())
    assert all(neuron.fraction_bits is not None for neuron in graph.neurons)


def test_t_max_is_the_option_or_the_default() -> None:
    for method, default in (("negative-spike", 64), ("all-integer", 32), ("scatter-gather", 1)):
        assert convert(ANNS["plain"], method).t_max == default
        assert convert(ANNS["plain"], method, t_max=7).t_max == 7


def test_model_and_its_capture_convert_alike() -> None:
    model = _network()
    one, other = convert(model, "all-integer"), convert(capture(model), "all-integer")
    assert isospike.graph.compare_graphs(one, other) == []


def test_unknown_method_and_option() -> None:
    with pytest.raises(ConversionError, match="unknown method 'srp2'; expected one of all-integer, calibrated, c"):
        convert(ANNS["plain"], "srp2")
    with pytest.raises(ConversionError, match="scatter-gather: unknown option 'tau'; expected one of t_max"):
        convert(ANNS["plain"], "scatter-gather", tau=4)
    for method in LOSSLESS:
        with pytest.raises(ConversionError, match="t_max: expected at least 1 time step, got 0"):
            convert(ANNS["plain"], method, t_max=0)


def test_spiking_graph_is_not_converted_again() -> None:
    with pytest.raises(ConversionError, match="got a graph that spikes already"):
        convert(convert(ANNS["plain"], "negative-spike"), "negative-spike")


@pytest.mark.parametrize(("options", "layer"), [({"weights": "float"}, "conv1"), ({"ends": "float"}, "conv1")])
def test_all_integer_names_the_layer_with_float_weights(options: dict[str, str], layer: str) -> None:
    with pytest.raises(ConversionError, match=rf"^{layer}: all-integer .* expects integer weights, got float64"):
        convert(_network(**options), "all-integer")


def test_activation_without_levels_is_refused() -> None:
    model = _network(levels="none")
    for method in LOSSLESS:
        with pytest.raises(ConversionError, match=r"^conv1\.neuron: a ReLU has no levels, .*quantise.levels=median"):
            convert(model, method)


def test_scatter_gather_names_the_layer_without_end() -> None:
    with pytest.raises(ConversionError, match=r"^pool1\.neuron: its activation has no highest level"):
        convert(_network(bound=None, encoder_bound=4), "scatter-gather")


def test_nan_weights_name_their_layer() -> None:
    model = _network(weights="ternary")
    with torch.no_grad():
        model.get_parameter("dense1.synapses.parametrizations.weight.original")[0, 0] = float("nan")
    for method in LOSSLESS:
        with pytest.raises(ConversionError, match=r"^dense1\.weight: holds NaN or infinity"):
            convert(model, method)


def test_classes_with_scales_of_their_own_are_refused() -> None:
    ann = _swap(ANNS["scale zero"], "classifier", scale=np.array([0.5, 0.25]))
    with pytest.raises(ConversionError, match="classifier: its classes have scales of their own"):
        convert(ann, "all-integer")


@pytest.mark.parametrize("limit", [1, 2, 3, None])
def test_counts_per_step_are_the_conversion_s_argument(limit: int | None) -> None:
    graph = CountingConversion(ANNS["plain"], 4, limit).run()
    assert _neuron(graph, "neuron").limit == (4 if limit is None else limit)


def test_readout_counts_in_units_of_the_last_spikes() -> None:
    readout = convert(ANNS["padding by the mean"], "negative-spike").readout
    assert isinstance(readout, Readout)
    assert readout.bias.tolist() == [1, 0]
    assert readout.scale == 2.0
