"""The report's figures as files: those of ``isospike figures``, and robustness, confusions and sample neurons."""

from collections.abc import Sequence
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isospike.files import write_bytes
from isospike.report.charts import compose_charts
from isospike.report.figures import draw_figures, render_figure
from isospike.report.neuron_drawings import write_place
from isospike.report.robustness_record import list_severities
from isospike.report.run_contents import RunContents, read_contents
from isospike.report.sample import LayerTrace, MembraneTrace
from isospike.report.style import COLOURS, COLUMN, GUIDE, INK, PAGE, choose_look

_NUMBERED = 12


def write_figures(
    folders: Sequence[Path], target: Path, *, batch_size: int | None = None, steps: int | None = None
) -> list[Path]:
    """Write every figure of the report as SVG and PNG, as far as the runs have the data.

    Args:
        folders: run folders.
        target: where the figures go; made if need be.
        batch_size: images in a batch, for logs that do not tell.
        steps: time steps, likewise.

    Returns:
        The files written.

    Raises:
        FileError: a damaged run folder, or a file that cannot be written.
    """
    runs = read_contents(folders, batch_size, steps)
    records = [run.record for run in runs if run.record.steps]
    written = draw_figures(records, target) if records and compose_charts(records) else []
    drawn: dict[str, bytes] = {}
    if any(run.robustness for run in runs):
        drawn |= render_figure("robustness", "Accuracy under faults", partial(_plot_robustness, runs))
    for run in runs:
        suffix = f"-{run.place + 1}" if len(runs) > 1 else ""
        if run.confusion is not None:
            matrix = run.confusion.last
            drawn |= render_figure(f"confusion{suffix}", f"Confusions of {run.label}", partial(_plot_confusion, matrix))
        for number, layer in enumerate(run.sample.layers if run.sample else (), start=1):
            title = f"Neurons of {layer.name} in {run.label}"
            drawn |= render_figure(f"sample{suffix}-layer{number}", title, partial(_plot_neurons, layer))
    for name, content in drawn.items():
        write_bytes(target / name, content)
    return [*written, *(target / name for name in drawn)]


def _plot_robustness(runs: Sequence[RunContents]) -> Figure:
    """One panel for each kind of fault."""
    known = [(run, run.robustness) for run in runs if run.robustness is not None]
    names = list(dict.fromkeys(fault.name for _, record in known for fault in record.faults if fault.cells))
    columns = min(3, max(1, len(names)))
    rows = max(1, ceil(len(names) / columns))
    figure = Figure(figsize=(PAGE, 1.9 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    curves = {}
    for name, panel in zip(names, panels, strict=False):
        found = [
            (run, record, fault)
            for run, record in known
            for fault in record.faults
            if fault.name == name and fault.cells
        ]
        severities = list_severities([fault for _, _, fault in found])
        for run, record, fault in found:
            look = choose_look(run.place)
            places = [0, *(severities.index(cell.severity) + 1 for cell in fault.cells)]
            means = [100 * record.baseline, *(100 * cell.mean for cell in fault.cells)]
            low = [means[0], *(100 * cell.interval[0] for cell in fault.cells)]
            high = [means[0], *(100 * cell.interval[1] for cell in fault.cells)]
            panel.fill_between(places, low, high, color=look.colour, alpha=0.2, linewidth=0)
            (curve,) = panel.plot(places, means, color=look.colour, linestyle=look.dash, marker=look.marker)
            curves[f"{run.label} (another graph)" if "robustness.json" in run.stale else run.label] = curve
        panel.set_xticks(range(len(severities) + 1), ["none", *(f"{severity:g}" for severity in severities)])
        panel.set_title(found[0][2].title)
        panel.set_ylim(0, 103)
    for panel in panels[::columns]:
        panel.set_ylabel("Accuracy (%)")
    if len(known) > 1 or any("robustness.json" in run.stale for run, _ in known):
        figure.legend(list(curves.values()), list(curves), loc="outside upper left", ncols=2)
    return figure


def _plot_confusion(matrix: np.ndarray) -> Figure:
    """True classes down, answers across; darker for a larger share of the class."""
    figure = Figure(figsize=(COLUMN, COLUMN), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    axes.set_xlabel("Answer")
    axes.set_ylabel("True class")
    if len(matrix) <= _NUMBERED:
        axes.set_xticks(range(len(matrix)))
        axes.set_yticks(range(len(matrix)))
        for (row, column), number in np.ndenumerate(matrix):
            if number:
                colour = "white" if shares[row, column] > 0.5 else INK
                axes.text(column, row, str(number), ha="center", va="center", fontsize=6, color=colour)
    return figure


def _plot_neurons(layer: LayerTrace) -> Figure:
    """The raster above, and below it the potentials of the traced neurons between their thresholds."""
    panels = len(layer.traces)
    figure = Figure(figsize=(COLUMN, 1.6 + 1.5 * panels), layout="constrained")
    axes = figure.subplots(1 + panels, 1, sharex=True, height_ratios=[1.2, *[1.0] * panels], squeeze=False)[:, 0]
    _draw_raster(axes[0], layer)
    for panel, trace in zip(axes[1:], layer.traces, strict=True):
        _draw_trace(panel, trace)
    axes[-1].set_xlabel("Time step")
    axes[-1].set_xlim(0.4, len(layer.spikes) + 0.6)
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _draw_raster(axes: Axes, layer: LayerTrace) -> None:
    for sign, marker, colour in ((1, "|", COLOURS[0]), (-1, "v", COLOURS[1])):
        points = [
            (step, row)
            for row, train in enumerate(layer.raster)
            for step, spikes in enumerate(train.spikes, start=1)
            if spikes * sign > 0
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=3.2)
    axes.set_title(f"{layer.name}: most active neurons")
    axes.set_yticks([])
    axes.invert_yaxis()


def _draw_trace(axes: Axes, trace: MembraneTrace) -> None:
    steps = np.arange(1, len(trace.membrane) + 1)
    for ends, colour, dash in ((trace.rise, COLOURS[0], "-"), (trace.fall, COLOURS[1], (0, (3, 1.5)))):
        known = [(step, end) for step, end in zip(steps, ends, strict=True) if end is not None]
        if known:
            places, values = zip(*known, strict=True)
            middle = np.array(places)
            axes.hlines(values, middle - 0.5, middle + 0.5, color=colour, linestyle=dash, linewidth=1)
    axes.plot(steps, trace.membrane, color=GUIDE, linewidth=0.8)
    change = np.diff(np.array(trace.count), prepend=0)
    kinds = ((change > 0, "^", COLOURS[0]), (change < 0, "v", COLOURS[1]), (change == 0, "o", INK))
    for chosen, marker, colour in kinds:
        if chosen.any():
            axes.plot(steps[chosen], np.array(trace.membrane)[chosen], marker, color=colour, markersize=3)
    axes.set_title(f"neuron {write_place(trace.neuron)}")
