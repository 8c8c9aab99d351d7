"""Every bad input: one line that names what came and the remedy, and exit code 2."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isospike.cli.program import run
from isospike.files import read_json, read_tensors, write_tensors

from .conftest import QUICK

Fail = Callable[..., str]


def test_unknown_recipe_names_the_nearest(fail: Fail) -> None:
    line = fail("run", "digit")
    assert "digits" in line
    assert "'digit'" in line


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("trian.epochs=3", ["'trian'", "did you mean 'train'?"]),
        ("train.colour=3", ["'train.colour'", "known: train.epochs, train.batch_size"]),
        ("convert.epochs=3", ["'convert.epochs'", "did you mean 'train.epochs'?"]),
        ("zzz.epochs=3", ["'zzz'", "known: name, seed"]),
        ("train.epoch=3", ["train.epoch", "train.epochs"]),
        ("quantise.levels=nothing", ["quantise.levels", "nothing"]),
        ("data.name=minst", ["minst", "mnist"]),
        ("network.notation=16C3-Q2-10", [">>Q2<<", "P2"]),
        ("network.notation=16C30", ["16C30", "8x8"]),
        ("network.pool=mean", ["mean", "avg"]),
        ("convert.method=magic", ["magic", "all-integer"]),
        ("quantise.weights=quaternary", ["quaternary", "ternary"]),
        ("train.epochs=many", ["train.epochs", "many"]),
        ("train.epochs=0", ["epochs", "1 or more"]),
        ("train.learning_rate=-1", ["learning_rate", "-1"]),
        ("simulate.steps=1000", ["T_max", "1000"]),
        ("train.seed=3", ["seed"]),
        ("seed=99999999999999999999", ["seed"]),
        ("quantise.k=100", ["k from 0 to 16", "100"]),
        ("network.notation=64C3*1000000000", ["64C3*1000000000", "from 1 to"]),
        ("network.notation=64C3*2000", ["64C3*2000", "1000 layers"]),
        ("network.notation=99999999999C3", ["99999999999C3", "from 1 to"]),
        ("name=../../etc", ["name"]),
        ("epochs", ["key=value"]),
        ("simulate.steps=0", ["simulate.steps", "0"]),
        ("train.small_side=4", ["train.small_until", "above 0"]),
        ("train.batch_size=1", ["train.batch_size", "2 images or more"]),
    ],
)
def test_bad_settings(fail: Fail, tmp_path: Path, setting: str, words: list[str]) -> None:
    line = fail("train", "digits", "--out", tmp_path / "out", "--set", setting)
    for word in words:
        assert word.replace("T_max", "t_max") in line or word in line
    assert not (tmp_path / "out").exists()


def test_unknown_command_and_option(fail: Fail) -> None:
    assert "trian" in fail("trian")
    assert "--epochs" in fail("run", "digits", "--epochs", "3")


@pytest.mark.parametrize("device", ["tpu", "cuda"])
def test_device_that_is_not_there(fail: Fail, tmp_path: Path, device: str) -> None:
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert device in fail("run", "digits", "--out", tmp_path / "out", "--device", device)
    assert not (tmp_path / "out").exists()


def test_folder_without_a_run(fail: Fail, tmp_path: Path) -> None:
    for stage in ("evaluate", "convert", "simulate", "verify"):
        assert "recipe.toml" in fail(stage, "--out", tmp_path)


def test_missing_data_folder(fail: Fail, tmp_path: Path) -> None:
    line = fail("run", "all-integer-mnist", "--out", tmp_path / "out", "--data", tmp_path / "nowhere")
    assert "nowhere" in line


def test_limit_below_one(fail: Fail, tmp_path: Path) -> None:
    assert "--limit" in fail("run", "digits", "--out", tmp_path, "--limit", "0")


@pytest.mark.parametrize("name", ["model.safetensors", "snn.safetensors"])
def test_truncated_and_foreign_files(fail: Fail, folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not safetensors at all, but long enough to have a header"):
        path.write_bytes(content)
        assert name in fail("verify", "--out", folder, "--limit", "10")
    path.unlink()
    assert name in fail("verify", "--out", folder, "--limit", "10")


def test_checkpoint_of_another_network(fail: Fail, folder: Path) -> None:
    text = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(text.replace("8C3-P2-32", "8C3-P2-64"))
    line = fail("evaluate", "--out", folder, "--limit", "10")
    assert "dense1" in line
    assert "(64, 72)" in line


def test_a_trained_network_keeps_its_network(fail: Fail, folder: Path) -> None:
    line = fail("simulate", "--out", folder, "--set", "network.notation=8C3-P2-64", "--limit", "10")
    assert "network.notation" in line
    assert "another --out" in line


def test_a_typo_in_ones_own_recipe_names_the_nearest_key(fail: Fail, folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text((folder / "recipe.toml").read_text().replace("epochs =", "epoch ="))
    line = fail("train", own, "--out", tmp_path / "out")
    assert "'train.epoch'" in line
    assert "'train.epochs'" in line


def test_training_of_another_network_in_the_same_folder_is_refused(fail: Fail, folder: Path) -> None:
    line = fail("train", "digits", "--out", folder, "--set", "train.epochs=3", "--set", "network.notation=8C3-P2-32",
                "--set", "quantise.k=1")  # fmt: skip
    assert "--out" in line
    assert (folder / "model.safetensors").is_file()


def test_nan_weights(fail: Fail, folder: Path) -> None:
    tensors, metadata = read_tensors(folder / "model.safetensors")
    name = next(name for name in tensors if name.startswith("pool1.synapses"))
    tensors[name].flat[0] = np.nan
    write_tensors(folder / "model.safetensors", tensors, metadata)
    assert "pool1" in fail("convert", "--out", folder)
    assert (folder / "snn.safetensors").is_file()


def test_full_disk_keeps_the_old_file(fail: Fail, folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("isospike.files.os.fsync", refuse)
    line = fail("convert", "--out", folder)
    assert "No space left" in line
    assert (folder / "snn.safetensors").read_bytes() == (trained / "snn.safetensors").read_bytes()
    assert not list(folder.glob(".snn*"))


def test_more_steps_than_the_graph_may_run(fail: Fail, folder: Path) -> None:
    line = fail("simulate", "--out", folder, "--set", "convert.t_max=100", "--set", "simulate.steps=90", "--limit", "5")
    assert "T_max = 64" in line


def test_more_test_images_than_there_are(fail: Fail, folder: Path) -> None:
    line = fail("simulate", "--out", folder, "--limit", "361")
    assert "at most 360" in line
    assert "361" in line


@pytest.mark.parametrize("below", ["", "sub"])
def test_out_that_is_a_file_is_noticed_before_anything_is_done(
    fail: Fail, tmp_path: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("training has begun")

    monkeypatch.setattr("isospike.experiment.stages.train", refuse)
    (tmp_path / "file").write_text("mine")
    line = fail("train", "digits", "--out", tmp_path / "file" / below)
    assert "--out" in line
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_out_that_cannot_be_written(fail: Fail, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "--out" in fail("train", "digits", "--out", tmp_path / "closed" / "run")


def test_looking_whether_out_can_be_written_leaves_nothing(fail: Fail, tmp_path: Path) -> None:
    fail("train", "all-integer-mnist", "--out", tmp_path / "a" / "b", "--data", tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["train", "evaluate", "convert", "simulate", "verify"])
def test_damaged_metrics_are_noticed_before_anything_is_done(
    fail: Fail, folder: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the stage has begun")

    monkeypatch.setattr("isospike.experiment.recipe.load", refuse)
    (folder / "metrics.json").write_text('{"recipe": ')
    line = fail(stage, *([folder / "recipe.toml"] if stage == "train" else []), "--out", folder)
    assert "metrics.json" in line
    assert "delete it" in line


def test_weights_of_another_type(fail: Fail, folder: Path) -> None:
    tensors, metadata = read_tensors(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("norm.weight"))
    tensors[name] = tensors[name].astype(np.float64)
    write_tensors(folder / "model.safetensors", tensors, metadata)
    line = fail("evaluate", "--out", folder)
    assert f"{name} is of float64, expected float32" in line


def test_a_training_that_began_otherwise_does_not_go_on(fail: Fail, folder: Path) -> None:
    quick = ["--set", "train.epochs=3", "--set", "network.notation=8C3-P2-32", "--limit", "60"]
    line = fail("train", "digits", "--out", folder, *quick, "--set", "quantise.gain=2")
    assert "quantise.gain: got 2.0, but the training in" in line and "began with 1.0" in line
    line = fail("train", "digits", "--out", folder, *quick, "--set", "network.initial=other.safetensors")
    assert "network.initial: got other.safetensors" in line


def test_initial_weights_that_are_not_there_or_of_another_network(fail: Fail, folder: Path, tmp_path: Path) -> None:
    start = ["train", "digits", "--out", tmp_path / "out", "--set"]
    assert "scatter-gather-cifar10" in fail(*start, "network.initial=zoo:scatter-gather-cifar")
    for missing in ("no-such.safetensors", str(folder), ""):
        line = fail(*start, f"network.initial={missing}")
        assert f"network.initial: got {missing!r}, expected a model.safetensors" in line
    line = fail(*start, f"network.initial={folder / 'snn.safetensors'}")
    assert f"network.initial: {folder / 'snn.safetensors'}: the graph has a convolution (8, 1, 3, 3), stride" in line
    inside = Path(shutil.copy(folder / "snn.safetensors", tmp_path / "out"))
    assert "choose another --out" in fail(*start, f"network.initial={inside}")
    assert inside.exists()
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_network_that_is_there_keeps_its_conversion(fail: Fail, folder: Path) -> None:
    kept = (folder / "recipe.toml").read_text()
    for command in ("simulate", "evaluate"):
        line = fail(command, "--out", folder, "--limit", "5", "--set", "convert.method=negative-spike")
        assert "convert.method: got negative-spike, but the network in" in line
    assert "noise.training_drop" in fail("simulate", "--out", folder, "--set", "noise.training_drop=0.5")
    assert (folder / "recipe.toml").read_text() == kept


def test_an_interrupted_conversion_leaves_no_network_of_another_name(
    fail: Fail, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    other = [*QUICK, "--set", "convert.method=negative-spike"]
    with monkeypatch.context() as patch:
        patch.setattr("isospike.experiment.stages.convert", interrupt)
        assert run(["run", "digits", "--out", str(folder), *other]) == 130
    capsys.readouterr()
    metrics = read_json(folder / "metrics.json")
    assert metrics["method"] == "negative-spike"
    assert metrics["ann"] is not None
    assert metrics["snn"] is None and metrics["verify"] is None
    assert not list((folder / "figures").iterdir()) and not list((folder / "logs").iterdir())
    assert "run 'isospike convert" in fail("simulate", "--out", folder, "--limit", "5")
    assert run(["run", "digits", "--out", str(folder), *other]) == 0
    assert read_json(folder / "metrics.json")["verify"]["mismatches"] == 0


def test_a_graph_alone_does_not_take_the_place_of_a_run(fail: Fail, folder: Path) -> None:
    kept = (folder / "metrics.json").read_text()
    given = ["--graph", folder / "snn.safetensors", "--dataset", "digits", "--limit", "5"]
    assert "it holds a run" in fail("simulate", *given, "--out", folder)
    assert (folder / "metrics.json").read_text() == kept


def test_options_that_belong_elsewhere(fail: Fail, folder: Path) -> None:
    for option, value in (("--levels", 8), ("--per", "channel"), ("--mean", 0.5), ("--seed", 3), ("--images", 9)):
        assert f"{option}: belongs to a network of your own" in fail("convert", "--out", folder, option, value)
    assert "--mean: belongs to a network of your own" in fail("inspect", folder, "--mean", 0.5)
    assert "--ann: expected a run folder" in fail("inspect", folder / "snn.safetensors", "--ann")
    assert "--dataset: belongs to --graph" in fail("simulate", "--out", folder, "--dataset", "mnist")
    for command in (["compare", folder], ["zoo", "run", "all-integer-mnist"]):
        assert "gpu" in fail(*command, "--device", "gpu")
