"""A training that begins with a spiking graph."""

import shutil
from hashlib import sha256
from pathlib import Path

from isospike.cli.program import run
from isospike.files import read_json

from .conftest import QUICK


def test_a_graph_is_trained_on(trained: Path, tmp_path: Path) -> None:
    graph = trained / "snn.safetensors"
    again = ["run", "digits", *QUICK, "--set", "train.epochs=1"]
    assert run([*again, "--out", str(tmp_path / "fresh")]) == 0
    assert run([*again, "--out", str(tmp_path / "more"), "--set", f"network.initial={graph}"]) == 0
    fresh, more = (read_json(tmp_path / name / "metrics.json") for name in ("fresh", "more"))
    assert more["training"]["initial"] == {"source": str(graph), "sha256": sha256(graph.read_bytes()).hexdigest()}
    assert "initial" not in fresh["training"]
    assert more["training"]["loss"] < 0.8 * fresh["training"]["loss"]
    assert more["verify"]["mismatches"] == 0


def test_an_interrupted_one_goes_on_without_the_graph(trained: Path, tmp_path: Path) -> None:
    graph = Path(shutil.copy(trained / "snn.safetensors", tmp_path))
    train = ["train", "digits", *QUICK, "--set", f"network.initial={graph}", "--out", str(tmp_path / "out")]
    assert run(train) == 0
    first = read_json(tmp_path / "out" / "metrics.json")["training"]
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    graph.unlink()
    (tmp_path / "out" / "metrics.json").unlink()
    assert run(train) == 0
    assert read_json(tmp_path / "out" / "metrics.json")["training"]["initial"] == first["initial"]
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights
