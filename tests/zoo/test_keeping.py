"""benchmarks/zoo.py: what may be added, rounding, and verifying."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from isospike import load_graph, save_graph, zoo
from isospike.errors import FileError
from isospike.experiment import load_recipe, read_recipe
from isospike.files import read_tensors
from isospike.graph import Convolution, Dense
from tests.zoo.conftest import make_run

NOWHERE = Path("nowhere")


def spoil_proof(metrics: dict[str, Any]) -> None:
    metrics["verify"]["mismatches"] = 1


def spoil_number(metrics: dict[str, Any]) -> None:
    metrics["verify"]["images"] = 359


def drop_proof(metrics: dict[str, Any]) -> None:
    metrics["verify"] = None


def spoil_accuracy(metrics: dict[str, Any]) -> None:
    metrics["snn"]["accuracy"][0] += 1 / 360


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_proof, "without mismatches"),
        (spoil_number, "all 360 test images"),
        (drop_proof, "a verified run"),
        (spoil_accuracy, "the graph does not what metrics.json says .accuracy."),
    ],
)
def test_what_is_not_added(
    keeper: ModuleType, run_folder: Path, spoil: Callable[[dict[str, Any]], None], words: str
) -> None:
    metrics = json.loads((run_folder / "metrics.json").read_text())
    spoil(metrics)
    (run_folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(FileError, match=words):
        keeper.add(run_folder, "tiny", None, NOWHERE)
    assert zoo.names() == []


def test_a_graph_of_another_model_is_not_added(keeper: ModuleType, run_folder: Path) -> None:
    graph = load_graph(run_folder / "snn.safetensors")
    weight = next(node for node in graph if isinstance(node, Dense)).weight
    weight.setflags(write=True)
    weight[0, 0] += 1
    save_graph(graph, run_folder / "snn.safetensors")
    with pytest.raises(FileError, match=r"dense1 of the graph are not those of its model"):
        keeper.add(run_folder, "tiny", None, NOWHERE)


def test_added_and_verified(
    keeper: ModuleType, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.add(run_folder, None, 3, NOWHERE)
    assert zoo.names() == ["digits"]
    metrics = zoo.find("digits").metrics
    assert metrics["zoo"]["step"] == 3
    assert metrics["c"]["ram_bytes"] > 0
    out = tmp_path / "out.json"
    monkeypatch.setattr(keeper, "ROOT", tmp_path / "elsewhere" / "deep")
    assert keeper.verify_all(["digits"], NOWHERE, out)
    found = json.loads(out.read_text())["networks"]["digits"]
    assert "certifies" in found["proof"]
    assert (found["mismatches"], found["settled_by"]) == (None, metrics["verify"]["settled_by"])
    (tmp_path / "elsewhere" / "deep" / "runs").mkdir(parents=True)
    run_folder.rename(tmp_path / "elsewhere" / "deep" / "runs" / "digits")
    assert keeper.verify_all(["digits"], NOWHERE, out)
    found = json.loads(out.read_text())["networks"]["digits"]
    assert (found["mismatches"], found["equal"]) == (0, True)


def test_rounded_to_int8(keeper: ModuleType, tmp_path: Path) -> None:
    """w becomes round(w / s), s = max|w| / 127 per channel, or of the whole classifier; what comes is proved anew.

    Conversion negates channels with gamma below 0 and empties those with gamma 0."""
    folder = make_run(tmp_path / "float", "quantise.weights=float", "convert.method=negative-spike")
    target = keeper.round_run(folder, "int8", ["convert.method=all-integer"], NOWHERE)
    assert target == tmp_path / "float-int8"
    keeper.add(target, None, None, NOWHERE)
    graph = zoo.load("digits-int8")
    assert graph.is_integer
    state, _ = read_tensors(folder / "model.safetensors")
    layers = [node for node in graph if isinstance(node, Convolution | Dense)]
    weights = {name.split(".")[0]: value for name, value in state.items() if "weight" in name and value.ndim > 1}
    assert len(layers) == len(weights) == 4
    for layer in layers:
        weight = weights[layer.name]
        flat = np.abs(weight.reshape(len(weight), -1)).max(1)
        scale = (flat if layer is not layers[-1] else np.full_like(flat, flat.max())) / np.float32(127)
        rounded = np.round(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
        for channel, (stored, wanted) in enumerate(zip(layer.weight, rounded, strict=True)):
            assert any(np.array_equal(stored, sign * wanted) for sign in (1, -1, 0)), (layer.name, channel)
        assert layer.weight.any()
    recipe = read_recipe(zoo.find("digits-int8").recipe_path)
    assert (recipe.quantise.weights, recipe.quantise.ends) == ("int8", "int8")
    assert recipe.about.source.endswith("trained in float, weights then rounded to int8")
    proof = zoo.find("digits-int8").metrics["verify"]
    assert (proof["images"], proof["mismatches"], proof["unsettled"]) == (360, 0, 0)


def test_the_step_that_is_listed_was_simulated(keeper: ModuleType, run_folder: Path) -> None:
    recipe = read_recipe(run_folder / "recipe.toml")
    assert [keeper.check_step(step, recipe) for step in (1, 4)] == [1, 4]
    for step in (0, 5):
        with pytest.raises(FileError, match=f"--step: expected 1 to 4, .* got {step}"):
            keeper.check_step(step, recipe)
    with pytest.raises(FileError, match="--step"):
        keeper.add(run_folder, None, 5, NOWHERE)
    assert zoo.names() == []


@pytest.mark.parametrize(
    ("published", "step"),
    [
        ("SNN 99.45 at T=4", 4),
        ("SNN 1, 2, 3, 4 at T=1, 2, 4, 8 (tau=4)", 8),
        ("SNN 92.77 at T=57", 10),  # more than are simulated
        ("nothing published", 10),
    ],
)
def test_the_listed_step_is_the_last_published_one(keeper: ModuleType, published: str, step: int) -> None:
    recipe = load_recipe("digits", [f"about.published={published}", "simulate.steps=10"])
    assert recipe.about.published == published
    assert keeper.find_step(recipe) == step


def test_settings_change_only_what_is_rounded(
    keeper: ModuleType, run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["zoo.py", "add", str(run_folder), "--set", "convert.t_max=32"])
    with pytest.raises(SystemExit) as stop:
        keeper.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("zoo: --set: expected --round beside it")
    assert zoo.names() == []


def test_ternary_weights_are_not_rounded(keeper: ModuleType, run_folder: Path) -> None:
    with pytest.raises(FileError, match="expected float weights to round, got ternary"):
        keeper.round_run(run_folder, "int8", [], NOWHERE)
