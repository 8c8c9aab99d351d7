"""What a graph refuses to be."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from isospike.conversion import convert
from isospike.errors import GraphError
from isospike.graph import (
    Activation,
    AveragePool,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from tests.problems import PROBLEMS, chain, levels, pixels, real, whole

ANN = next(each.ann for each in PROBLEMS if each.name == "max pool")
SPIKING = convert(ANN, "all-integer", t_max=8)


def _swap(graph: SpikingGraph, name: str, **changes: object) -> SpikingGraph:
    nodes = tuple(replace(node, **changes) if node.name == name else node for node in graph)  # type: ignore[arg-type]
    return SpikingGraph(nodes, graph.t_max)


def test_shapes_by_hand() -> None:
    assert ANN.shapes == {
        "pixels": (1, 4, 4),
        "encoder": (1, 4, 4),
        "encoder.neuron": (1, 4, 4),
        "pool": (1, 2, 2),
        "hidden": (2, 1, 1),
        "hidden.neuron": (2, 1, 1),
        "flatten": (2,),
        "classifier": (2,),
        "readout": (2,),
    }
    strided = chain(
        pixels(2, 7, 5),
        Convolution("conv", (), whole(np.ones((4, 1, 3, 2))), (2, 1), (1, 0), (1, 3), 2),
        AveragePool("pool", (), (2, 1), (1, 1), (1, 0)),
        Flatten("flatten", ()),
        Dense("classifier", (), whole(np.ones((2, 40)))),
        Readout("readout", (), real([0, 0])),
    )
    # height (7 + 2 - 3) // 2 + 1 = 4, width 5 - 4 + 1 = 2; then 4 + 2 - 2 + 1 = 5
    assert strided.shapes["conv"] == (4, 4, 2)
    assert strided.shapes["pool"] == (4, 5, 2)


def test_groups_of_nodes() -> None:
    assert [node.name for node in SPIKING.spiking] == ["encoder.neuron", "pool", "hidden.neuron"]
    assert [node.name for node in SPIKING.neurons] == ["encoder.neuron", "hidden.neuron"]
    assert [node.name for node in SPIKING.synapses] == ["encoder", "hidden", "classifier"]
    assert SPIKING.is_integer
    assert SPIKING.is_converted
    assert not ANN.is_converted
    assert SPIKING["pool"] is SPIKING.nodes[3]
    with pytest.raises(GraphError, match="no node is called 'nothing'; there are pixels, encoder"):
        SPIKING["nothing"]


def test_order_is_checked() -> None:
    nodes = ANN.nodes
    with pytest.raises(GraphError, match="begins with an Input and ends with a Readout"):
        SpikingGraph(nodes[1:])
    with pytest.raises(GraphError, match="begins with an Input and ends with a Readout"):
        SpikingGraph(())
    with pytest.raises(GraphError, match="encoder: two nodes have this name"):
        SpikingGraph((nodes[0], nodes[1], nodes[1], *nodes[2:]))
    with pytest.raises(GraphError, match="pool: its input 'flatten' does not come before it"):
        _swap(ANN, "pool", inputs=("flatten",))
    with pytest.raises(GraphError, match=r"pool: expected 1 input\(s\), got 2"):
        _swap(ANN, "pool", inputs=("encoder", "encoder.neuron"))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("encoder", {"weight": whole(np.ones((1, 2, 1, 1)))}, r"encoder: weight \(1, 2, 1, 1\) .* 2 channels, got 1"),
        ("encoder", {"weight": whole(np.ones((1, 1, 5, 5)))}, "encoder: a window of 5 does not fit a .* of 4x4"),
        ("encoder", {"weight": whole(np.ones((1, 1)))}, r"encoder.weight: expected 4 dimensions, got .*\(1, 1\)"),
        ("hidden", {"groups": 2}, "hidden: .* expects 2 channels, got 1"),
        ("classifier", {"weight": whole(np.ones((2, 3)))}, "classifier: weight .* expects 3 features"),
        ("classifier", {"weight": whole(np.ones((2, 2, 1)))}, "classifier.weight: expected 2 dimensions"),
        ("hidden.neuron", {"threshold": whole([1])}, "hidden.neuron.threshold: expected one entry for each of 2"),
        ("hidden.neuron", {"step": whole([1, 1, 1])}, "hidden.neuron.step: expected one entry for each of 2"),
        ("hidden.neuron", {"threshold": whole(np.ones((2, 3)))}, "hidden.neuron.*(expected|table)"),
        ("hidden.neuron", {"step": whole([1, 0])}, "hidden.neuron.step: expected steps above 0, got 0"),
        ("hidden.neuron", {"step": None}, "one threshold and one step per channel, or a table and no step"),
        ("hidden.neuron", {"fraction_bits": None}, "hidden.neuron: fraction_bits goes with integer thresholds"),
        ("hidden.neuron", {"fraction_bits": 25}, "hidden.neuron: expected 0 to 24 fraction bits, got 25"),
        ("hidden.neuron", {"levels": 0}, "hidden.neuron: expected at least 1 level and 1 spike per step, got 0, 1"),
        ("hidden.neuron", {"limit": 0}, "hidden.neuron: expected at least 1 level and 1 spike per step"),
        ("readout", {"bias": whole([1, 2, 3])}, "readout.bias: expected one entry for each of 2 channels"),
        ("readout", {"bias": real([1, np.nan])}, "readout.bias: holds NaN or infinity"),
        ("readout", {"bias": np.float32([1, 2])}, "readout.bias: expected integers or float64, got float32"),
        ("pixels", {"offset": whole([1, 2])}, "pixels.offset: expected one entry for each of 1 channels"),
        ("pool", {"kernel": (5, 5)}, "pool: a window of 5 does not fit"),
        ("pool", {"limit": None}, "pool: a max-pool tracker needs the most spikes"),
        ("hidden", {"scale": real([1, 1])}, "hidden: scale and bias do not occur in a spiking graph"),
    ],
)
def test_values_and_shapes_are_checked(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        _swap(SPIKING, name, **changes)


@pytest.mark.parametrize(
    ("node", "changes", "message"),
    [
        ("norm", {"sigma": real([1, 0])}, r"norm\.sigma: expected deviations above 0, got 0\.0"),
        ("neuron", {"step": Fraction(0)}, "neuron: expected a step above 0 and levels, got 0 and 4"),
        ("neuron", {"levels": 0}, "neuron: expected a step above 0 and levels, got 1 and 0"),
        ("pixels", {"divisor": 0}, "pixels: expected a divisor of at least 1, got 0"),
    ],
)
def test_values_of_a_captured_ann_are_checked(node: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        _swap(PROBLEMS[0].ann, node, **changes)


@pytest.mark.parametrize("t_max", [0, -1, 2.5, "8"])
def test_t_max_is_checked(t_max: object) -> None:
    with pytest.raises(GraphError, match=f"T_max: expected at least 1 time step, as a whole number, got {t_max}"):
        SpikingGraph(SPIKING.nodes, t_max)  # type: ignore[arg-type]


def test_activations_do_not_spike() -> None:
    with pytest.raises(GraphError, match=r"encoder\.neuron: a Activation does not occur in a spiking graph"):
        SpikingGraph(ANN.nodes, 4)


def test_feature_maps_do_not_come_back_after_flatten() -> None:
    broken: tuple[Node, ...] = (
        pixels(1, 2, 2),
        Flatten("flatten", ()),
        Convolution("conv", (), whole([[[[1]]]])),
        Readout("readout", (), real([0])),
    )
    with pytest.raises(GraphError, match=r"conv: expected a feature map .*, got the shape \(4,\)"):
        chain(*broken)


def test_nodes_tell_arrays_from_settings() -> None:
    neuron = SPIKING["hidden.neuron"]
    assert isinstance(neuron, CountingNeuron)
    assert set(neuron.arrays) == {"threshold", "step"}
    assert neuron.settings == {"fraction_bits": neuron.fraction_bits, "levels": 4, "limit": 1}
    assert isinstance(levels("a", 3), Activation)
    assert MaxPool("pool", (), (2, 2), (2, 2)).settings == {
        "kernel": (2, 2),
        "stride": (2, 2),
        "padding": (0, 0),
        "limit": None,
    }


def test_ends_are_at_the_ends() -> None:
    ends = [Input("pixels", (), (1, 1, 2), 1, np.array([0])), Flatten("flatten", ("pixels",))]
    readout = Readout("readout", ("flatten",), np.array([0, 0]))
    with pytest.raises(GraphError, match="early: expected a Readout only at an end"):
        SpikingGraph((*ends, Readout("early", ("flatten",), np.array([0, 0])), readout))
    with pytest.raises(GraphError, match=r"readout: expected one logit for each class, got the shape \(1, 1, 2\)"):
        SpikingGraph((ends[0], Readout("readout", ("pixels",), np.array([0]))))


def test_a_pool_is_padded_by_half_its_window_at_most() -> None:
    nodes = (
        Input("pixels", (), (1, 4, 4), 1, np.array([0])),
        MaxPool("pool", ("pixels",), (2, 2), (2, 2), (2, 0)),
        Flatten("flatten", ("pool",)),
        Readout("readout", ("flatten",), np.zeros(8)),
    )
    with pytest.raises(GraphError, match="pool: expected a padding of at most half the window"):
        SpikingGraph(nodes)
