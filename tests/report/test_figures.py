"""The figures: all there, with their words in them, and the same bytes for the same runs."""

import struct
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import matplotlib
import pytest

from isospike.errors import FileError
from isospike.report import RunRecord, draw_figures, read_run

from .conftest import MakeRun

NAMES = ("accuracy", "sparsity", "sops", "settling")


def read_words(path: Path) -> str:
    """The texts of an SVG: letters are paths, but the words stay as comments. Lines of a folded text are joined."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.fromstring(path.read_bytes(), parser)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return "\n".join((node.text or "").strip() for node in root.iter() if not isinstance(node.tag, str))


def count_paths(path: Path) -> int:
    return path.read_text().count("<path")


def read_size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_every_figure_is_drawn_with_its_words(make_run: MakeRun, tmp_path: Path) -> None:
    written = draw_figures([read_run(make_run("one"))], tmp_path / "figures")
    assert written == [tmp_path / "figures" / f"{name}.{kind}" for name in NAMES for kind in ("svg", "png")]
    assert sorted(written) == sorted((tmp_path / "figures").iterdir())
    words = {name: read_words(tmp_path / "figures" / f"{name}.svg") for name in NAMES}
    for text in ("Accuracy (%)", "Time step", "digits", "ANN 99.00 %", "full range", "detail"):
        assert text in words["accuracy"]
    for text in ("positive spikes", "negative spikes", "neurons", "conv1", "dense1", "after 4 time steps", "0.94"):
        assert text in words["sparsity"]
    assert "readout" not in words["sparsity"]
    for text in ("Operations per image", "Time step", "digits: SOPs", "ANN MACs 87.6 k", "3 × ANN MACs 263 k"):
        assert text in words["sops"]
    for text in ("Images settled (%)", "Time step", "digits: all 360 by step 4"):
        assert text in words["settling"]
    for path in written:
        if path.suffix == ".svg":
            assert count_paths(path) > 30
        else:
            width, height = read_size(path)
            assert width in (1050, 2100)
            assert height > 300
            assert 10_000 < path.stat().st_size < 300_000


def test_the_same_runs_give_the_same_bytes_whatever_the_user_set(make_run: MakeRun, tmp_path: Path) -> None:
    records = [read_run(make_run("one"))]
    first = draw_figures(records, tmp_path / "first")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "none"}):
        before = dict(matplotlib.rcParams)
        second = draw_figures(records, tmp_path / "second")
        assert dict(matplotlib.rcParams) == before
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"<dc:date>" not in first[0].read_bytes()


def test_pyplot_is_left_alone() -> None:
    code = "import sys, isospike.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_runs_are_laid_over_one_another(make_run: MakeRun, paper_logs: Path, tmp_path: Path) -> None:
    records = [
        read_run(make_run("a", "first")),
        read_run(make_run("b", "second", steps=2, ann={"accuracy": 0.95, "macs_per_image": 10**6})),
        read_run(paper_logs, batch_size=100),
    ]
    draw_figures(records, tmp_path / "figures")
    words = {name: read_words(tmp_path / "figures" / f"{name}.svg") for name in NAMES}
    for text in ("first, ANN 99.00 %", "second, ANN 95.00 %", "paper", "ANN (ends in the run's marker)"):
        assert text in words["accuracy"]
    for text in ("first, 4 time steps", "second, 2 time steps", "paper, 2 time steps", "hidden layers"):
        assert text in words["sparsity"]
    for text in ("first: SOPs, ANN MACs 87.6 k", "second: SOPs, ANN MACs 1 M", "paper: SOPs"):
        assert text in words["sops"]
    for text in ("first: all 360 by step 4", "second: all 360 by step 2"):
        assert text in words["settling"]
    assert "paper" not in words["settling"]


def test_runs_of_one_step_become_rows(make_run: MakeRun, tmp_path: Path) -> None:
    draw_figures([read_run(make_run("one", "one-step", steps=1))], tmp_path / "figures")
    words = {name: read_words(tmp_path / "figures" / f"{name}.svg") for name in NAMES}
    for text in ("one-step", "ANN", "99.00 %", "Accuracy (%), after 1 time step"):
        assert text in words["accuracy"]
    for text in ("one-step: SOPs", "ANN MACs", "3 × ANN MACs", "50 k", "87.6 k", "263 k"):
        assert text in words["sops"]
    assert "100.00 %" in words["settling"]
    assert "after 1 time step" in words["sparsity"]


def test_two_runs_of_one_step_name_their_own_anns(make_run: MakeRun, tmp_path: Path) -> None:
    snn = {"accuracy": [0.94], "accuracy_spread": [0.004]}
    records = [
        read_run(make_run("a", "first", steps=1)),
        read_run(make_run("b", "second", steps=1, ann={"accuracy": 0.95}, snn=snn, layers=None)),
    ]
    draw_figures(records, tmp_path / "figures")
    words = read_words(tmp_path / "figures" / "accuracy.svg")
    for text in ("first", "second", "its ANN", "95.00 %", "94.00 % ± 0.40"):
        assert text in words


def test_a_band_shows_the_noise_seeds(make_run: MakeRun, tmp_path: Path) -> None:
    snn = {"accuracy": [0.5, 0.9], "accuracy_spread": [0.02, 0.01]}
    run = make_run("a", snn=snn, noise={"seeds": [0, 1, 2]}, layers=None)
    draw_figures([read_run(run)], tmp_path / "figures")
    assert "band: ± standard deviation of 3 noise seeds" in read_words(tmp_path / "figures" / "accuracy.svg")


def test_logs_alone_give_what_they_can(paper_logs: Path, tmp_path: Path) -> None:
    draw_figures([read_run(paper_logs, batch_size=100)], tmp_path / "figures")
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"accuracy", "sparsity", "sops"}
    assert "neurons" not in read_words(tmp_path / "figures" / "sparsity.svg").splitlines()
    (paper_logs / "accuracy.txt").unlink()
    (paper_logs / "spike_collect.txt").unlink()
    (paper_logs / "sum_spike.txt").unlink()
    draw_figures([read_run(paper_logs, batch_size=100)], tmp_path / "fewer")
    assert {path.stem for path in (tmp_path / "fewer").iterdir()} == {"sops"}


@pytest.mark.parametrize("name", ["_hidden", "$x_1^{", "--set <a> & b--", "a" * 200, "a-long-name-" * 8])
@pytest.mark.parametrize("steps", [1, 3])
def test_any_name_can_be_drawn(make_run: MakeRun, tmp_path: Path, name: str, steps: int) -> None:
    records = [read_run(make_run("a", name, steps)), read_run(make_run("b", "other", steps, ann={"accuracy": 0.5}))]
    draw_figures(records, tmp_path / "figures")
    words = read_words(tmp_path / "figures" / "accuracy.svg").replace("\n", "")
    assert escape(name[:10]).replace("--", "- -") in words  # a comment may not hold two dashes


@pytest.mark.parametrize("steps", [1, 2, 17, 100, 600])
def test_silent_and_long_runs_can_be_drawn(make_run: MakeRun, tmp_path: Path, steps: int) -> None:
    zeros = [0.0] * steps
    silent = {"accuracy": zeros, "sops_per_image": zeros, "settled": zeros}
    layers = [{"name": "conv1", "neurons": 5, "positive": zeros, "negative": zeros}]
    run = make_run("a", steps=steps, snn=silent, layers=layers, ann=None)
    assert len(draw_figures([read_run(run)], tmp_path / "alone")) == 8
    assert len(draw_figures([read_run(run), read_run(make_run("b", steps=1))], tmp_path / "beside")) == 8


def test_nothing_to_draw_is_an_error(make_run: MakeRun, tmp_path: Path) -> None:
    record = read_run(make_run("one", snn=None, layers=None))
    with pytest.raises(FileError, match=r"one: nothing to draw: .* run 'isospike simulate --out DIR' first"):
        draw_figures([record], tmp_path / "figures")
    with pytest.raises(FileError, match="no run given: nothing to draw"):
        draw_figures([], tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_a_folder_that_cannot_be_made_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(FileError, match=r"taken.*cannot be written"):
        draw_figures([read_run(make_run("one"))], tmp_path / "taken")


def test_records_without_steps_do_not_disturb_others(make_run: MakeRun, tmp_path: Path) -> None:
    empty = RunRecord(tmp_path, "empty", 0)
    assert len(draw_figures([empty, read_run(make_run("one"))], tmp_path / "figures")) == 8
