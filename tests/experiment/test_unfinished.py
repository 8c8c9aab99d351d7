"""A simulation or a proof that is interrupted goes on where it was, and finds the same."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isospike.conversion import Proof
from isospike.data import ImageSet
from isospike.errors import FileError
from isospike.experiment import Experiment, Options, RunFolder, unfinished
from isospike.experiment.unfinished import FOLDER, Beginning, Unfinished
from isospike.files import write_bytes
from isospike.training import start_accelerator
from tests.experiment.test_one_pass import FLOAT, QCFS, forget_times, make_run

BATCHES = ["simulate.batch_size=7"]
DONE = 60


def interrupt(run: Callable[[Experiment], Any], experiment: Experiment) -> int:
    """Ctrl-C after some images; gives how many were done."""
    seen = []

    def advance(_stage: str, _total: int) -> Callable[[int], None]:
        def count(done: int) -> None:
            seen.append(done)
            if done > 20:
                raise KeyboardInterrupt

        return count

    try:
        run(Experiment(experiment.recipe, experiment.folder, experiment.options, advance))
    except KeyboardInterrupt:
        return seen[-1]
    raise AssertionError("it was not interrupted")


def go_on(run: Callable[[Experiment], Any], experiment: Experiment) -> tuple[dict[str, Any], list[int]]:
    """The metrics, and the numbers of images done that progress showed."""
    seen: list[int] = []

    def advance(_stage: str, _total: int) -> Callable[[int], None]:
        return seen.append

    found = run(Experiment(experiment.recipe, experiment.folder, experiment.options, advance))
    return forget_times(found), seen


def list_kept(experiment: Experiment) -> list[Path]:
    return sorted((experiment.folder.path / FOLDER).glob("*"))


@pytest.mark.parametrize(
    ("run", "settings"),
    [
        (Experiment.verify, []),
        (Experiment.verify, FLOAT),
        (Experiment.simulate_and_verify, []),
        (Experiment.simulate_and_verify, FLOAT),
    ],
)
def test_a_proof_goes_on(
    run: Callable[[Experiment], Any], settings: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = forget_times(run(make_run(tmp_path / "whole", [*BATCHES, *settings])))
    experiment = make_run(tmp_path / "left", [*BATCHES, *settings])
    assert interrupt(run, experiment) == 21
    assert [path.name[:7] for path in list_kept(experiment)] == ["verify-"]
    assert "verify" not in {name for name, found in experiment.folder.read_metrics().items() if found}
    with caplog.at_level(logging.WARNING):
        found, seen = go_on(run, experiment)
    assert found == expected
    assert found["verify"]["images"] == 90
    assert seen == [21, 28, 35, 42, 49, 56, 63, 70, 77, 84, 90]
    assert "verify goes on after 21 images, where it was interrupted" in caplog.text
    assert list_kept(experiment) == []
    assert not (experiment.folder.path / FOLDER).exists()


@pytest.mark.parametrize("settings", [QCFS, FLOAT, ["noise.encoder_drop=0.3", "noise.seeds=2"]])
def test_a_simulation_goes_on(settings: list[str], tmp_path: Path) -> None:
    expected = forget_times(make_run(tmp_path / "whole", [*BATCHES, *settings]).simulate())
    experiment = make_run(tmp_path / "left", [*BATCHES, *settings])
    assert interrupt(Experiment.simulate, experiment) == 21
    assert [path.name[:9] for path in list_kept(experiment)] == ["simulate-"]
    found, seen = go_on(Experiment.simulate, experiment)
    assert found == expected
    assert seen[:2] == [21, 28]
    assert list_kept(experiment) == []


def test_other_work_begins_anew(tmp_path: Path) -> None:
    experiment = make_run(tmp_path / "run", BATCHES)
    interrupt(Experiment.verify, experiment)
    recipe, kept = experiment.recipe, list_kept(experiment)
    noisy = recipe.model_copy(update={"noise": recipe.noise.model_copy(update={"input": 0.2})})
    for other in (
        Experiment(noisy, experiment.folder, experiment.options),
        Experiment(recipe, experiment.folder, Options(limit=80)),
    ):
        _, seen = go_on(Experiment.verify, other)
        assert seen[:2] == [0, 7]
        assert list_kept(experiment) == kept  # what was found by other work stays
    experiment.folder.write_recipe(recipe)
    _, seen = go_on(Experiment.verify, experiment)
    assert seen[:2] == [21, 28]


def test_what_numbers_depend_on_makes_another_name(tmp_path: Path) -> None:
    data = ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))

    def find(images: ImageSet = data, method: str = "a", seed: int = 0) -> Beginning:
        stage = Unfinished(tmp_path, "verify", {"method": method}, ("snn.safetensors",))
        return stage.open(images, start_accelerator("cpu"), seed=seed)

    def leave(beginning: Beginning) -> None:
        beginning.keep(lambda: {"images": np.array([3])})
        raise KeyboardInterrupt

    write_bytes(tmp_path / "snn.safetensors", b"one")
    with suppress(KeyboardInterrupt), find() as beginning:
        leave(beginning)
    assert find().arrays["images"].tolist() == [3]
    assert not find(method="b").arrays
    assert not find(seed=1).arrays
    assert not find(ImageSet(data.images + 1, data.labels)).arrays
    assert not find(ImageSet(data.images, data.labels + 1)).arrays
    write_bytes(tmp_path / "snn.safetensors", b"two")
    assert not find().arrays
    write_bytes(tmp_path / "snn.safetensors", b"one")
    assert find().arrays


def test_another_version_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_run(tmp_path / "run", BATCHES)
    interrupt(Experiment.verify, experiment)
    monkeypatch.setattr(unfinished, "read_versions", lambda: {"torch": "9.9"})
    _, seen = go_on(Experiment.verify, experiment)
    assert seen[:2] == [0, 7]


def test_a_full_disk_does_not_stop_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: Path, *_: object) -> None:
        raise FileError(f"{path}: cannot be written (No space left on device)")

    experiment = make_run(tmp_path / "run", BATCHES)
    monkeypatch.setattr(unfinished, "_EVERY", 0.0)
    monkeypatch.setattr(unfinished, "write_tensors", fail)
    assert experiment.verify()["verify"]["images"] == 90
    assert "No space left on device" in caplog.text
    assert interrupt(Experiment.verify, experiment) == 21


def test_a_proof_takes_up_all_numbers_or_none(tmp_path: Path) -> None:
    experiment = make_run(tmp_path / "run", BATCHES)
    graph = experiment.folder.read_graph()
    proof = Proof(graph, experiment.folder.read_model(experiment.recipe), "all-integer")
    before = proof.write_down()
    with pytest.raises(ValueError, match=r"zip\(\)"):
        proof.take_up([5, 5, 5, 5, 5])
    assert proof.write_down() == before
    numbers = list(range(1, len(before) + 1))
    proof.take_up(numbers)
    assert proof.write_down() == numbers


@pytest.mark.parametrize("damage", [b"", b"x" * 100, None])
def test_what_is_damaged_is_done_anew(damage: bytes | None, tmp_path: Path) -> None:
    expected = forget_times(make_run(tmp_path / "whole", BATCHES).verify())
    experiment = make_run(tmp_path / "left", BATCHES)
    interrupt(Experiment.verify, experiment)
    (kept,) = list_kept(experiment)
    write_bytes(kept, kept.read_bytes()[:-9] if damage is None else damage)
    found, seen = go_on(Experiment.verify, experiment)
    assert found == expected
    assert seen[0] == 0


def test_another_conversion_or_training_forgets_it(tmp_path: Path) -> None:
    experiment = make_run(tmp_path / "run", BATCHES)
    interrupt(Experiment.verify, experiment)
    assert list_kept(experiment)
    experiment.convert()  # the same once more
    assert list_kept(experiment)
    experiment.folder.clear_conversion()
    assert not list_kept(experiment)


def test_batches_are_kept_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "_EVERY", 0.0)
    monkeypatch.setattr(unfinished, "_TIMES", 0)
    experiment = make_run(tmp_path / "run", BATCHES)
    sizes = []

    def advance(_stage: str, _total: int) -> Callable[[int], None]:
        return lambda _done: sizes.append(sum(path.stat().st_size for path in list_kept(experiment)))

    Experiment(experiment.recipe, experiment.folder, experiment.options, advance).verify()
    assert sizes[0] == 0
    assert all(later > earlier for earlier, later in pairwise(sizes))
    assert list_kept(experiment) == []


def test_nothing_is_written_for_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_run(tmp_path / "run", BATCHES)
    monkeypatch.setattr(unfinished, "write_tensors", None)  # calling it would fail
    experiment.verify()
    assert not (experiment.folder.path / FOLDER).exists()


def test_ctrl_c_on_the_command_line(tmp_path: Path) -> None:
    """Seconds of both parts are counted; the command says that it goes on."""
    folder = tmp_path / "run"
    make_run(folder, ["simulate.batch_size=1", "convert.t_max=200"])
    slow = (
        "import signal, time; from isospike.conversion import Proof; check = Proof.check;"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"  # a job in the background begins without
        "Proof.check = lambda self, images: (print(len(images), flush=True), time.sleep(0.05), check(self, images))[2];"
        "from isospike.cli import main; main()"
    )
    command = [sys.executable, "-c", slow, "verify", "--out", str(folder), "--limit", "90"]
    environment = {**os.environ, "ISOSPIKE_CACHE": "off"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        for _ in range(DONE):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    assert list((folder / FOLDER).glob("verify-*.safetensors"))
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert 90 - DONE <= done.stdout.splitlines().count("1") <= 90 - DONE + 1
    assert "images, where it was interrupted" in done.stderr
    metrics = RunFolder(folder).read_metrics()
    assert metrics["verify"]["images"] == 90
    assert metrics["verify"]["mismatches"] == 0
    assert metrics["stage_seconds"]["verify"] > 90 * 0.05  # of both parts
