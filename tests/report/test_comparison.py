"""Methods compared: what the page's table says, and the figures as files."""

import copy
from pathlib import Path
from typing import Any

import pytest

from isospike.errors import FileError
from isospike.report import draw_comparison, parse_comparison, write_report
from isospike.report.comparison_charts import chart_comparison

from .conftest import MakeRun
from .pages import COMPARISON, Page, write_file

COSTS = {
    "positive_per_neuron": [0.5, 0.75],
    "negative_per_neuron": [0.0, 0.125],
    "energy": {"float32": [1000.0, 2500.0], "int32": [1.0, 2.0], "int8": [1.0, 2.0]},
    "equal_from": 2,
    "membrane_bits": 16,
    "parameter_bits": 1000,
    "state_bits": 234,
    "seconds": 1.5,
}


def make_content() -> dict[str, Any]:
    content: dict[str, Any] = copy.deepcopy(COMPARISON)
    content["energy"] = {"float32": 4600.0}
    content["trials"][0].update(COSTS)
    content["trials"][1].update({**COSTS, "equal_from": None, "membrane_bits": None})
    return content


def test_costs_are_columns_of_the_page(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("one")
    write_file(folder, "comparison/comparison.json", make_content())
    page = Page(write_report([folder], tmp_path / "report.html", "isospike report DIR").read_text())
    text = page.read_section("methods")
    for words in ("0.750", "0.125", "2.5 nJ", "T=2", "1,234", "4.6 nJ in float32", "float", "refused: it has ReLUs"):
        assert words in text
    assert "accuracy over total latency" in text and "accuracy over synaptic operations" in text


def test_energy_by_constants_of_ones_own_is_a_column(make_run: MakeRun, tmp_path: Path) -> None:
    folder, content = make_run("one"), make_content()
    content["energy"]["mine"] = 7700.0
    content["trials"][0]["energy"] = {**COSTS["energy"], "mine": [1.0, 3300.0]}
    write_file(folder, "comparison/comparison.json", content)
    page = Page(write_report([folder], tmp_path / "report.html", "isospike report DIR").read_text())
    text = page.read_section("methods")
    for words in ("energy (mine)", "3.3 nJ", "7.7 nJ by mine"):
        assert words in text


def test_total_latency_counts_tau(tmp_path: Path) -> None:
    write_file(tmp_path, "comparison.json", make_content())
    (over_time, _), (over_work, _) = chart_comparison(parse_comparison(tmp_path / "comparison.json"))
    assert [curve.xs for curve in over_time.curves] == [(1.0, 2.0), (5.0, 6.0)]
    assert [curve.ys for curve in over_time.curves] == [(50.0, 96.875), (25.0, 75.0)]
    assert [curve.xs for curve in over_work.curves] == [(1e-4, 1.2e-4), (2e-4, 4e-4)]


def test_figures_are_files_and_the_same_twice(tmp_path: Path) -> None:
    write_file(tmp_path, "comparison.json", make_content())
    found = parse_comparison(tmp_path / "comparison.json")
    written = draw_comparison(found, tmp_path / "a")
    assert [path.name for path in written] == [
        f"accuracy-over-{what}.{kind}" for what in ("latency", "sops") for kind in ("svg", "png")
    ]
    for one, other in zip(written, draw_comparison(found, tmp_path / "b"), strict=True):
        assert one.read_bytes() == other.read_bytes()
    words = written[0].read_text()
    for label in ("counting", "srp:tau=4", "ANN 96.88 %"):
        assert f"<!--  {label} -->" in words or f"<!-- {label} -->" in words
    assert "qcfs" not in words  # it was refused


def test_costs_of_another_length_are_an_error(tmp_path: Path) -> None:
    content = make_content()
    content["trials"][0]["positive_per_neuron"] = [0.5]
    write_file(tmp_path, "comparison.json", content)
    with pytest.raises(FileError, match="counting: expected one entry for each of 2 steps"):
        parse_comparison(tmp_path / "comparison.json")
