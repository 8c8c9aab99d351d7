"""A small whole run on the digits, untrained, for tests that add it to a zoo of their own."""

import shutil
from pathlib import Path
from types import ModuleType

import pytest
import torch

from isospike.experiment import Experiment, Options, RunFolder, load_recipe
from isospike.zoo import catalogue, running
from tests.random_networks import randomise
from tests.scripts import load_script

SMALL = ["network.notation=4C3-P2-12", "simulate.steps=4", "simulate.batch_size=100"]


def make_run(folder: Path, *settings: str) -> Path:
    """Random weights, evaluated, converted, simulated and verified on the 360 test images."""
    recipe = load_recipe("digits", [*SMALL, *settings])
    torch.manual_seed(3)
    run = RunFolder(folder)
    run.write_recipe(recipe)
    run.write_model(randomise(recipe.build()))
    experiment = Experiment(recipe, run, Options())
    for stage in (experiment.evaluate, experiment.convert, experiment.simulate, experiment.verify):
        stage()
    return folder


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a whole run; not to be changed."""
    return make_run(tmp_path_factory.mktemp("zoo") / "digits")


@pytest.fixture
def run_folder(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of a whole run."""
    return Path(shutil.copytree(whole_run, tmp_path / "digits"))


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/zoo.py, with a zoo of its own that is empty, and digests of 100 images each."""
    module = load_script("zoo")
    for place in (catalogue, module):
        monkeypatch.setattr(place, "FOLDER", tmp_path / "networks")
    monkeypatch.setattr(running, "BLOCK", 100)
    return module
