"""What a graph is made of, worked out by hand."""

import json
from fractions import Fraction

import numpy as np
import torch

from isospike import calibrate, capture, convert, describe
from isospike.graph import (
    Activation,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    IntegrateAndFire,
    Readout,
    Rectifier,
    SpikingGraph,
)
from isospike.graph.intervals import count_membrane_bits
from isospike.metrics import Description, NodeDescription
from isospike.networks import Quantisation, build_network, resnet8


def build_counting() -> SpikingGraph:
    kernel = np.ones((4, 2, 3, 3), dtype=np.int8)
    kernel[0] = 0
    return SpikingGraph(
        (
            Input("pixels", (), (2, 5, 5), 255, np.zeros(2, dtype=np.int64)),
            Convolution("conv", ("pixels",), kernel, padding=(1, 1)),
            CountingNeuron("conv.neuron", ("conv",), np.array([6, 8, 10, 12]), np.array([4, 4, 4, 16]), 2, 7, 1),
            Flatten("flatten", ("conv.neuron",)),
            Dense("classifier", ("flatten",), np.full((3, 100), -5, dtype=np.int8)),
            Readout("readout", ("classifier",), np.zeros(3, dtype=np.int64)),
        ),
        9,
    )


def by_name(found: Description) -> dict[str, NodeDescription]:
    return {node.name: node for node in found.nodes}


def test_counting_graph_by_hand() -> None:
    found = describe(build_counting())
    nodes = by_name(found)
    assert (found.kind, found.integer, found.t_max, found.tau, found.classes) == ("counting", True, 9, 0, 3)
    assert found.in_shape == (2, 5, 5)
    # along an axis of 5, windows of 3 with padding 1 meet 2 + 3 + 3 + 3 + 2 = 13 places
    assert nodes["conv"].synapses == 13 * 13 * 4 * 2
    assert nodes["conv"].weights == 72
    assert (nodes["conv"].weight_type, nodes["conv"].weight_range) == ("ternary", (0, 1))
    assert nodes["conv.neuron"].neurons == 100
    assert nodes["conv.neuron"].threshold == (1.5, 3)
    assert nodes["conv.neuron"].step == (1, 4)
    assert (nodes["conv.neuron"].levels, nodes["conv.neuron"].limit) == (7, 1)
    assert nodes["conv.neuron"].fraction_bits == 2
    assert nodes["conv.neuron"].membrane_bits == 16  # 2 * 9 * 255 = 4590
    assert (nodes["classifier"].weight_type, nodes["classifier"].synapses) == ("int8", 300)
    assert nodes["readout"].membrane_bits == 16  # 100 * 7 * 5 = 3500
    assert (found.neurons, found.synapses, found.weights) == (100, 13 * 13 * 8 + 300, 372)
    assert found.membrane_bits == 16
    assert nodes["flatten"] == NodeDescription("flatten", "Flatten", ("conv.neuron",), (100,))


def test_a_table_of_thresholds_shows_its_first_column_and_no_step() -> None:
    nodes = list(build_counting())
    nodes[2] = CountingNeuron("conv.neuron", ("conv",), np.array([[1, 5], [2, 6], [3, 7], [4, 8]]), None, 0, 2, 1)
    node = by_name(describe(SpikingGraph(tuple(nodes), 9)))["conv.neuron"]
    assert (node.threshold, node.step) == ((1, 4), None)


def test_rate_coded_graph() -> None:
    nodes = list(build_counting())
    nodes[2] = IntegrateAndFire("conv.neuron", ("conv",), np.array([1.0, 2, 3, 4]), np.zeros(4))
    found = describe(SpikingGraph(tuple(nodes), 9, 3))
    assert (found.kind, found.tau, found.membrane_bits, found.neurons) == ("rate-coded", 3, None, 100)
    assert by_name(found)["conv.neuron"].threshold == (1, 4)
    assert by_name(found)["conv.neuron"].membrane_bits is None


def test_captured_graph() -> None:
    nodes = list(build_counting())
    nodes[2] = Activation("conv.neuron", ("conv",), Fraction(1, 4), 8, np.array([1.0, 0.5, 0.25, 1]))
    found = describe(SpikingGraph(tuple(nodes)))
    assert (found.kind, found.t_max, found.neurons) == ("captured", None, 100)
    assert by_name(found)["conv.neuron"].threshold == (0.5, 2)
    assert by_name(found)["conv.neuron"].step == (1 / 16, 1 / 4)
    nodes[2] = Rectifier("conv.neuron", ("conv",), 6.0)
    assert by_name(describe(SpikingGraph(tuple(nodes))))["conv.neuron"].threshold == (6, 6)
    nodes[2] = Rectifier("conv.neuron", ("conv",))
    assert by_name(describe(SpikingGraph(tuple(nodes))))["conv.neuron"].threshold is None


def test_strides_dilation_and_groups() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, stride=2, padding=2, dilation=2, groups=2), torch.nn.Flatten(), torch.nn.Linear(72, 2)
    )
    node = by_name(describe(capture(model, torch.rand(2, 4, 5, 5))))["0"]
    # windows begin at -2, 0, 2 and take every other place: 2 + 3 + 2 of 0..4 exist
    assert (node.synapses, node.weight_type) == (7 * 7 * 8 * 2, "float")


def test_weight_types_of_trained_networks() -> None:
    for weights, expected in (("ternary", "ternary"), ("float", "float"), ("int8", "int8")):
        torch.manual_seed(1)
        ann = capture(build_network("4C3-16", (1, 8, 8), 3, Quantisation(weights=weights)))
        assert by_name(describe(ann))["dense1"].weight_type == expected


def test_all_of_it_is_plain_json_with_the_documented_keys() -> None:
    ann = calibrate(resnet8((3, 8, 8), 5).eval(), torch.rand(4, 3, 8, 8))
    for graph in (ann, build_counting(), convert(capture(build_network("4C3", (1, 8, 8), 3)), "negative-spike")):
        content = json.loads(json.dumps(describe(graph).as_dict()))
        assert list(content) == [
            "kind", "in_shape", "classes", "t_max", "tau", "integer", "neurons", "synapses", "weights",
            "membrane_bits", "nodes",
        ]  # fmt: skip
        assert len(content["nodes"]) == len(graph.nodes)
        assert list(content["nodes"][0]) == [
            "name", "kind", "inputs", "shape", "neurons", "synapses", "weights", "weight_type", "weight_range",
            "threshold", "step", "levels", "limit", "membrane_bits", "fraction_bits",
        ]  # fmt: skip


def test_integer_membranes_of_a_rate_coded_graph_have_bits() -> None:
    network = build_network("4C3-6", (1, 6, 6), 3, Quantisation(levels="qcfs", count=4, weights="float"))
    images = torch.randint(0, 256, (8, 1, 6, 6), dtype=torch.uint8)
    graph = convert(network.eval(), "qcfs", images=images, t_max=8, integer_bits=8)
    found = describe(graph)
    assert found.kind == "rate-coded" and found.integer
    bits = [size for size in count_membrane_bits(graph).values() if size is not None]
    assert found.membrane_bits == max(bits)
