"""What comes with the package is whole, and can be listed, found and loaded without PyTorch."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from isospike import zoo
from isospike.cli.program import run
from isospike.data import SOURCES
from isospike.errors import FileError
from isospike.experiment import list_recipes, read_recipe
from isospike.zoo import catalogue

NAMES = zoo.names()
PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
VERIFIED = Path(__file__).parents[2] / "results" / "zoo" / "metrics.json"


def test_there_is_something() -> None:
    assert NAMES
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_whole_and_proved(name: str) -> None:
    entry = zoo.find(name)
    recipe, metrics, graph = read_recipe(entry.recipe_path), entry.metrics, zoo.load(name)
    assert recipe.name in list_recipes()
    assert recipe.data.held_out == 0
    assert graph.input.shape == recipe.in_shape
    assert graph.t_max == recipe.convert.t_max
    assert metrics["verify"]["images"] == metrics["snn"]["images"] == 10_000
    assert (metrics["verify"]["mismatches"], metrics["verify"]["unsettled"]) == (0, 0)
    assert metrics["verify"]["differing_tensors"] == []
    assert len(metrics["snn"]["accuracy"]) == recipe.simulate.steps == metrics["zoo"]["answers"]["steps"]
    assert len(metrics["zoo"]["answers"]["sha256"]) == 10
    assert 1 <= metrics["zoo"]["step"] <= recipe.simulate.steps
    assert metrics["zoo"]["bytes"] == entry.graph_path.stat().st_size < 8_000_000


@pytest.mark.parametrize("name", NAMES)
def test_it_was_verified_as_it_is(name: str) -> None:
    """``python benchmarks/zoo.py verify`` has been run since the network was added."""
    found = json.loads(VERIFIED.read_text())["networks"][name]
    assert (found["equal"], found["unsettled"], found["images"]) == (True, 0, 10_000)
    assert not found["mismatches"]
    assert found["sha256"] == zoo.find(name).metrics["zoo"]["sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_its_row(name: str) -> None:
    entry = zoo.find(name)
    row = entry.describe()
    assert row["snn_accuracy"] == entry.metrics["snn"]["accuracy"][row["step"] - 1]
    assert row["data"] in SOURCES
    assert row["licence"].startswith("MIT; trained on ")
    assert Path(row["path"]).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_what_is_there(name: str) -> None:
    entry, row = zoo.find(name), zoo.find(name).describe()
    ann, settled_by = entry.metrics["ann"]["accuracy"], entry.metrics["verify"]["settled_by"]
    said = [
        f"`{name}`",
        entry.metrics["method"],
        f"{100 * ann:.2f}",
        f"{100 * row['snn_accuracy']:.2f} at T={row['step']}",
        f"T={settled_by}",
        f"{row['bytes']:,}",
    ]
    assert f"| {' | '.join(said)} |" in PAGE.read_text().splitlines()


def test_the_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["zoo", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == NAMES
    assert run(["zoo", "list"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["name", *NAMES]
    assert {len(line) for line in lines} == {9}
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run(["zoo", "list"]) == 0
    assert "┃" in capsys.readouterr().out


def test_the_path_stands_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "path", NAMES[0]]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1
    assert Path(shown[0]).is_absolute()
    assert Path(shown[0]).name == "snn.safetensors"


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("path", "run"):
        assert run(["zoo", command, NAMES[0][:-1]]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert len(shown.err.splitlines()) == 1
        assert f"did you mean {NAMES[0]}" in shown.err
    with pytest.raises(FileError, match=r"there are .*zoo list"):
        zoo.load("???")


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "snn.safetensors").write_bytes(b"other")
    with pytest.raises(FileError, match=r"metrics\.json: cannot be read"):
        zoo.load("net")
    (tmp_path / "net" / "metrics.json").write_text("{}")
    with pytest.raises(FileError, match="section 'zoo' is missing"):
        zoo.load("net")
    (tmp_path / "net" / "metrics.json").write_text(json.dumps({"zoo": {"sha256": sha256(b"whole").hexdigest()}}))
    with pytest.raises(FileError, match="expected the file of SHA-256"):
        zoo.load("net")


def test_loading_takes_no_torch() -> None:
    code = f"import sys, isospike.zoo as z; z.load({NAMES[0]!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
