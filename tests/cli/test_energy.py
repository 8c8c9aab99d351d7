"""Energy by constants of one's own: in the metrics, in comparisons and on the page."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from isospike.cli.program import run

MINE = ["--set", "energy.name=mine", "--set", "energy.mac=1.5", "--set", "energy.ac=0.25", "--set", "energy.memory=2"]


def test_constants_reach_metrics_comparison_and_report(folder: Path, tmp_path: Path) -> None:
    assert run(["simulate", "--out", str(folder), "--limit", "20", *MINE]) == 0
    network = json.loads((folder / "metrics.json").read_text())["energy"]["network"]
    # a MAC: 1.5 + 2 * 2, an AC: 0.25 + 3 * 2
    assert network["mine"]["ann"] == pytest.approx(network["macs"] * 5.5)
    expected = [network["encoder_macs"] * 5.5 + sops * 6.25 for sops in network["sops"]]
    assert network["mine"]["snn"] == pytest.approx(expected)
    assert "[energy]" in (folder / "recipe.toml").read_text()
    few = ["--methods", "counting", "--steps", "1,2", "--t-max", "4", "--limit", "20"]
    assert run(["compare", str(folder), *few]) == 0
    trial = json.loads((folder / "comparison" / "comparison.json").read_text())["trials"][0]
    assert trial["energy"]["mine"] == pytest.approx(
        [network["encoder_macs"] * 5.5 + sops * 6.25 for sops in trial["sops"]]
    )
    page = tmp_path / "page.html"
    assert run(["report", str(folder), "-o", str(page)]) == 0
    text = page.read_text()
    assert "the recipe's own: MAC 1.5 pJ, AC 0.25 pJ, memory 2.0 pJ an access" in text.replace("&#39;", "'")
    assert "energy (mine)" in text
    out = tmp_path / "other"
    assert run(["compare", str(folder), *few, "-o", str(out), "--set", "energy.name=other"]) == 0
    assert list(json.loads((out / "comparison.json").read_text())["energy"]) == ["float32", "int32", "int8", "other"]


def test_a_graph_in_a_file_takes_them_too(folder: Path, tmp_path: Path) -> None:
    graph = str(folder / "snn.safetensors")
    given = ["--dataset", "digits", "--limit", "5", "--out", str(tmp_path / "out"), *MINE]
    assert run(["simulate", "--graph", graph, *given]) == 0
    assert "mine" in json.loads((tmp_path / "out" / "metrics.json").read_text())["energy"]["network"]


def test_bad_input(folder: Path, fail: Callable[..., str]) -> None:
    assert "did you mean 'energy.mac'" in fail("simulate", "--out", folder, "--limit", "5", "--set", "energy.macs=1")
    assert "--methods" in fail("compare", folder, "--set", "energy=none", "--methods", "magic")  # energy=none is taken
    assert "energy.name: expected another name" in fail("compare", folder, "--set", "energy.name=int8")
    assert "but for energy.KEY=VALUE" in fail("compare", folder, "--set", "simulate.steps=2")
