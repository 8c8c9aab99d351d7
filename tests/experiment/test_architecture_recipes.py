"""Recipes of named networks, and trainings that begin with weights of another."""

from pathlib import Path

import pytest
import torch

from isospike.errors import FileError, IsospikeError
from isospike.experiment import RunFolder, load_recipe
from isospike.experiment.initial import load_weights
from isospike.networks import Network

NAME = "srp-cifar10-resnet20"


def test_a_recipe_of_a_named_network() -> None:
    recipe = load_recipe(NAME)
    assert recipe.network.label == "resnet20"
    assert isinstance(recipe.build(), Network)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["network.notation=8C3-P2-32"], ["network", "either", "architecture"]),
        (["network.architecture=none"], ["network", "either", "notation"]),
        (["network.architecture=resnet21"], ["network.architecture", "resnet20"]),
        (["network.padding=same"], ["network.padding", "leave it out"]),
        (["noise.training_drop=0.1"], ["noise.training_drop", "notation"]),
    ],
)
def test_what_does_not_go_together_is_named(settings: list[str], words: list[str]) -> None:
    with pytest.raises(IsospikeError) as caught:
        load_recipe(NAME, settings)
    assert all(word in str(caught.value) for word in words)


def test_initial_weights_pass_between_quantisations(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = load_recipe("digits", ["quantise.levels=none", "quantise.weights=float"]).build()
    RunFolder(tmp_path).write_model(plain)
    quantised = load_recipe("digits", ["quantise.levels=qcfs", "quantise.weights=ternary"]).build()
    before = {name: value.clone() for name, value in quantised.state_dict().items() if name.endswith("threshold")}
    load_weights(quantised, tmp_path / "model.safetensors")
    state, source = quantised.state_dict(), plain.state_dict()
    assert before and all(torch.equal(state[name], value) for name, value in before.items())
    for name, value in source.items():
        latent = name.replace("synapses.weight", "synapses.parametrizations.weight.original")
        latent = latent.replace("classifier.weight", "classifier.parametrizations.weight.original")
        assert torch.equal(state.get(name, state.get(latent)), value), name


def test_initial_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_model(load_recipe("digits", ["network.notation=8C3-P2-32"]).build())
    with pytest.raises(FileError, match=r"network\.initial"):
        load_weights(load_recipe("digits").build(), tmp_path / "model.safetensors")


def test_initial_weights_leave_what_the_recipe_says_of_pixels(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_model(load_recipe("digits", ["network.offset=[3]", "network.deviation=[60.0]"]).build())
    net = load_recipe("digits", ["network.offset=[7]", "network.deviation=[51.0]"]).build()
    load_weights(net, tmp_path / "model.safetensors")
    state = net.state_dict()
    assert state["pixels.offset"].tolist() == [7]
    assert [value.item() for name, value in state.items() if name.endswith(".gain")] == [255 / 51]
