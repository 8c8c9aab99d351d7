"""Several processes, started by torchrun: bit for bit the numbers of one, uneven last batch included."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isospike.cli.program import run

TIMES = ("seconds", "stage_seconds")
LAST_IMAGES = ["--limit", "55"]
BATCHES = ["--set", "simulate.batch_size=10"]


def launch(*arguments: str, processes: int = 2) -> str:
    """Run a command by torchrun; gives its output."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*torchrun, "-m", "isospike", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def read_numbers(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return {key: value for key, value in metrics.items() if key not in TIMES}


def test_simulation_by_two_processes_is_that_of_one_lost_spikes_included(folder: Path) -> None:
    command = ["simulate", "--out", str(folder), *LAST_IMAGES, *BATCHES]
    command += ["--set", "noise.encoder_drop=0.2", "--set", "noise.seeds=2"]
    assert run(command) == 0
    alone, logs = read_numbers(folder), {path.name: path.read_text() for path in (folder / "logs").glob("*.txt")}
    assert alone["snn"]["images"] == 55
    (folder / "metrics.json").unlink()
    output = launch(*command)
    assert output.count("accuracy") == 1  # the first process alone prints
    after = read_numbers(folder)
    for section in ("snn", "noise", "layers"):
        assert after[section] == alone[section]
    assert {path.name: path.read_text() for path in (folder / "logs").glob("*.txt")} == logs
    assert len((folder / "logs" / "accuracy.txt").read_text().split()) == 2 * 6 * alone["steps"]


@pytest.mark.parametrize(("processes", "batch"), [(2, 10), (3, 30)])
def test_proof_by_several_processes_is_that_of_one(folder: Path, processes: int, batch: int) -> None:
    command = ["verify", "--out", str(folder), *LAST_IMAGES, "--set", f"simulate.batch_size={batch}"]
    assert run(command) == 0
    alone = read_numbers(folder)
    assert alone["verify"]["images"] == 55
    launch(*command, processes=processes)  # three processes, two batches: one process has none
    assert read_numbers(folder) == alone


def test_a_whole_run_by_two_processes_measures_what_one_does(folder: Path) -> None:
    command = ["run", str(folder / "recipe.toml"), "--out", str(folder), *LAST_IMAGES, *BATCHES]
    assert run(command) == 0  # trained already; simulates and verifies in one pass
    alone = read_numbers(folder)
    assert alone["snn"]["images"] == alone["verify"]["images"] == 55
    assert launch(*command).count("verified") == 1
    assert read_numbers(folder) == alone
