"""Spikes beside neurons, layer by layer: points on a logarithmic scale, where bars would have no foot to stand on."""

from math import floor, log10
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from isospike.report.charts import LayerChart, LayerPanel, shorten, write_number
from isospike.report.style import COLOURS, COLUMN, GRID, INK

ROW = 0.19
SIGNS = (("positive spikes", "^", COLOURS[0], COLOURS[0]), ("negative spikes", "v", COLOURS[1], "white"))
NEURONS: dict[str, Any] = {"marker": "|", "markersize": 8.0, "markeredgewidth": 1.6, "color": INK, "linestyle": "none"}


def plot_layers(chart: LayerChart) -> Figure:
    """One panel for each run, one row for each layer, after the last step."""
    rows = [len(panel.layers) for panel in chart.panels]
    several = len(chart.panels) > 1
    titles = [fill(f"{panel.label}, {_tell_steps(panel.steps)}", 44) if several else "" for panel in chart.panels]
    heights = [
        ROW * count + (0.32 + 0.12 * title.count("\n") if several else 0.2)
        for count, title in zip(rows, titles, strict=True)
    ]
    figure = Figure(figsize=(COLUMN, sum(heights) + 0.8), layout="constrained")
    grid = figure.subplots(len(rows), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights})
    axes = [row[0] for row in grid]
    for panel, place, title in zip(chart.panels, axes, titles, strict=True):
        _draw_panel(place, panel)
        place.set_title(title)
    headed = next(
        (number for number, panel in enumerate(chart.panels) if any(one.neurons for one in panel.layers)), None
    )
    if headed is not None:
        place = axes[headed]
        place.text(1.03, -0.85, "spikes/\nneuron", transform=place.get_yaxis_transform(), va="bottom", fontsize=6.5)
    _set_numbers(axes[-1], chart)
    steps = "" if several else f", after {_tell_steps(chart.panels[0].steps)}"
    axes[-1].set_xlabel(f"Mean number per image{steps}")
    figure.legend(handles=_make_handles(headed is not None), loc="outside upper left", ncols=3)
    return figure


def _draw_panel(axes: Axes, panel: LayerPanel) -> None:
    for place, layer in enumerate(panel.layers):
        axes.axhline(place, color=GRID, linewidth=0.5, zorder=0.5)
        if layer.neurons is not None:
            axes.plot([layer.neurons], [place], zorder=2, **NEURONS)
            spikes = layer.positive[-1] + layer.negative[-1]
            axes.text(1.03, place, f"{spikes / layer.neurons:.2f}", transform=axes.get_yaxis_transform(), va="center")
        for (_, marker, colour, face), values, shift in zip(
            SIGNS, (layer.positive, layer.negative), (-0.1, 0.1), strict=True
        ):
            axes.plot(
                [values[-1]], [place + shift], marker, color=colour, markerfacecolor=face, markersize=4.6, zorder=3
            )
    axes.set_ylim(len(panel.layers) - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(range(len(panel.layers))))
    axes.set_yticklabels([shorten(layer.name, 20) for layer in panel.layers])
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)


def _make_handles(neurons: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=colour, markerfacecolor=face, markersize=4.6, label=label)
        for label, marker, colour, face in SIGNS
    ]
    if neurons:
        handles.append(Line2D([], [], label="neurons", **NEURONS))
    return handles


def _set_numbers(axes: Axes, chart: LayerChart) -> None:
    """A logarithmic scale, with a place for zero if there is one."""
    values = [
        value
        for panel in chart.panels
        for layer in panel.layers
        for value in (layer.positive[-1], layer.negative[-1], layer.neurons or layer.positive[-1])
    ]
    seen = [value for value in values if value > 0] or [1.0]
    lowest = min(max(floor(log10(min(seen))), -2), 2)
    highest = max(floor(log10(1.6 * max(seen))), lowest + 1)
    ticks = [10.0**power for power in range(lowest, highest + 1)]
    if min(values) < ticks[0]:
        axes.set_xscale("symlog", linthresh=ticks[0], linscale=0.5)
        axes.set_xlim(-0.15 * ticks[0], max(seen) * 1.6)
        ticks = [0.0, *ticks]
    else:
        axes.set_xscale("log")
        axes.set_xlim(ticks[0] * 0.8, max(seen) * 1.6)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write_number(value)))


def _tell_steps(steps: int) -> str:
    return "1 time step" if steps == 1 else f"{steps} time steps"
