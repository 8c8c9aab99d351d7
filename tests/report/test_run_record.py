"""Reading a run from its metrics, or from logs alone."""

import json
from pathlib import Path

import pytest

from isospike.errors import FileError
from isospike.report import LayerRecord, read_run

from .conftest import MakeRun, write_log


def test_metrics_are_read_whole(make_run: MakeRun) -> None:
    record = read_run(make_run("one", steps=2))
    assert (record.name, record.steps, record.images) == ("digits", 2, 360)
    assert (record.ann_accuracy, record.macs) == (0.99, 87552)
    assert record.sops == (25000.0, 50000.0)
    assert record.settled == (0.5, 1.0)
    assert record.accuracy_spread is None
    assert record.layers == (  # the classifier has no spikes
        LayerRecord("conv1", 576, (100.0, 200.0), (0.0, 0.0), encoding=True),
        LayerRecord("dense1", 128, (45.0, 90.0), (15.0, 30.0)),
    )


def test_what_metrics_lack_is_none(make_run: MakeRun) -> None:
    record = read_run(make_run("one", ann=None, snn=None, verify=None, noise=None, layers=None))
    assert record.name == "digits"
    assert (record.images, record.ann_accuracy, record.macs) == (None, None, None)
    assert (record.accuracy, record.sops, record.settled, record.layers) == (None, None, None, ())


def test_a_rate_coded_run_never_settles(make_run: MakeRun) -> None:
    metrics = json.loads((make_run("one") / "metrics.json").read_text())
    record = read_run(make_run("rate", snn={**metrics["snn"], "settled": None}))
    assert record.settled is None and record.accuracy == tuple(metrics["snn"]["accuracy"])


def test_logs_alone_give_means_per_image(paper_logs: Path) -> None:
    record = read_run(paper_logs, batch_size=100)
    assert (record.name, record.steps, record.images) == ("paper", 2, 200)
    assert record.accuracy == pytest.approx((0.81, 0.99))
    assert record.spikes == pytest.approx((11.0, 15.0))
    assert record.sops == pytest.approx((40722.68, 50722.68))
    (layer,) = record.layers
    assert layer.neurons is None
    assert layer.positive == pytest.approx((10.0, 13.0))
    assert layer.negative == pytest.approx((1.0, 2.0))
    assert (record.ann_accuracy, record.macs, record.settled) == (None, None, None)


def test_logs_of_single_steps_are_accumulated(paper_logs: Path) -> None:
    whole = read_run(paper_logs, batch_size=100)
    for name in ("spike_num", "spike_collect"):
        (paper_logs / f"{name}.txt").unlink()
    assert read_run(paper_logs, batch_size=100, steps=2) == whole


def test_logs_are_found_under_logs(tmp_path: Path) -> None:
    write_log(tmp_path / "run" / "logs", "accuracy", [90, 95])
    for folder in (tmp_path / "run", tmp_path / "run" / "logs"):
        record = read_run(folder, batch_size=100, steps=2)
        assert (record.name, record.accuracy, record.sops) == ("run", (0.9, 0.95), None)


def test_what_logs_do_not_tell_is_asked_for(paper_logs: Path) -> None:
    with pytest.raises(FileError, match=r"paper: .*--batch-size"):
        read_run(paper_logs)
    (paper_logs / "abs_spike.txt").unlink()
    with pytest.raises(FileError, match=r"paper: .*--steps"):
        read_run(paper_logs, batch_size=100)


@pytest.mark.parametrize("name", ["recipe.toml", "snn.safetensors"])
def test_a_run_of_ours_without_metrics_is_told(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "bad"
    write_log(folder / "logs", "accuracy", [90, 95])
    (folder / name).write_text("")
    with pytest.raises(FileError, match=r"bad: metrics\.json is missing; run 'isospike simulate --out .*bad'"):
        read_run(folder)
    assert read_run(folder, batch_size=100, steps=2).accuracy == (0.9, 0.95)


def test_a_batch_size_too_small_is_told(paper_logs: Path) -> None:
    with pytest.raises(FileError, match=r"accuracy\.txt: 198 correct predictions, but 20 images in 2 batches.*--batch"):
        read_run(paper_logs, batch_size=10)


@pytest.mark.parametrize(("option", "name"), [("batch_size", "--batch-size"), ("steps", "--steps")])
def test_numbers_below_one_are_refused(paper_logs: Path, option: str, name: str) -> None:
    with pytest.raises(FileError, match=f"{name}: expected at least 1, got 0"):
        read_run(paper_logs, **{option: 0})


def test_folders_without_a_run_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"empty: neither metrics\.json nor a log \(accuracy\.txt, "):
        read_run(tmp_path / "empty")
    with pytest.raises(FileError, match="file: a file; give the folder"):
        read_run(tmp_path / "file")
    with pytest.raises(FileError, match="none: not found; give the folder"):
        read_run(tmp_path / "none")


@pytest.mark.parametrize(
    "section",
    [
        {"snn": {"accuracy": ["high"]}},
        {"snn": {"accuracy": None}},
        {"snn": {"accuracy": [None]}},
        {"snn": [1]},
        {"snn": {"accuracy": [float("nan")]}},
        {"ann": {"accuracy": float("inf")}},
        {"layers": [{"positive": [1], "negative": [1]}]},
        {"layers": [3]},
    ],
)
def test_damaged_metrics_are_told(make_run: MakeRun, section: dict) -> None:
    with pytest.raises(FileError, match=r"metrics\.json: not the metrics of a run .*simulate --out"):
        read_run(make_run("one", **section))


def test_lists_of_different_lengths_are_told(make_run: MakeRun) -> None:
    snn = {"accuracy": [0.5, 0.9], "settled": [1.0]}
    with pytest.raises(FileError, match=r"snn\.settled has 1 entries, expected one for each of the 2 steps"):
        read_run(make_run("one", snn=snn, layers=None))


def test_json_that_does_not_parse_is_told(make_run: MakeRun) -> None:
    folder = make_run("one")
    whole = json.dumps({"recipe": "digits"})
    (folder / "metrics.json").write_text(whole[:-3])
    with pytest.raises(FileError, match=r"metrics\.json: expected JSON"):
        read_run(folder)
