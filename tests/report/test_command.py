"""``isospike report``: what it adds to a run folder, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isospike.cli.program import run
from isospike.report import read_confusion, read_sample

from .pages import Page

Fail = Callable[..., str]


@pytest.fixture
def folder(digits: Path, tmp_path: Path) -> Path:
    """A copy of a whole run."""
    return Path(shutil.copytree(digits, tmp_path / "digits"))


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Fail:
    """Run a command that must fail with exit code 2 and one line on standard error; gives that line."""

    def check(*arguments: object) -> str:
        assert run([str(argument) for argument in arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("isospike: ")
        return line

    return check


def test_the_confusion_matrix_is_that_of_the_simulation(digits: Path) -> None:
    metrics = json.loads((digits / "metrics.json").read_text())
    confusion = read_confusion(digits)
    assert confusion is not None and confusion.images == 60
    assert confusion.steps == tuple(range(1, metrics["steps"] + 1))
    for accuracy, matrix in zip(metrics["snn"]["accuracy"], confusion.matrices, strict=True):
        assert sum(map(sum, matrix)) == 60
        assert sum(matrix[index][index] for index in range(10)) == round(60 * accuracy)


def test_the_sample_is_that_of_the_simulation(digits: Path) -> None:
    sample = read_sample(digits)
    assert sample is not None
    assert sample.image == 2
    assert [layer.name for layer in sample.layers] == ["conv1.neuron", "pool1.neuron", "dense1.neuron"]
    for layer in sample.layers:
        assert layer.raster and layer.traces
        assert sum(layer.spikes) >= sum(abs(spike) for train in layer.raster for spike in train.spikes)


def test_what_is_there_is_kept_and_what_is_stale_is_made_anew(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    before = (folder / "sample.json").stat().st_mtime_ns
    assert run(["report", str(folder), "-o", str(out)]) == 0
    assert (folder / "sample.json").stat().st_mtime_ns == before
    assert run(["report", str(folder), "-o", str(out), "--image", "7"]) == 0
    sample = read_sample(folder)
    assert sample is not None and sample.image == 7
    assert "Test image 7" in Page(out.read_text()).read_section("sample")
    assert run(["convert", "--out", str(folder), "--set", "convert.t_max=16"]) == 0
    assert run(["report", str(folder), "-o", str(out), "--limit", "30"]) == 0
    renewed, confusion = read_sample(folder), read_confusion(folder)
    assert renewed is not None and renewed.graph != sample.graph
    assert confusion is not None and confusion.images == 30


def test_what_was_made_under_other_conditions_is_stale(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    before = read_confusion(folder), read_sample(folder)
    assert run(["simulate", "--out", str(folder), "--limit", "60", "--set", "noise.input=0.5"]) == 0
    assert run(["report", str(folder), "--limit", "60", "-o", str(out)]) == 0
    confusion, sample = read_confusion(folder), read_sample(folder)
    assert confusion is not None and confusion.conditions["noise"]["input"] == 0.5
    assert confusion != before[0]
    assert sample == before[1]  # a sample is shown without noise
    steps = ["--set", "simulate.steps=2", "--set", "simulate.propagation=layer-per-step"]
    assert run(["simulate", "--out", str(folder), "--limit", "60", *steps]) == 0
    assert run(["report", str(folder), "--limit", "60", "-o", str(out)]) == 0
    confusion, sample = read_confusion(folder), read_sample(folder)
    assert confusion is not None and confusion.steps == (1, 2)
    assert sample is not None and sample.steps == 2
    assert sample.conditions["simulation"]["propagation"] == "layer-per-step"


def test_conditions_are_those_of_the_metrics_not_of_a_later_command(folder: Path, tmp_path: Path) -> None:
    """``evaluate`` notes its noise in the recipe; the simulation that the page shows had none."""
    assert run(["evaluate", "--out", str(folder), "--limit", "60", "--set", "noise.input=3.0"]) == 0
    before = read_confusion(folder)
    (folder / "confusion.json").unlink()
    assert run(["report", str(folder), "--limit", "60", "-o", str(tmp_path / "report.html")]) == 0
    after = read_confusion(folder)
    assert before is not None and after is not None
    assert after.matrices == before.matrices
    assert after.conditions["noise"]["input"] == 0


def test_what_is_counted_makes_nothing_stale(folder: Path, tmp_path: Path) -> None:
    before = (folder / "confusion.json").stat().st_mtime_ns
    options = ["--limit", "60", "--count-encoder", "--sops", "negative-spike"]
    assert run(["simulate", "--out", str(folder), *options]) == 0
    assert run(["report", str(folder), "--limit", "60", "-o", str(tmp_path / "report.html")]) == 0
    assert (folder / "confusion.json").stat().st_mtime_ns == before


def test_a_conversion_by_another_method_takes_along_what_was_made_of_the_old_network(folder: Path) -> None:
    assert run(["convert", "--out", str(folder), "--set", "convert.t_max=64"]) == 0
    assert (folder / "sample.json").is_file()  # the same method
    assert run(["convert", "--out", str(folder), "--set", "convert.method=negative-spike"]) == 0
    left = {path.name for path in folder.iterdir()}
    assert "snn.safetensors" in left and not left & {"sample.json", "confusion.json"}
    assert not list((folder / "figures").iterdir()) and not list((folder / "logs").iterdir())


def test_damaged_conditions_are_named(folder: Path, fail: Fail) -> None:
    path = folder / "metrics.json"
    for simulation in ([1], {"propagation": "sideways"}, {"steps": 0}):
        metrics = json.loads(path.read_text())
        path.write_text(json.dumps({**metrics, "simulation": simulation}))
        (folder / "confusion.json").unlink(missing_ok=True)
        assert "metrics.json" in fail("report", folder)


def test_a_new_training_takes_along_what_was_made_of_the_old_network(folder: Path) -> None:
    (folder / "robustness.json").write_text("{}")
    (folder / "comparison").mkdir()
    (folder / "comparison" / "comparison.json").write_text("{}")
    shutil.rmtree(folder / "training")
    assert run(["train", "digits", "--out", str(folder), "--set", "train.epochs=1"]) == 0
    left = {path.name for path in folder.iterdir()}
    assert not left & {"snn.safetensors", "sample.json", "confusion.json", "robustness.json"}
    assert not list((folder / "comparison").iterdir())


def test_without_data_the_page_says_what_would_fill_it(folder: Path, tmp_path: Path) -> None:
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('name = "digits"', 'name = "mnist"'))
    for name in ("sample.json", "confusion.json"):
        (folder / name).unlink()
    out = tmp_path / "report.html"
    assert run(["report", str(folder), "-o", str(out)]) == 0
    assert f"isospike report {folder} --data FOLDER" in Page(out.read_text()).read_section("sample")


def test_figures(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert run(["report", str(folder), "-o", str(out), "--figures"]) == 0
    written = capsys.readouterr().out.splitlines()
    assert written[0] == str(out)
    assert str(tmp_path / "page-figures" / "sample-layer1.svg") in written
    assert all(Path(path).is_file() for path in written)


def test_bad_input(folder: Path, tmp_path: Path, fail: Fail) -> None:
    assert "expected 0 to 359, the test images, got 1000" in fail("report", folder, "--image", 1000)
    assert "got -1" in fail("report", folder, "--image", -1)
    assert "not found" in fail("report", tmp_path / "nowhere", "-o", tmp_path / "page.html")
    assert "stands there twice" in fail("report", folder, folder, folder, "-o", tmp_path / "page.html")
    assert "stands there twice" in fail("figures", folder, folder, "-o", tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
    (folder / "recipe.toml").unlink()
    (folder / "sample.json").unlink()
    assert "give --data FOLDER" in fail("report", folder, "--image", 1, "-o", tmp_path / "page.html")
    assert "no recipe.toml" in fail("report", folder, "--image", 1, "--data", tmp_path, "-o", tmp_path / "page.html")


def test_a_rate_coded_run_makes_a_page(tmp_path: Path) -> None:
    settings = [
        "quantise.levels=qcfs",
        "quantise.count=4",
        "quantise.weights=float",
        "convert.method=qcfs",
        "train.epochs=1",
    ]
    changes = [part for setting in settings for part in ("--set", setting)]
    assert run(["run", "digits", "--out", str(tmp_path / "rate"), "--limit", "40", *changes]) == 0
    assert json.loads((tmp_path / "rate" / "metrics.json").read_text())["snn"]["settled"] is None
    assert run(["report", str(tmp_path / "rate"), "-o", str(tmp_path / "report.html")]) == 0
    assert "settle" in (tmp_path / "report.html").read_text()
