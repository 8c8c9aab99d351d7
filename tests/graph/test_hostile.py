"""Hostile files: one line of error each, and next to no memory and time."""

import os
import time
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from isospike.cli.program import run
from isospike.errors import FileError, GraphError
from isospike.graph import Activation, Dense, Flatten, Input, Readout, SpikingGraph, load_graph, save_graph
from tests.graph.hostile import HOSTILE, Hostile


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda each: each.name)
def test_refused_in_one_line(tmp_path: Path, hostile: Hostile) -> None:
    path = tmp_path / "snn.safetensors"
    hostile.write(path)
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises((GraphError, FileError)) as caught:
        load_graph(path)
    seconds = time.monotonic() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    shown = str(caught.value)
    assert hostile.message in shown
    assert "\n" not in shown
    assert len(shown) < 600
    assert peak < 8 * path.stat().st_size + 2_000_000
    assert seconds < 10


def test_the_command_line_says_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "snn.safetensors"
    HOSTILE[0].write(path)
    assert run(["export", "c", str(path), "-o", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no endless device")
def test_endless_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="expected a file, got a device or a pipe"):
        load_graph("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="expected a file, got a device or a pipe"):
        load_graph(tmp_path / "pipe")


def test_sparse_file(tmp_path: Path) -> None:
    path = tmp_path / "snn.safetensors"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(FileError, match="of at most 8589934592 bytes"):
        load_graph(path)


@pytest.mark.parametrize("step", ["1e999999999", "1/0", "nan", "1" * 500, "9" * 310, "1/" + "9" * 310, "0.5", "-" * 9])
def test_fractions(tmp_path: Path, step: str) -> None:
    """A fraction is digits and one stroke: an exponent could ask for any memory."""
    path = tmp_path / "ann.safetensors"
    nodes = (
        Input("pixels", (), (1, 1, 1), 1, np.array([0])),
        Flatten("flatten", ("pixels",)),
        Dense("dense", ("flatten",), np.array([[1]])),
        Activation("neuron", ("dense",), Fraction(1, 2), 3),
        Dense("classifier", ("neuron",), np.array([[1]])),
        Readout("readout", ("classifier",), np.array([0.0])),
    )
    save_graph(SpikingGraph(nodes), path)
    assert load_graph(path)["neuron"].settings["step"] == Fraction(1, 2)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(b'\\"1/2\\"', b'\\"' + step.encode() + b'\\"').rstrip()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    with pytest.raises(GraphError, match="malformed"):
        load_graph(path)
