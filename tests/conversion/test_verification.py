"""Verify proves what is equal, and names what is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import isospike
from isospike.conversion import Verification, convert, verify
from isospike.errors import ConversionError, SimulationError
from isospike.files import read_tensors, write_tensors
from isospike.graph import SpikingGraph, load_graph, save_graph
from isospike.networks import Network, Quantisation, build_network, capture
from tests.problems import LOSSLESS, PROBLEMS
from tests.random_networks import networks, random_images, randomise

T_MAX = 40


def _network(seed: int = 0, pool: str = "max", **options: object) -> Network:
    torch.manual_seed(seed)
    quantisation = Quantisation(**{"bound": 4, "ends": "int8", **options})  # type: ignore[arg-type]
    return randomise(build_network("4C3(same)-P2-6C3-5", (1, 8, 8), 3, quantisation, pool=pool))


MODEL = _network()
IMAGES = random_images((1, 8, 8), 12)
GRAPH = convert(MODEL, "all-integer", t_max=T_MAX)


def test_fresh_conversion_is_equal() -> None:
    done: list[int] = []
    found = verify(GRAPH, MODEL, IMAGES, "all-integer", batch_size=5, on_batch=done.append)
    assert found.is_equal
    assert (found.images, found.mismatches, found.unsettled) == (12, 0, 0)
    # 4 maps of 8x8, their 4x4 pool, 6 maps of 2x2, 5 dense neurons
    assert found.neurons == 256 + 64 + 24 + 5
    assert found.differing_layers == {}
    assert found.differing_tensors == []
    assert found.settled_by is not None
    assert 4 <= found.settled_by <= T_MAX
    assert set(found.membrane_bits) == {"conv1.neuron", "conv2.neuron", "dense1.neuron", "readout"}
    assert all(bits in (8, 16, 24, 32) for bits in found.membrane_bits.values())
    assert set(found.fraction_bits) == {"conv1.neuron", "conv2.neuron", "dense1.neuron"}
    assert done == [5, 10, 12]


@given(networks(bounded=True))
@settings(max_examples=10)
def test_every_network_is_equal(model: Network) -> None:
    images = random_images(capture(model).input.shape, 3)
    for method in ("negative-spike", "scatter-gather"):
        found = verify(convert(model, method), model, images, method)
        assert found.is_equal
        assert found.mismatches == 0


def _verify_edited(tmp_path: Path, edit: Callable[[dict[str, np.ndarray]], None], **options: Any) -> Verification:
    """Edit the tensors of ``snn.safetensors`` and verify what it loads as."""
    path = tmp_path / "snn.safetensors"
    save_graph(GRAPH, path)
    tensors, metadata = read_tensors(path)
    edit(tensors)
    write_tensors(path, tensors, metadata)
    return verify(load_graph(path), MODEL, IMAGES, "all-integer", **options)


@pytest.mark.parametrize("layer", ["conv1.neuron", "conv2.neuron", "dense1.neuron"])
@pytest.mark.parametrize("shift", [-3, 3])
def test_shifted_thresholds_are_found(tmp_path: Path, layer: str, shift: int) -> None:
    bits = int(GRAPH[layer].settings["fraction_bits"])

    def edit(tensors: dict[str, np.ndarray]) -> None:
        name = f"{layer}.threshold"
        tensors[name] = tensors[name] + (shift << bits) * (3000 if layer == "conv1.neuron" else 1)

    found = _verify_edited(tmp_path, edit)
    assert not found.is_equal
    assert found.differing_tensors == [layer]
    assert found.differing_layers[layer] > 0
    assert found.mismatches == sum(found.differing_layers.values())
    # layers before it are as they were
    order = ["conv1.neuron", "conv2.neuron", "dense1.neuron"]
    assert not set(order[: order.index(layer)]) & set(found.differing_layers)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "dense1"])
def test_one_flipped_sign_is_found(tmp_path: Path, layer: str) -> None:
    def edit(tensors: dict[str, np.ndarray]) -> None:
        weight = tensors[f"{layer}.weight"] = tensors[f"{layer}.weight"].copy()
        place = np.unravel_index(np.abs(weight).argmax(), weight.shape)
        assert weight[place] != 0
        weight[place] = -weight[place]

    found = _verify_edited(tmp_path, edit)
    assert not found.is_equal
    assert found.differing_tensors == [layer]


def test_one_flipped_sign_changes_counts(tmp_path: Path) -> None:
    def edit(tensors: dict[str, np.ndarray]) -> None:
        weight = tensors["conv1.weight"] = tensors["conv1.weight"].copy()
        weight[np.abs(weight).reshape(4, -1).sum(1).argmax()] *= -1

    found = _verify_edited(tmp_path, edit)
    assert found.differing_layers["conv1.neuron"] > 0


def test_one_classifier_weight_is_found(tmp_path: Path) -> None:
    def edit(tensors: dict[str, np.ndarray]) -> None:
        weight = tensors["classifier.weight"] = tensors["classifier.weight"].copy()
        weight[0] -= 1

    found = _verify_edited(tmp_path, edit)
    assert found.differing_tensors == ["classifier"]
    assert set(found.differing_layers) == {"readout"}


def test_a_classifier_weight_that_no_image_notices_is_found(tmp_path: Path) -> None:
    """Of a neuron that stays silent: no count and no logit differs, but the tensor does."""
    evaluation = isospike.conversion.QuantisedAnn(capture(MODEL)).evaluate(IMAGES)
    silent = (evaluation.counts["dense1.neuron"].sum(0) == 0).nonzero().flatten().tolist()
    images = IMAGES
    if not silent:
        images = IMAGES[:1]
        silent = (evaluation.counts["dense1.neuron"][:1].sum(0) == 0).nonzero().flatten().tolist()
    assert silent

    def edit(tensors: dict[str, np.ndarray]) -> None:
        weight = tensors["classifier.weight"] = tensors["classifier.weight"].copy()
        weight[0, silent[0]] = -weight[0, silent[0]] or 1

    path = tmp_path / "snn.safetensors"
    save_graph(GRAPH, path)
    tensors, metadata = read_tensors(path)
    edit(tensors)
    write_tensors(path, tensors, metadata)
    found = verify(load_graph(path), MODEL, images, "all-integer")
    assert found.mismatches == 0
    assert found.differing_tensors == ["classifier"]
    assert not found.is_equal


def test_one_bias_is_found(tmp_path: Path) -> None:
    def edit(tensors: dict[str, np.ndarray]) -> None:
        tensors["readout.bias"] = tensors["readout.bias"] + np.array([0, 1, 0])

    found = _verify_edited(tmp_path, edit)
    assert found.differing_tensors == ["readout"]
    assert found.differing_layers == {"readout": len(IMAGES)}


def test_another_t_max_is_found() -> None:
    changed = SpikingGraph(GRAPH.nodes, T_MAX + 1)
    found = verify(changed, MODEL, IMAGES, "all-integer", t_max=T_MAX)
    assert found.mismatches == 0
    assert found.differing_tensors[0] == "T_max"
    assert not found.is_equal


def test_another_model_of_the_same_shape_is_found() -> None:
    found = verify(GRAPH, _network(seed=1), IMAGES, "all-integer")
    assert found.mismatches > 0
    assert {"conv1", "conv2", "dense1", "classifier"} <= set(found.differing_tensors)


def test_another_method_is_found() -> None:
    found = verify(GRAPH, MODEL, IMAGES, "scatter-gather")
    assert found.mismatches == 0  # the counts are the same, but the neurons are others
    assert "conv1.neuron" in found.differing_tensors
    assert not found.is_equal


def test_unsettled_images_are_counted_apart() -> None:
    model = _network(bound=12)
    graph = convert(model, "all-integer", t_max=12)
    found = verify(graph, model, IMAGES, "all-integer")
    assert 0 < found.unsettled < found.images
    assert found.settled_by is None
    assert found.mismatches == 0
    assert found.is_equal


def test_float_weights_are_compared_up_to_rounding() -> None:
    model = _network(weights="float")
    graph = convert(model, "negative-spike", t_max=T_MAX)
    found = verify(graph, model, IMAGES, "negative-spike")
    assert found.is_equal
    assert found.unsettled == 0
    assert found.membrane_bits["readout"] is None
    assert found.fraction_bits["conv2.neuron"] is None


def test_model_and_capture_verify_alike() -> None:
    assert verify(GRAPH, MODEL, IMAGES, "all-integer") == verify(GRAPH, capture(MODEL), IMAGES, "all-integer")


def test_batch_size_changes_nothing() -> None:
    found = [verify(GRAPH, MODEL, IMAGES, "all-integer", batch_size=size) for size in (1, 5, 100)]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("method", LOSSLESS)
def test_another_network_is_refused(method: str) -> None:
    with pytest.raises(ConversionError, match="not of the same network: convert it anew"):
        verify(GRAPH, PROBLEMS[0].ann, IMAGES, method)


def test_another_pooling_is_refused() -> None:
    """Average and max pools have the same name and shape."""
    with pytest.raises(ConversionError, match="pool1: the spiking graph and the model are not of the same network"):
        verify(GRAPH, _network(pool="avg"), IMAGES, "all-integer")


def test_wrong_images_are_refused() -> None:
    with pytest.raises(SimulationError, match="images: expected uint8"):
        verify(GRAPH, MODEL, IMAGES[:0], "all-integer")
    with pytest.raises(SimulationError, match="images: expected uint8"):
        verify(GRAPH, MODEL, IMAGES.float(), "all-integer")


def test_where_nothing_was_compared_nothing_is_proved() -> None:
    graph = convert(MODEL, "all-integer", t_max=1)
    found = verify(graph, MODEL, IMAGES, "all-integer", t_max=1)
    assert found.unsettled == found.images
    assert found.mismatches == 0
    assert not found.is_equal
