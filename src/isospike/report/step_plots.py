"""Plots over time steps."""

from math import ceil, floor, log10
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from isospike.report.charts import StepChart, write_number
from isospike.report.style import COLUMN, GUIDE, INK, PAGE, choose_look

LEVEL_DASHES = ((0, (4, 2)), (0, (1, 1.6)))
MARKED_POINTS = 12
LOG_RATIO = 20
LETTER, HANDLE = 0.057, 0.45
"""Widths in a legend, in inches."""


def plot_steps(chart: StepChart) -> Figure:
    """Lines over time steps; beside them the end magnified, where the whole range hides it."""
    window = choose_window(chart)
    width = COLUMN if window is None else PAGE
    handles = _make_handles(chart, width)
    labels = [str(handle.get_label()) for handle in handles]
    columns = _count_columns(labels, width)
    height = 2.35 + 0.14 * ceil(len(handles) / columns) + 0.12 * sum(label.count("\n") for label in labels)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, 1 if window is None else 2, squeeze=False)[0]
    for panel in axes:
        _draw_lines(panel, chart)
        _set_steps(panel, [len(line.values) for line in chart.lines])
    axes[0].set_ylabel(chart.measure)
    _set_range(axes[0], chart)
    if window is not None:
        axes[0].set_title("full range")
        axes[1].set_title("detail")
        axes[1].set_ylim(window)
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)
    return figure


def _draw_lines(axes: Axes, chart: StepChart) -> None:
    last = chart.steps
    for level in chart.levels:
        look = choose_look(level.run)
        axes.plot([1, last], [level.value] * 2, color=look.colour, linestyle=LEVEL_DASHES[level.rank], linewidth=0.9)
        if level.run is not None:
            axes.plot([last], [level.value], look.marker, color=look.colour, markerfacecolor="white", markersize=4.6)
    for line in chart.lines:
        look = choose_look(line.run)
        steps = range(1, len(line.values) + 1)
        marked = np.linspace(0, len(line.values) - 1, min(len(line.values), MARKED_POINTS)).round().astype(int).tolist()
        if line.spread is not None:
            low = [value - half for value, half in zip(line.values, line.spread, strict=True)]
            high = [value + half for value, half in zip(line.values, line.spread, strict=True)]
            axes.fill_between(steps, low, high, color=look.colour, alpha=0.2, linewidth=0)
            if len(line.values) == 1:
                axes.errorbar(1, line.values[0], line.spread[0], color=look.colour, capsize=2, linewidth=0.8)
        axes.plot(
            steps,
            line.values,
            color=look.colour,
            linestyle=look.dash,
            marker=look.marker,
            markevery=marked,
            zorder=3,
            clip_on=chart.detail or not chart.percent,
        )


def _make_handles(chart: StepChart, width: float) -> list[Line2D]:
    """The legend: runs, then levels, then the note."""
    handles = []
    for line in chart.lines:
        look = choose_look(line.run)
        own = [
            f"{level.label} {chart.write(level.value)}"
            for level in chart.levels
            if level.run == line.run and level.rank == 0
        ]
        label = _show(", ".join([line.label, *own]), width)
        handles.append(Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, label=label))
    for rank in sorted({level.rank for level in chart.levels}):
        levels = [level for level in chart.levels if level.rank == rank]
        shared = levels[0].run is None
        label = (
            f"{levels[0].label} {chart.write(levels[0].value)}"
            if shared
            else f"{levels[0].label} (ends in the run's marker)"
        )
        marker = "" if shared else "o"
        handle = Line2D([], [], color=INK, linestyle=LEVEL_DASHES[rank], linewidth=0.9, marker=marker, label=label)
        handle.set_markerfacecolor("white")
        handles.append(handle)
    if chart.note:
        handles.append(Line2D([], [], color=GUIDE, alpha=0.4, linewidth=5, solid_capstyle="butt", label=chart.note))
    return handles


def _show(label: str, width: float) -> str:
    """Folded to the width of the figure; a leading underscore would hide the entry."""
    return fill(f" {label}" if label.startswith("_") else label, floor((width - HANDLE) / LETTER))


def _count_columns(labels: list[str], width: float) -> int:
    """How many legend columns fit a figure."""
    return max(1, min(len(labels), floor(width / (LETTER * max(map(len, labels)) + HANDLE))))


def choose_window(chart: StepChart) -> tuple[float, float] | None:
    """The range in which runs and ANNs end, if the whole range is too wide to tell them apart."""
    if not chart.detail or len(chart.lines) + len(chart.levels) == 1:
        return None
    ends = [level.value for level in chart.levels]
    for line in chart.lines:
        half = line.spread[-1] if line.spread else 0.0
        ends += [line.values[-1] - half, line.values[-1] + half]
    values = [value for line in chart.lines for value in line.values]
    bottom, top = min(ends), max([*ends, *(value for value in values if value >= min(ends))])
    margin = max(0.5, 0.4 * (top - bottom))
    low, high = bottom - margin, top + 0.3 * margin
    if chart.percent:
        high = min(high, 100 + 0.05 * (100 - low))
    return (low, high) if max(values) - min(values) > 3 * (high - low) else None


def _set_steps(axes: Axes, lengths: list[int]) -> None:
    """Time steps along x; logarithmic where short runs would vanish beside long ones."""
    last = max(lengths)
    axes.set_xlabel("Time step")
    if last >= 8 * min(lengths):
        axes.set_xscale("log", base=2)
        axes.set_xlim(0.93, last * 1.07)
        ticks = [2**power for power in range(floor(log10(last) / log10(2)) + 1)]
        if last > 1.4 * ticks[-1]:
            ticks.append(last)
    else:
        margin = max(0.04 * (last - 1), 0.08)
        axes.set_xlim(1 - margin, last + margin)
        stride = next(size for size in (1, 5, 10, 20, 50, 100, 200, 500, 10**6) if last / size <= 10 - 4 * (size > 1))
        ticks = sorted({1, *range(stride, last + 1, stride)})
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(FixedLocator(range(1, last + 1)) if last <= 32 else NullLocator())


def _set_range(axes: Axes, chart: StepChart) -> None:
    """Values along y: from zero, logarithmic for a wide range; a close look where the levels are what matters."""
    values = [value for line in chart.lines for value in line.values] + [level.value for level in chart.levels]
    if chart.percent:
        bottom = 0.0
        if chart.detail and min(values) > 50:
            bottom = max(0.0, min(values) - max(0.3, 0.15 * (max(values) - min(values))))
        top = min(100.0, max(values) + 0.15 * (max(values) - bottom)) if bottom > 0 else 100.0
        axes.set_ylim(bottom, top + 0.03 * (top - bottom))
        return
    ends = [line.values[-1] for line in chart.lines if line.values[-1] > 0]
    if ends and max(values) > LOG_RATIO * min(ends):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write_number(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(top=2 * max(values))
    else:
        axes.set_ylim(0, 1.08 * max(values) or 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write_number(value)))
