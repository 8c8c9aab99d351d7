"""CIFAR-10 by two processes, killed in the middle, gone on with by one; it skips where ../shared/data is not."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from isospike.data import crop_centre
from isospike.experiment import RunFolder, load_recipe
from isospike.training import evaluate

DATA = Path(__file__).parents[3] / "shared" / "data" / "cifar10"
EPOCHS, KILLED_AFTER, TESTED = 6, 3, 4000
SETTINGS = [
    "network.notation=16C3-P2-32C3-P2-64C3-P2-128",
    "data.train_images=16000",
    f"train.epochs={EPOCHS}",
    "train.batch_size=250",
    "train.learning_rate=0.01",
]


def command(folder: Path) -> list[str]:
    changes = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["-m", "isospike", "train", "all-integer-cifar10", "--data", str(DATA), "--out", str(folder), *changes]


def train_alone(folder: Path) -> None:
    done = subprocess.run([sys.executable, *command(folder)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]


def start_two(folder: Path) -> subprocess.Popen[bytes]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launch, *command(folder)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill_within(launched: subprocess.Popen[bytes], folder: Path, epoch: int) -> None:
    """Kill the launcher and its processes when ``epoch`` is done and the next one has begun."""
    index, limit = folder / "training" / "checkpoint.json", time.monotonic() + 200
    while not (index.exists() and read_epochs(folder) >= epoch):
        assert launched.poll() is None and time.monotonic() < limit, "the training ended by itself"
        time.sleep(0.05)
    family = [*psutil.Process(launched.pid).children(recursive=True), psutil.Process(launched.pid)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=20)
    launched.wait()


def read_epochs(folder: Path) -> int:
    return int(json.loads((folder / "training" / "checkpoint.json").read_text())["epoch"])


def read_losses(folder: Path) -> list[float]:
    return [report["loss"] for report in json.loads((folder / "training" / "checkpoint.json").read_text())["history"]]


def measure(folder: Path) -> float:
    recipe = RunFolder(folder).read_recipe()
    _, test = recipe.load_data(DATA, TESTED)
    assert crop_centre(test.images, 24).shape == test.images.shape
    return evaluate(RunFolder(folder).read_model(recipe), test)


@pytest.mark.timeout(900)
def test_a_training_of_two_processes_that_is_killed_ends_as_one_that_is_not(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    assert load_recipe("all-integer-cifar10", SETTINGS).train.epochs == EPOCHS
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    launched = start_two(killed)
    try:
        kill_within(launched, killed, KILLED_AFTER)
    finally:
        launched.kill()
    assert not (killed / "model.safetensors").exists()
    before = read_losses(killed)
    assert KILLED_AFTER <= len(before) < EPOCHS
    train_alone(killed)
    train_alone(whole)
    assert read_losses(killed)[: len(before)] == before  # gone on with, not begun again
    assert len(read_losses(killed)) == EPOCHS
    # Two processes see other augmentations and BatchNorm sees half batches, so the two differ as two seeds do.
    accuracies = [measure(killed), measure(whole)]
    error = math.sqrt(2 * 0.25 / TESTED)
    assert min(accuracies) > 0.45
    assert abs(accuracies[0] - accuracies[1]) < 4 * error, accuracies
    assert read_losses(killed)[-1] == pytest.approx(read_losses(whole)[-1], rel=0.05)
