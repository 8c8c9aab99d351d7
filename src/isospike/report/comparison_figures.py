"""The figures of a comparison as files: accuracy over total latency, and over synaptic operations."""

from functools import partial
from math import ceil, floor, log2
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from isospike.files import write_bytes
from isospike.report.comparison_charts import chart_comparison
from isospike.report.comparison_record import ComparisonRecord
from isospike.report.curves import CurveChart
from isospike.report.figures import render_figure
from isospike.report.step_plots import LEVEL_DASHES
from isospike.report.style import INK, PAGE, choose_look

_NAMES = {"methods": "accuracy-over-latency", "methods-work": "accuracy-over-sops"}


def draw_comparison(found: ComparisonRecord, folder: Path) -> list[Path]:
    """Draw ``accuracy-over-latency`` and ``accuracy-over-sops`` as SVG and PNG.

    Args:
        found: what ``comparison.json`` says.
        folder: where they go; made if need be.

    Returns:
        The files written.

    Raises:
        FileError: a file cannot be written.
    """
    drawn: dict[str, bytes] = {}
    for chart, _ in chart_comparison(found):
        title = chart.title[:1].upper() + chart.title[1:]
        drawn |= render_figure(_NAMES[chart.name], title, partial(_plot_curves, chart))
    for name, content in drawn.items():
        write_bytes(folder / name, content)
    return [folder / name for name in drawn]


def _plot_curves(chart: CurveChart) -> Figure:
    """One line for each method, both axes as the chart says; the first axis goes by powers."""
    columns = 3
    labels = [*(curve.label for curve in chart.curves), *(level.label for level in chart.levels)]
    figure = Figure(figsize=(PAGE, 2.9 + 0.14 * ceil(len(labels) / columns)), layout="constrained")
    axes = figure.subplots()
    handles = []
    for curve in chart.curves:
        look = choose_look(curve.look)
        style = {"color": look.colour, "linestyle": look.dash, "marker": look.marker}
        axes.plot(curve.xs, curve.ys, clip_on=False, zorder=3, **style)
        handles.append(Line2D([], [], label=f" {curve.label}", **style))
    for level in chart.levels:
        dash = LEVEL_DASHES[level.rank]
        axes.axhline(level.value, color=INK, linestyle=dash, linewidth=0.9)
        label = f"{level.label} {chart.write(level.value)}"
        handles.append(Line2D([], [], color=INK, linestyle=dash, linewidth=0.9, label=label))
    _set_places(axes, chart)
    axes.set_ylim(0, 103)
    axes.set_ylabel("Accuracy (%)")
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)
    return figure


def _set_places(axes: Axes, chart: CurveChart) -> None:
    """Steps and operations grow by factors, so both are logarithmic: to the base 2, and 10."""
    places = [x for curve in chart.curves for x in curve.xs if x > 0]
    axes.set_xlabel(chart.x_label[:1].upper() + chart.x_label[1:])
    if not places or min(places) == max(places):
        return
    if chart.whole:
        axes.set_xscale("log", base=2)
        powers = range(ceil(log2(min(places))), floor(log2(max(places))) + 1)
        axes.xaxis.set_major_locator(FixedLocator([2.0**power for power in powers]))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
