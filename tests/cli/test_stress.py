"""``isospike stress`` on a small run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from isospike.cli.program import run
from isospike.experiment import RunFolder, load_recipe
from isospike.simulator import simulate


def test_measures_writes_and_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["stress", str(folder), "--limit", "40", "--seeds", "2"]
    assert run([*arguments, "--faults", "drop,delay", "--severities", "0,1"]) == 0
    found = json.loads((folder / "robustness.json").read_text())
    assert [fault["name"] for fault in found["faults"]] == ["drop", "delay"]
    assert (found["recipe"], found["dataset"], found["images"]) == ("digits", "digits", 40)
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines[1:4]] == [["none", "", ""], ["drop", "0", "2"], ["drop", "1", "2"]]
    _, test = load_recipe("digits").load_data(None, 40)
    plain = simulate(RunFolder(folder).read_graph(), test.images, found["steps"])  # type: ignore[union-attr]
    accuracy = float((plain.predictions[-1] == test.labels).double().mean())  # type: ignore[union-attr]
    assert found["baseline"]["accuracy"] == pytest.approx(accuracy)
    assert lines[1][3] == lines[2][3] == f"{accuracy:.2%}"


def test_writes_elsewhere_and_runs_all_faults(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(["stress", str(folder), "--limit", "4", "--seeds", "1", "--steps", "2", "--out", str(out)]) == 0
    assert len(json.loads((out / "robustness.json").read_text())["faults"]) == 12
    assert not (folder / "robustness.json").exists()


def test_bad_input(folder: Path, tmp_path: Path, fail: Callable[..., str]) -> None:
    for nothing in ("", " , "):
        assert "--faults: expected all, or names with commas" in fail("stress", folder, "--faults", nothing)
    line = fail("stress", folder, "--faults", "drop", "--severities", "-1")
    assert "--severities -1: drop: expected a probability" in line
    assert "Spikes" not in line
    assert "unknown" not in fail("stress", folder, "--faults", "rust")
    assert "--severities" in fail("stress", folder, "--faults", "drop", "--severities", "a,b")
    assert "--limit" in fail("stress", folder, "--limit", "0")
    assert "--batch-size" in fail("stress", folder, "--batch-size", "0")
    assert "steps: expected 1 to T_max" in fail("stress", folder, "--steps", "1000", "--faults", "dead")
    assert "snn.safetensors: not found" in fail("stress", tmp_path / "nothing")


def test_what_was_measured_is_not_discarded(folder: Path, fail: Callable[..., str]) -> None:
    arguments = ["stress", str(folder), "--faults", "drop", "--severities", "0.1,0.5"]
    assert run([*arguments, "--limit", "20", "--steps", "2", "--seeds", "2"]) == 0
    files = [folder / "robustness.json", folder / "robustness.csv"]
    before = [path.read_bytes() for path in files]
    line = fail(*arguments, "--limit", "10", "--steps", "3", "--seeds", "1")
    assert "robustness.json: has 2 cells of 20 images, 2 steps; expected 10 images, 3 steps: give the same" in line
    assert [path.read_bytes() for path in files] == before
    assert run([*arguments, "--limit", "20", "--steps", "2", "--seeds", "1"]) == 0
    assert json.loads(files[0].read_text())["faults"] == json.loads(before[0])["faults"]


def test_all_faults_are_those_that_the_network_can_have(
    folder: Path, capsys: pytest.CaptureFixture[str], fail: Callable[..., str]
) -> None:
    converted = ["--set", "convert.method=percentile", "--set", "convert.norm=50"]
    assert run(["convert", "--out", str(folder), *converted]) == 0
    capsys.readouterr()
    assert run(["stress", str(folder), "--limit", "4", "--seeds", "1", "--steps", "2"]) == 0
    shown = capsys.readouterr().out
    assert "left out: saturation: " in shown and "left out: bit-flips" not in shown  # ternary weights, float thresholds
    found = [fault["name"] for fault in json.loads((folder / "robustness.json").read_text())["faults"]]
    assert len(found) == 11 and "saturation" not in found
    assert "integer weights" in fail("stress", folder, "--limit", "4", "--steps", "2", "--faults", "saturation")
