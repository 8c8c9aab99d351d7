"""``isospike compare``: on a file of one's own, on a run of one's own, on a recipe; and what is said of mistakes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isospike.cli.program import run
from isospike.conversion import METHODS

Fail = Callable[..., str]

FILE = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)
    )
"""
MORE = ["--dataset", "digits", "--limit", "40", "--images", "64"]
FIGURES = [f"accuracy-over-{what}.{kind}" for what in ("latency", "sops") for kind in ("svg", "png")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name a small network of one's own."""
    path = tmp_path_factory.mktemp("own") / "net.py"
    path.write_text(FILE)
    return ["--model", f"{path}:build", "--in-shape", "1,8,8", *MORE]


@pytest.fixture(scope="module")
def compared(model: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods on it."""
    out = tmp_path_factory.mktemp("compared")
    assert run(["compare", *model, "--steps", "1,4,8", "--t-max", "16", "-o", str(out)]) == 0
    return out


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_all_methods_have_a_row_and_the_figures_are_drawn(compared: Path) -> None:
    content = read(compared / "comparison.json")
    assert [trial["method"] for trial in content["trials"]] == list(METHODS)
    assert content["images"] == 40 and content["complete"] is True and content["recipe"] is None
    refused = {trial["method"]: trial["refused"] for trial in content["trials"]}
    assert "integer weights" in refused["all-integer"]
    assert [method for method, reason in refused.items() if reason is None] == list(METHODS)[1:]
    assert sorted(path.name for path in compared.iterdir()) == sorted(
        [*FIGURES, *(f"comparison.{kind}" for kind in ("csv", "json", "md"))]
    )


@pytest.mark.parametrize("method", ["counting", "percentile", "srp"])
def test_rows_are_the_numbers_of_convert_and_simulate(
    compared: Path, model: list[str], method: str, tmp_path: Path
) -> None:
    out = ["--out", str(tmp_path)]
    assert run(["convert", *model, "--method", method, "--set", "t_max=16", *out]) == 0
    assert run(["simulate", *out, "--limit", "40", "--steps", "8"]) == 0
    metrics = read(tmp_path / "metrics.json")
    trial = next(each for each in read(compared / "comparison.json")["trials"] if each["method"] == method)
    at = (0, 3, 7)
    assert trial["accuracy"] == [metrics["snn"]["accuracy"][step] for step in at]
    for key in ("positive_per_neuron", "negative_per_neuron"):
        assert trial[key] == [metrics["activity"][key][step] for step in at]
    network = metrics["energy"]["network"]
    assert trial["sops"] == [network["sops"][step] for step in at]
    assert trial["energy"]["float32"] == [network["float32"]["snn"][step] for step in at]
    assert trial["state_bits"] == metrics["neurobench"]["state_bits"]
    assert trial["latency"] == [step + 1 + metrics["latency"]["tau"] for step in at]


def test_a_run_of_ones_own_is_that_network(compared: Path, model: list[str], tmp_path: Path) -> None:
    assert run(["convert", *model, "--method", "counting", "--set", "t_max=16", "--out", str(tmp_path)]) == 0
    assert run(["compare", str(tmp_path), "--limit", "40", "--steps", "1,4,8", "--t-max", "16"]) == 0
    one, other = (read(path / "comparison.json") for path in (compared, tmp_path / "comparison"))
    for key in ("ann", "levelled", "macs", "key"):
        assert one[key] == other[key]
    for trial in (*one["trials"], *other["trials"]):
        del trial["seconds"]
    assert one["trials"] == other["trials"]


def test_a_recipe_is_trained_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [part for each in ("train.epochs=1", "network.notation=4C3-P2-8") for part in ("--set", each)]
    command = ["compare", "--recipe", "digits", "--out", str(tmp_path), *settings, "--limit", "30", "--steps", "1,2"]
    assert run([*command, "--methods", "counting"]) == 0
    trained = (tmp_path / "model.safetensors").read_bytes()
    assert run([*command, "--methods", "counting,negative-spike"]) == 0
    assert (tmp_path / "model.safetensors").read_bytes() == trained
    shown = capsys.readouterr().out
    assert shown.count("\ncounting\t") == 2 and "negative-spike\t" in shown
    content = read(tmp_path / "comparison" / "comparison.json")
    assert content["recipe"] == "digits" and len(content["trials"]) == 2


def test_a_named_method_that_refuses_is_a_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "comparison", ignore_errors=True)
    assert run(["compare", str(folder), "--methods", "scatter-gather,counting", "--limit", "30", "--steps", "1"]) == 0
    trials = read(folder / "comparison" / "comparison.json")["trials"]
    assert trials[1]["refused"] is None
    assert (trials[0]["refused"] is None) == ("refused" not in capsys.readouterr().out)


def test_what_no_method_takes_leaves_earlier_tables(folder: Path, fail: Fail, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    command = [folder, "--limit", "30", "-o", out]
    assert run(["compare", *map(str, command), "--methods", "counting", "--steps", "1"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    # other steps: trials that cannot stand in one table with those before
    assert "expected tau" in fail("compare", *command, "--methods", "srp:tau=-1", "--steps", "2")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    nowhere = tmp_path / "nowhere"
    fail("compare", folder, "--limit", "30", "-o", nowhere, "--methods", "srp:tau=-1", "--steps", "2")
    assert not nowhere.exists()


def test_mistakes_are_named(folder: Path, model: list[str], fail: Fail, tmp_path: Path) -> None:
    for arguments, words in (
        ([], "got none"),
        ([folder, "--recipe", "digits"], "got RUN and --recipe"),
        (["--recipe", "digits"], "--out DIR"),
        ([folder, "--methods", "contuing"], "'contuing'"),
        ([folder, "--methods", "srp:tao=2"], "tao"),
        ([folder, "--methods", "srp,srp"], "twice"),
        ([folder, "--in-shape", "1,8,8"], "--in-shape: belongs"),
        ([folder, "--set", "train.epochs=1"], "--set: belongs"),
        ([folder, "--levels", "8"], "has no ReLU"),
        ([folder, "--methods", "all", "--steps", "100"], "--t-max"),
        ([folder, "--t-max", "0"], "--t-max: expected at least 1 time step, got 0"),
        ([folder, "--methods", "all", "--batch-size", "0"], "--batch-size"),
        ([tmp_path], "isospike train RECIPE"),
        ([*model, "--methods", "all-integer", "-o", tmp_path], "no method takes this network; all-integer"),
        ([*model, "--criterion", "guess", "-o", tmp_path], "criterion"),
    ):
        assert words in fail("compare", *arguments)
