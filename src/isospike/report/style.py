"""The house style of figures: made for a paper's column, and readable when printed in grey.

Runs differ in colour, in luminance, in dash and in marker at once. Letters become paths in SVG, so that a figure looks
the same without the font; the words stay in it as comments. The same data give the same bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib

COLUMN, PAGE = 3.5, 7.0
"""Widths of a column and of a page of two columns, in inches."""

INK, GUIDE, GRID = "#222222", "#8c8c8c", "#dedede"
DOTS_PER_INCH = 300
LARGE = 30.0
"""Square inches above which a PNG has half as many dots per inch."""

# From dark to light: CIE lightness 19, 44, 54, 67, 37.
COLOURS = ("#14304f", "#b8432f", "#3d8f8a", "#d99a2b", "#6a4c93")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.4, 1.4, 1.4)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelsize": 7.5,
    "axes.labelcolor": INK,
    "axes.labelpad": 4,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "xtick.major.size": 3,
    "xtick.minor.size": 1.5,
    "xtick.minor.width": 0.5,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0.5,
    "legend.handlelength": 2.6,
    "legend.handletextpad": 0.6,
    "legend.columnspacing": 1.6,
    "legend.labelspacing": 0.35,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.6,
    "lines.markeredgewidth": 0.8,
    "hatch.linewidth": 0.6,
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.w_pad": 0.04,
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Look:
    """How one run is drawn in every figure."""

    colour: str
    dash: Any
    marker: str


def choose_look(run: int | None) -> Look:
    """The look of the run with this index, of which the first 140 differ; plain ink for what all runs share."""
    if run is None:
        return Look(INK, "-", "|")
    return Look(COLOURS[run % len(COLOURS)], DASHES[run % len(DASHES)], MARKERS[run % len(MARKERS)])


@contextmanager
def house_style(salt: str) -> Iterator[None]:
    """Draw and save in the house style, whatever the user's own settings; they come back afterwards.

    Args:
        salt: makes the identifiers in an SVG the same in every run, and different between figures on one page.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        matplotlib.rcParams["svg.hashsalt"] = f"isospike {salt}"
        yield
