"""Simulating and verifying in one pass finds what the two find one after the other."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from isospike.errors import SimulationError
from isospike.experiment import Experiment, Options, RunFolder, load_recipe, stages
from tests.random_networks import randomise

SMALL = ["network.notation=4C3-P2-12", "convert.t_max=32", "simulate.steps=3", "simulate.batch_size=40"]
FLOAT = ["quantise.weights=float", "quantise.ends=float", "convert.method=negative-spike"]
QCFS = ["quantise.levels=qcfs", "network.pool=avg", *FLOAT[:2], "convert.method=srp"]


def make_run(folder: Path, settings: list[str]) -> Experiment:
    recipe = load_recipe("digits", [*SMALL, *settings])
    torch.manual_seed(5)
    run = RunFolder(folder)
    run.write_recipe(recipe)
    run.write_model(randomise(recipe.build()))
    experiment = Experiment(recipe, run, Options(limit=90))
    experiment.convert()
    return experiment


def run_twice(folder: Path, settings: list[str]) -> tuple[Experiment, dict[str, Any]]:
    """A converted run, and what its copy found with simulate and verify, but for times."""
    experiment = make_run(folder / "one", settings)
    shutil.copytree(folder / "one", folder / "two")
    other = Experiment(experiment.recipe, RunFolder(folder / "two"), Options(limit=90))
    other.simulate()
    return experiment, forget_times(other.verify())


def forget_times(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key not in ("seconds", "stage_seconds")}


@pytest.mark.parametrize("settings", [[], FLOAT, ["noise.input=0.1"]])
def test_one_pass_finds_the_same(settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, expected = run_twice(tmp_path, settings)
    monkeypatch.delattr(stages, "measure_simulation")  # the proof's simulation has to do
    found = experiment.simulate_and_verify()
    assert forget_times(found) == expected
    assert found["verify"]["images"] == found["snn"]["images"] == 90
    assert found["verify"]["mismatches"] == 0
    assert len(found["snn"]["accuracy"]) == 3
    assert found["verify"]["settled_by"] > 3  # there was something to cut off
    assert set(found["stage_seconds"]) == {"convert", "simulate", "verify"}
    logs = {path.name: path.read_text() for path in (tmp_path / "two" / "logs").iterdir()}
    assert logs == {path.name: path.read_text() for path in (tmp_path / "one" / "logs").iterdir()}
    assert len(logs) == 6


@pytest.mark.parametrize(
    "settings",
    [
        QCFS,
        ["noise.input=0.1", "noise.seeds=2"],
        ["noise.encoder_drop=0.2"],
        ["simulate.propagation=layer-per-step"],
    ],
)
def test_what_is_not_one_simulation_takes_two(settings: list[str], tmp_path: Path) -> None:
    experiment, expected = run_twice(tmp_path, settings)
    assert forget_times(experiment.simulate_and_verify()) == expected


def test_a_graph_of_fewer_steps_is_refused(tmp_path: Path) -> None:
    experiment = make_run(tmp_path, [])
    experiment.folder.write_graph(replace(experiment.folder.read_graph(), t_max=2))
    with pytest.raises(SimulationError, match="expected 1 to T_max = 2, got 3"):
        experiment.simulate_and_verify()
    assert experiment.folder.read_metrics()["snn"] is None
