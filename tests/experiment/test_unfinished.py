"""A simulation or a proof that is interrupted goes on where it was, and finds the same."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from isospike.experiment import Experiment, Options, RunFolder, unfinished
from isospike.experiment.unfinished import FOLDER
from isospike.files import write_bytes
from tests.experiment.test_one_pass import FLOAT, QCFS, forget_times, make_run

BATCHES = ["simulate.batch_size=7"]
DONE = 3


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
    assert "verify goes on where it was interrupted" in caplog.text
    assert list_kept(experiment) == []
    assert not (experiment.folder.path / FOLDER).exists()


@pytest.mark.parametrize("settings", [QCFS, FLOAT, ["noise.encoder_drop=0.3", "noise.seeds=2"]])
def test_a_simulation_goes_on(settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isospike.experiment.sharing._MOST_IMAGES", 14)
    expected = forget_times(make_run(tmp_path / "whole", [*BATCHES, *settings]).simulate())
    experiment = make_run(tmp_path / "left", [*BATCHES, *settings])
    assert interrupt(Experiment.simulate, experiment) > 20
    assert [path.name[:9] for path in list_kept(experiment)] == ["simulate-"]
    found, seen = go_on(Experiment.simulate, experiment)
    assert found == expected
    assert seen[0] == 14
    assert list_kept(experiment) == []


def test_other_work_begins_anew(tmp_path: Path) -> None:
    experiment = make_run(tmp_path / "run", BATCHES)
    interrupt(Experiment.verify, experiment)
    recipe = experiment.recipe
    noisy = recipe.model_copy(update={"noise": recipe.noise.model_copy(update={"input": 0.2})})
    fewer = Experiment(recipe, experiment.folder, Options(limit=80))
    for other in (Experiment(noisy, experiment.folder, experiment.options), fewer):
        kept = [path.read_bytes() for path in list_kept(experiment)]
        _, seen = go_on(Experiment.verify, other)
        assert seen[:2] == [0, 7]
        write_bytes(experiment.folder.path / FOLDER / "verify-again.safetensors", kept[0])
    model = experiment.folder.read_model(recipe)
    experiment.folder.write_model(model)  # the same bytes
    _, seen = go_on(Experiment.verify, experiment)
    assert seen[:2] == [0, 7]  # its file went with the other proof that was finished


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
        "import time; from isospike.conversion import Proof; check = Proof.check;"
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
    assert "goes on where it stopped" in said
    assert list((folder / FOLDER).glob("verify-*.safetensors"))
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert 90 - DONE <= done.stdout.splitlines().count("1") <= 90 - DONE + 1
    assert "verify goes on where it was interrupted" in done.stderr
    metrics = RunFolder(folder).read_metrics()
    assert metrics["verify"]["images"] == 90
    assert metrics["verify"]["mismatches"] == 0
    assert metrics["stage_seconds"]["verify"] > 90 * 0.05
