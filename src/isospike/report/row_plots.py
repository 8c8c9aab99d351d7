"""Plots of runs of a single time step, which have no curve: one row for each run and each level."""

from math import ceil, floor, log10
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from isospike.report.charts import Level, Line, StepChart, write_number
from isospike.report.style import COLUMN, GRID, choose_look

HATCHES = ("/////", "|||||")


def plot_rows(chart: StepChart) -> Figure:
    """One row for each run and level: dots where the range does not start at zero, else bars; values beside them."""
    rows = _order_rows(chart)
    labels = [_name_row(row) for row in rows]
    height = 0.09 + 0.12 * max(label.count("\n") + 1 for label in labels)
    figure = Figure(figsize=(COLUMN, 0.62 + height * len(rows)), layout="constrained")
    axes = figure.subplots()
    values = [row.values[0] if isinstance(row, Line) else row.value for row in rows]
    reach = [row.spread[0] if isinstance(row, Line) and row.spread else 0.0 for row in rows]
    for place, (row, value, half) in enumerate(zip(rows, values, reach, strict=True)):
        _draw_row(axes, chart, place, row, value, half)
    _set_row_range(axes, chart, values, max(reach))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(range(len(rows))))
    axes.set_yticklabels(labels)
    axes.spines["left"].set_visible(not chart.detail)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xlabel(f"{chart.measure}, after 1 time step", loc="right")
    return figure


def _order_rows(chart: StepChart) -> list[Line | Level]:
    """Each run, then its levels; shared levels at the end."""
    rows: list[Line | Level] = []
    for line in chart.lines:
        rows += [line, *(level for level in chart.levels if level.run == line.run)]
    return rows + [level for level in chart.levels if level.run is None]


def _draw_row(axes: Axes, chart: StepChart, place: int, row: Line | Level, value: float, half: float) -> None:
    look = choose_look(row.run)
    colour, marker = look.colour, look.marker
    face, hatch = (colour, "") if isinstance(row, Line) else ("white", HATCHES[row.rank])
    if chart.detail:
        axes.axhline(place, color=GRID, linewidth=0.5, zorder=1)
        if half:
            axes.errorbar(value, place, xerr=half, color=colour, capsize=2.5, linewidth=0.9)
        size = 8 if marker == "|" else 5
        axes.plot(
            [value], [place], marker, color=colour, markerfacecolor=face, markersize=size, markeredgewidth=1.2, zorder=3
        )
    else:
        axes.barh(place, value, height=0.6, facecolor=face, edgecolor=colour, hatch=hatch, linewidth=0.8)
    text = chart.write(value) + (f" ± {half:.2f}" if half else "")
    axes.annotate(
        text,
        (value + half, place),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=7,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _set_row_range(axes: Axes, chart: StepChart, values: list[float], half: float) -> None:
    """Room for the numbers on the right."""
    if chart.detail:
        span = max(max(values) - min(values) + 2 * half, 0.2)
        axes.set_xlim(min(values) - half - 0.25 * span, max(values) + half + 0.75 * span)
    else:
        axes.set_xlim(0, 1.3 * max(values) or 1)
    top = 100 if chart.percent else max(values) * 1.3
    axes.xaxis.set_major_locator(FixedLocator([t for t in _spread_ticks(*axes.get_xlim()) if t <= top + 1e-9]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if chart.percent else write_number(value))
    )


def _spread_ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about four of them."""
    rough = (high - low) / 4
    power = 10.0 ** floor(log10(rough))
    stride = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    return [round(number * stride, 10) for number in range(ceil(low / stride), floor(high / stride) + 1)]


def _name_row(row: Line | Level) -> str:
    if isinstance(row, Level) and row.run is not None:
        return row.label.replace("ANN", "its ANN")
    return fill(row.label, 26)
