"""Run folders written by hand: metrics of a few steps, and logs in the papers' format."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from isospike.cli.program import run

MakeRun = Callable[..., Path]


def compose_metrics(recipe: str, steps: int, **changes: Any) -> dict[str, Any]:
    """Metrics of a network of two hidden layers; ``changes`` replace whole sections."""
    shares = [(step + 1) / steps for step in range(steps)]
    metrics = {
        "recipe": recipe,
        "steps": steps,
        "ann": {"accuracy": 0.99, "accuracy_float32": 0.98, "macs_per_image": 87552},
        "snn": {
            "accuracy": [0.3 + 0.69 * share for share in shares],
            "spikes_per_image": [120.0 * share for share in shares],
            "sops_per_image": [50000.0 * share for share in shares],
            "settled": shares,
        },
        "verify": {"images": 360},
        "noise": {"input": 0.0, "encoder_drop": 0.0, "seeds": [0]},
        "layers": [
            {"name": "conv1", "neurons": 576, "positive": [200 * share for share in shares], "negative": [0.0] * steps},
            {
                "name": "dense1",
                "neurons": 128,
                "positive": [90 * share for share in shares],
                "negative": [30 * share for share in shares],
            },
            {"name": "readout", "neurons": 10, "positive": None, "negative": None},
        ],
    }
    return {**metrics, **changes}


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run folder; gives it."""

    def make(folder: str, recipe: str = "digits", steps: int = 4, **changes: Any) -> Path:
        path = tmp_path / folder
        path.mkdir(parents=True)
        (path / "metrics.json").write_text(json.dumps(compose_metrics(recipe, steps, **changes)))
        return path

    return make


def write_log(folder: Path, name: str, values: Sequence[object]) -> None:
    """One number a line."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("".join(f"{value}\n" for value in values))


@pytest.fixture
def paper_logs(tmp_path: Path) -> Path:
    """Two batches of 100 images over two steps, in floats."""
    folder = tmp_path / "paper"
    write_log(folder, "accuracy", [80.0, 98.0, 82.0, 100.0])
    write_log(folder, "spike_num", [1000.0, 1400.0, 1200.0, 1600.0])
    write_log(folder, "spike_collect", [800.0, 1000.0, 1000.0, 1200.0])
    write_log(folder, "sop_num", ["4072268.0", "5072268.0", "4072268.0", "5072268.0"])
    write_log(folder, "abs_spike", [1000.0, 400.0, 1200.0, 400.0])
    write_log(folder, "sum_spike", [800.0, 200.0, 1000.0, 200.0])
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of the recipe, with what a report adds to it; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    quick = ["--set", "train.epochs=3", "--set", "network.notation=8C3-P2-32", "--limit", "60"]
    assert run(["run", "digits", "--out", str(folder), *quick]) == 0
    assert run(["report", str(folder), "--limit", "60", "--image", "2", "-o", str(folder.parent / "report.html")]) == 0
    return folder
