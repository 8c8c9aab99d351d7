"""``isospike inspect``: a table for people, lines for pipes, JSON for scripts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from isospike import describe, load_graph
from isospike.cli.program import run


def test_lines_with_tabs_where_no_terminal_listens(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(trained)]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    graph = load_graph(trained / "snn.safetensors")
    assert [line[0] for line in lines] == ["name", *(node.name for node in graph), "total"]
    assert {len(line) for line in lines} == {14}
    assert lines[-1][1] == "counting"
    assert lines[-1][3] == str(describe(graph).neurons)


def test_json_of_a_file_is_what_describe_gives(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(trained / "snn.safetensors"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(describe(load_graph(trained / "snn.safetensors")).as_dict()))


def test_the_trained_network_of_a_run(trained: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(trained), "--ann", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "captured"
    (folder / "snn.safetensors").unlink()
    assert run(["inspect", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_a_table_on_a_terminal(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run(["inspect", str(trained)]) == 0
    shown = capsys.readouterr().out
    assert "counting in integers, at most 64 steps" in shown
    assert "conv1.neuron" in shown
    assert "┃" in shown


def test_a_network_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), "
    (tmp_path / "net.py").write_text(text + "nn.Linear(72, 10))\n")
    assert run(["inspect", "--model", f"{tmp_path / 'net.py'}:build", "--in-shape", "1,8,8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["weights"], found["neurons"]) == ("captured", 18 + 720, 72)


def test_what_cannot_be_inspected(fail: Callable[..., str], trained: Path, tmp_path: Path) -> None:
    assert "--model" in fail("inspect")
    assert "--in-shape" in fail("inspect", "--model", "net.py:build")
    assert "no such file" in fail("inspect", tmp_path / "nowhere")
    assert "snn.safetensors" in fail("inspect", trained / "model.safetensors")
    assert "recipe.toml" in fail("inspect", tmp_path)
