"""Drawings: places on the page worked out by hand."""

from xml.etree import ElementTree

import pytest

from isospike.report.bars import draw_histogram
from isospike.report.curves import Curve, CurveChart, draw_curves
from isospike.report.vector import Scale, choose_steps, choose_ticks, tag

SVG = "{http://www.w3.org/2000/svg}"


def test_what_is_drawn_is_escaped() -> None:
    found = tag("text", "<b>&", title='"x"', x=1.0, gone=None, stroke_width=2)
    assert str(found) == '<text title="&#34;x&#34;" x="1" stroke-width="2">&lt;b&gt;&amp;</text>'


def test_scales() -> None:
    line = Scale(0, 100, 200, 0)
    assert (line(0), line(50), line(100)) == (200, 100, 0)
    powers = Scale(1, 16, 0, 40, powers=True)
    assert [powers(value) for value in (1, 2, 4, 8, 16)] == [0, 10, 20, 30, 40]
    assert Scale(3, 3, 0, 10)(3) == 5


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (97.3, 99, [97.5, 98, 98.5, 99]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert choose_ticks(low, high) == ticks


def test_steps_begin_with_one() -> None:
    assert choose_steps(8) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert choose_steps(57) == [1, 10, 20, 30, 40, 50]
    assert choose_steps(100, powers=True) == [1, 2, 4, 8, 16, 32, 64]


def test_a_curve_goes_through_its_points() -> None:
    """460 x 270 with margins 58, 14, 22 (the axis' name) and 44: x from 58 to 446, y from 226 (0 %) to 22 (100 %)."""
    chart = CurveChart("test", "Test", "time step", "accuracy", (Curve(0, "a", (1, 2, 3), (0, 50, 100)),), percent=True)
    root = ElementTree.fromstring(str(draw_curves(chart)))
    (line,) = root.iter(f"{SVG}polyline")
    assert line.get("points") == "58.00,226.00 252.00,124.00 446.00,22.00"
    assert root.get("aria-label") == "Test, over time step. a: from 0.00 % at 1 to 100.00 % at 3."


def test_bars_are_as_high_as_their_shares() -> None:
    root = ElementTree.fromstring(str(draw_histogram([0.0, 0.25, 0.5], 0, "run", left=0.25)))
    heights = [float(bar.get("height") or 0) for bar in root.iter(f"{SVG}rect")]
    assert len(heights) == 3
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.01)
    assert heights[2] == heights[0]
    assert "25.00 % not by step 3" in (root.get("aria-label") or "")
