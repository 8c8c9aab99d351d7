"""A training that begins with a spiking graph."""

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
