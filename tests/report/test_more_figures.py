"""Figures of several runs: each curve at its own severities, each run in the legend."""

import copy
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from isospike.report.more_figures import _plot_robustness
from isospike.report.run_contents import read_contents

from .conftest import MakeRun
from .pages import ROBUSTNESS, write_file


def change_fault(name: str, cells: list[tuple[float, float]]) -> dict[str, Any]:
    """A record of one fault, with these severities and accuracies."""
    content = copy.deepcopy(ROBUSTNESS)
    (fault,) = [fault for fault in content["faults"] if fault["name"] == name]
    fault["cells"] = [
        {"severity": severity, "seeds": [0], "mean": mean, "low": None, "high": None} for severity, mean in cells
    ]
    content["faults"] = [fault]
    return content


def plot(*folders: Path) -> Figure:
    return _plot_robustness(read_contents(folders))


def read_panel(figure: Figure, place: int) -> tuple[list[str], dict[str, list[tuple[float, float]]]]:
    """The tick labels of a panel, and its curves by colour."""
    panel = figure.axes[place]
    curves = {str(line.get_color()): list(zip(*line.get_data(), strict=True)) for line in panel.get_lines()}
    return [text.get_text() for text in panel.get_xticklabels()], curves


def test_each_curve_stands_at_its_own_severities(make_run: MakeRun) -> None:
    mild, harsh = make_run("mild"), make_run("harsh")
    write_file(mild, "robustness.json", change_fault("drop", [(0.001, 0.98), (0.1, 0.97)]))
    write_file(harsh, "robustness.json", change_fault("drop", [(0.1, 0.8), (0.5, 0.2)]))
    ticks, curves = read_panel(plot(mild, harsh), 0)
    assert ticks == ["none", "0.001", "0.1", "0.5"]
    first, second = curves.values()
    assert [place for place, _ in first] == [0, 1, 2] and [place for place, _ in second] == [0, 2, 3]
    assert [value for _, value in first] == pytest.approx([98.75, 98, 97])
    assert [value for _, value in second] == pytest.approx([98.75, 80, 20])


def test_a_run_without_the_first_fault_is_named_all_the_same(make_run: MakeRun) -> None:
    one, other = make_run("one"), make_run("other")
    write_file(one, "robustness.json", change_fault("drop", [(0.1, 0.8)]))
    write_file(other, "robustness.json", change_fault("saturation", [(16, 0.9), (8, 0.1)]))
    figure = plot(one, other)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["digits (one)", "digits (other)"]
    assert read_panel(figure, 1)[0] == ["none", "16", "8"]
