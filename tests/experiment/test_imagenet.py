"""From a folder in ImageNet's layout to accuracy over time: nothing of it is ever in memory whole."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isospike.cli.program import run
from isospike.data import ImageStream
from isospike.errors import RecipeError
from isospike.experiment import Experiment, Options, RunFolder, list_recipes, load_recipe
from isospike.training import EpochReport
from tests.data.folders import write_image_folder

RECIPE = """
name = "own-imagenet"

[about]
source = "a test"

[data]
name = "imagenet"
crop = 24
resize = 28
classes = 3
workers = 1
smallest_area = 0.5

[network]
notation = "8C3-P2-16"
pool = "avg"

[quantise]
k = 1
bound = 2
weights = "float"

[train]
epochs = 4
batch_size = 6
learning_rate = 0.01

[augment]
crop = 24
flip = true

[convert]
method = "negative-spike"
t_max = 60

[simulate]
steps = 30
batch_size = 5
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("imagenet"), train=12, test=5)


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on the folder."""
    place = tmp_path_factory.mktemp("run")
    (place / "own.toml").write_text(RECIPE)
    assert run(["run", str(place / "own.toml"), "--data", str(images), "--out", str(place / "out")]) == 0
    return place / "out"


def read_metrics(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def test_a_whole_run(trained: Path) -> None:
    metrics = read_metrics(trained)
    assert metrics["ann"]["images"] == metrics["snn"]["images"] == metrics["verify"]["images"] == 15
    assert metrics["ann"]["accuracy"] > 0.6  # each class has a colour of its own
    assert metrics["verify"]["mismatches"] == 0
    assert abs(metrics["snn"]["accuracy"][-1] - metrics["ann"]["accuracy"]) <= 1 / 15
    assert len((trained / "logs" / "accuracy.txt").read_text().split()) == 3 * 30


def test_a_limit_takes_images_of_all_classes(trained: Path, images: Path, tmp_path: Path) -> None:
    trained = Path(shutil.copytree(trained, tmp_path / "copy"))
    assert run(["simulate", "--out", str(trained), "--data", str(images), "--limit", "6"]) == 0
    assert read_metrics(trained)["snn"]["images"] == 6


def test_two_processes_see_each_image_once(trained: Path, images: Path, tmp_path: Path) -> None:
    trained = Path(shutil.copytree(trained, tmp_path / "copy"))
    command = ["simulate", "--out", str(trained), "--data", str(images)]
    assert run(command) == 0
    alone = read_metrics(trained)["snn"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "isospike"]
    done = subprocess.run(
        [*torchrun, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_metrics(trained)["snn"] == alone


def test_two_processes_train_on_the_stream(images: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        RECIPE.replace("epochs = 4", "epochs = 2").replace("batch_size = 6", "batch_size = 7")
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "isospike"]
    done = subprocess.run(
        [*torchrun, "train", str(tmp_path / "own.toml"), "--data", str(images), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_method_that_measures_draws_from_the_stream(images: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        RECIPE.replace("epochs = 4", "epochs = 1").replace("negative-spike", "percentile")
    )
    command = ["run", str(tmp_path / "own.toml"), "--data", str(images), "--out", str(tmp_path / "out")]
    assert run([*command, "--set", "quantise.levels=none"]) == 0
    assert len(read_metrics(tmp_path / "out")["snn"]["accuracy"]) == 30


def test_training_goes_on_after_a_checkpoint(images: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(RECIPE.replace("epochs = 4", "epochs = 2"))
    recipe, options = load_recipe(str(tmp_path / "own.toml")), Options(images, "cpu", None)

    def stop(report: EpochReport) -> None:
        if report.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Experiment(recipe, RunFolder(tmp_path / "stopped"), options).train(stop)
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    for name in ("stopped", "whole"):
        Experiment(recipe, RunFolder(tmp_path / name), options).train()
    stopped, whole = (tmp_path / name / "model.safetensors" for name in ("stopped", "whole"))
    assert stopped.read_bytes() == whole.read_bytes()


def test_what_a_recipe_opens(images: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(RECIPE)
    recipe = load_recipe(str(tmp_path / "own.toml"), ["data.train_images=9"])
    train, test = recipe.load_data(images, limit=4)
    assert isinstance(train, ImageStream)
    assert isinstance(test, ImageStream)
    assert (len(train), len(test), recipe.classes, recipe.in_shape) == (9, 4, 3, (3, 24, 24))
    assert (train.shape, train.framing.smallest_area) == ((3, 24, 24), 0.5)
    centred = load_recipe(str(tmp_path / "own.toml"), ["data.smallest_area=none"]).load_data(images)[0]
    assert centred.shape == (3, 28, 28)
    with pytest.raises(RecipeError, match=r"data\.held_out"):
        load_recipe(str(tmp_path / "own.toml"), ["data.held_out=5"]).load_data(images)
    with pytest.raises(RecipeError, match=r"data\.crop"):
        load_recipe(str(tmp_path / "own.toml"), ["data.crop=none", "augment.crop=none"])
    with pytest.raises(RecipeError, match=r"data\.classes: is for images of many sizes"):
        load_recipe("digits", ["data.classes=3"])


@pytest.mark.skipif("percentile-imagenet-vgg15" not in list_recipes(), reason="the recipe is not there yet")
def test_the_published_recipe_on_a_small_folder(images: Path, tmp_path: Path) -> None:
    small = {
        "data.crop": 32, "augment.crop": 32, "data.resize": 36, "data.classes": 3, "data.workers": 0, "train.epochs": 1,
        "train.batch_size": 12, "simulate.steps": 3, "simulate.batch_size": 5, "convert.t_max": 3,
    }  # fmt: skip
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    command = ["run", "percentile-imagenet-vgg15", "--data", str(images), "--out", str(tmp_path), *settings]
    assert run([*command, "--limit", "5"]) == 0
    assert read_metrics(tmp_path)["snn"]["images"] == 5


def test_a_network_of_ones_own_on_the_folder(images: Path, tmp_path: Path) -> None:
    text = (
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), "
    )
    (tmp_path / "net.py").write_text(text + "nn.Linear(484, 3))\n")
    command = ["convert", "--model", f"{tmp_path / 'net.py'}:build", "--in-shape", "3,24,24", "--data", str(images)]
    assert run([*command, "--method", "negative-spike", "--images", "10", "--out", str(tmp_path / "out")]) == 0
    assert run(["verify", "--out", str(tmp_path / "out"), "--data", str(images), "--limit", "5"]) == 0
    assert read_metrics(tmp_path / "out")["verify"]["images"] == 5
