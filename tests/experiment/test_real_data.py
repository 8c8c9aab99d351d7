"""Whole runs on real data, small enough for every day; they skip where ../shared/data is not."""

import json
from pathlib import Path

import pytest

from isospike.cli.program import run
from tests.scripts import load_script

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("recipe", "folder", "settings"),
    [
        (
            "all-integer-mnist",
            "mnist",
            ["data.train_images=6400", "train.epochs=1", "network.notation=8C5-P2-16C5-P2-64"],
        ),
        ("scatter-gather-mnist", "mnist", ["data.train_images=3200", "train.epochs=1"]),
        ("negative-spike-mnist", "mnist", ["data.train_images=6400", "train.epochs=1"]),
        (
            "all-integer-cifar10",
            "cifar10",
            [
                "data.train_images=1280",
                "train.epochs=1",
                "train.batch_size=64",
                "network.notation=24C3-P2-48C3-P2-48C3-P2-64",
            ],
        ),
    ],
)
def test_a_short_training_on_real_data_is_proved_equal(
    tmp_path: Path, recipe: str, folder: str, settings: list[str]
) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{SHARED / folder} is not there")
    changes = [part for setting in settings for part in ("--set", setting)]
    where = ["--data", str(SHARED / folder), "--out", str(tmp_path)]
    assert run(["run", recipe, *where, "--limit", "200", *changes]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    proof = metrics["verify"]
    assert (proof["images"], proof["mismatches"], proof["unsettled"]) == (200, 0, 0)
    if "mnist" in recipe:
        assert metrics["ann"]["accuracy"] > 0.5
    settled = metrics["snn"]["settled"]
    if settled[-1] == 1:
        assert metrics["snn"]["accuracy"][-1] == metrics["ann"]["accuracy"]


def test_the_published_weights_reach_the_published_accuracy() -> None:
    weights = SHARED / "published" / "lenet-k1-B2.npz"
    if not weights.is_file() or not (SHARED / "mnist").is_dir():
        pytest.skip(f"{weights} or {SHARED / 'mnist'} is not there")
    found = load_script("published_lenet").measure(weights, SHARED / "mnist", limit=1000)
    assert found["mismatches"] == 0
    assert found["unsettled"] == 0
    assert found["accuracy"] >= 0.985
