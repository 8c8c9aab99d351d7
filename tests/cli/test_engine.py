"""--engine: what simulates, with the same numbers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from isospike import engine
from isospike.cli.program import run


@pytest.mark.parametrize(
    "name",
    [
        "torch",
        pytest.param("cpp", marks=pytest.mark.skipif(not engine.is_available(), reason="the engine was not compiled")),
    ],
)
def test_the_same_metrics_whatever_runs(folder: Path, name: str) -> None:
    before = json.loads((folder / "metrics.json").read_text())
    for stage in ("simulate", "verify"):
        assert run([stage, "--out", str(folder), "--limit", "60", "--engine", name]) == 0
    after = json.loads((folder / "metrics.json").read_text())
    for section in ("snn", "verify", "layers"):
        assert after[section] == before[section]
    assert f'engine = "{name}"' in (folder / "recipe.toml").read_text()


def test_an_unknown_engine_is_refused(folder: Path, fail: Callable[..., str]) -> None:
    for stage in ("simulate", "verify"):
        assert "simulate.engine" in fail(stage, "--out", folder, "--engine", "gpu")


def test_what_the_engine_cannot_run_is_refused(folder: Path, fail: Callable[..., str]) -> None:
    line = fail("simulate", "--out", folder, "--engine", "cpp", "--set", "simulate.propagation=layer-per-step")
    assert "engine" in line
