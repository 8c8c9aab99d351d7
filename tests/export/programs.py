"""Compiling the C programs of tests, and running them."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch

from isospike import simulate
from isospike.export.c.sizes import STRICT
from isospike.graph import SpikingGraph

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


def compile_program(folder: Path, name: str = "snn", compiler: str = "gcc", flags: tuple[str, ...] = ()) -> Path:
    """Compile what ``export_c`` wrote, strictly; warnings fail."""
    program = folder / f"{name}-{compiler}"
    sources = [str(folder / f"{name}.c"), str(folder / "main.c")]
    done = subprocess.run(
        [compiler, *STRICT, "-O1", *flags, "-o", str(program), *sources], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return program


def run_program(program: Path, images: np.ndarray, steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Its logits (time, batch, classes) and whether each image has settled (time, batch)."""
    options = [] if steps is None else ["-s", str(steps)]
    done = subprocess.run([str(program), "-l", *options], input=images.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    rows = np.array([line.split() for line in done.stdout.splitlines()], dtype=np.int64)
    assert rows[:, 0].tolist() == np.repeat(np.arange(len(images)), rows[:, 1].max()).tolist()
    table = rows.reshape(len(images), -1, rows.shape[1]).transpose(1, 0, 2)
    return table[..., 3:], table[..., 2].astype(bool)


def assert_same(program: Path, graph: SpikingGraph, images: np.ndarray) -> None:
    """The program gives the simulator's logits and agreement at every step."""
    simulation = simulate(graph, torch.from_numpy(images), dtype="int64", early_stop=False, engine="torch")
    logits, settled = run_program(program, images)
    np.testing.assert_array_equal(logits, simulation.logits.numpy())
    np.testing.assert_array_equal(settled, simulation.settled.numpy())


def find_compilers() -> list[str]:
    """The C compilers that are there."""
    return [name for name in ("gcc", "clang") if shutil.which(name)]
