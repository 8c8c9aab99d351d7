"""A network of the zoo gives its recorded answers again, and is found out where it does not."""

import json
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from isospike import simulate, zoo
from isospike.cli.program import run
from isospike.data import load
from isospike.errors import DataError
from isospike.experiment import Recipe, load_recipe
from isospike.zoo import running


@pytest.fixture
def entry(keeper: ModuleType, whole_run: Path) -> zoo.Entry:
    """The digits' network in a zoo of its own."""
    keeper.add(whole_run, "tiny", None, Path("nowhere"))
    return zoo.find("tiny")


def change(entry: zoo.Entry, spoil: Any) -> None:
    path = entry.folder / "metrics.json"
    metrics = json.loads(path.read_text())
    spoil(metrics)
    path.write_text(json.dumps(metrics))


def test_digests_are_of_logits_image_after_image(entry: zoo.Entry) -> None:
    images = load("digits").test.images
    logits = simulate(entry.load(), images, 4).logits.long().numpy()
    expected = [
        sha256(b"".join(logits[:, image].astype("<i8").tobytes() for image in range(start, min(start + 100, 360))))
        for start in (0, 100, 200, 300)
    ]
    answers = entry.metrics["zoo"]["answers"]
    assert (answers["of"], answers["steps"], answers["block"]) == ("logits", 4, 100)
    assert answers["sha256"] == [each.hexdigest() for each in expected]


def test_all_images_and_some(entry: zoo.Entry, capsys: pytest.CaptureFixture[str]) -> None:
    whole = running.run(zoo.find("tiny"))
    assert (whole.images, whole.compared, whole.differing, whole.is_equal) == (360, 360, (), True)
    assert whole.snn["accuracy"] == entry.metrics["snn"]["accuracy"]
    some = running.run(zoo.find("tiny"), limit=250)
    assert (some.images, some.compared, some.is_equal) == (250, 200, True)
    assert running.run(zoo.find("tiny"), limit=99).is_equal is None
    assert run(["zoo", "run", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["step", "accuracy", "recorded", "settled"]
    assert len(lines) == 2 + 4 + 1
    assert lines[-1] == "equal to metrics.json: logits of 360 images at every step"
    assert run(["zoo", "run", "tiny", "--limit", "50"]) == 0
    shown = capsys.readouterr().out
    assert "recorded" not in shown
    assert "not compared" in shown


def test_one_logit_of_one_image(entry: zoo.Entry, capsys: pytest.CaptureFixture[str]) -> None:
    def spoil(metrics: dict[str, Any]) -> None:
        metrics["zoo"]["answers"]["sha256"][2] = sha256(np.zeros(1).tobytes()).hexdigest()

    change(entry, spoil)
    assert running.run(zoo.find("tiny"), limit=200).is_equal
    assert running.run(zoo.find("tiny")).differing == ("logits of images 200..299",)
    assert run(["zoo", "run", "tiny"]) == 1
    assert "differs from metrics.json: logits of images 200..299\n" in capsys.readouterr().out


def test_what_is_missing_differs(entry: zoo.Entry) -> None:
    def spoil(metrics: dict[str, Any]) -> None:
        metrics["zoo"]["answers"]["sha256"].pop()
        metrics["snn"]["another"] = [1.0]

    change(entry, spoil)
    assert running.run(zoo.find("tiny")).differing == ("logits of images 300..399", "another")


def test_a_recorded_number(entry: zoo.Entry) -> None:
    def spoil(metrics: dict[str, Any]) -> None:
        metrics["snn"]["sops_per_image"][3] += 1

    change(entry, spoil)
    assert running.run(zoo.find("tiny")).differing == ("sops_per_image",)


def test_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any) -> Any:
        raise DataError("the hub is far")

    monkeypatch.setattr(Recipe, "load_data", fail)
    with pytest.raises(DataError, match=r"no test images of mnist at hand: pass --data FOLDER \(the hub is far\)"):
        running.load_test_images(load_recipe("all-integer-mnist"), None)
    with pytest.raises(DataError, match=r"^the hub is far$"):
        running.load_test_images(load_recipe("all-integer-mnist"), tmp_path)
