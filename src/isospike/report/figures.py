"""Figures of one run, or of several over one another, as SVG and PNG."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from isospike.errors import FileError
from isospike.files import write_bytes
from isospike.report.charts import Chart, LayerChart, compose_charts
from isospike.report.layer_plots import plot_layers
from isospike.report.row_plots import plot_rows
from isospike.report.run_record import RunRecord
from isospike.report.step_plots import plot_steps
from isospike.report.style import DOTS_PER_INCH, LARGE, house_style


def draw_figures(records: Sequence[RunRecord], folder: Path) -> list[Path]:
    """Draw ``accuracy``, ``sparsity``, ``sops`` and ``settling`` as SVG and PNG, as far as the runs have the data.

    Nothing is written before everything is drawn; the same runs give the same bytes.

    Args:
        records: the runs, laid over one another in this order and labelled by recipe or folder.
        folder: where the figures go; made if need be.

    Returns:
        The files written.

    Raises:
        FileError: nothing can be drawn, or a file cannot be written.
    """
    drawn = {
        folder / name: content
        for chart in compose_charts(records)
        for name, content in render_figure(chart.name, chart.title, partial(_plot, chart)).items()
    }
    if not drawn:
        names = ", ".join(str(record.folder) for record in records) or "no run given"
        raise FileError(
            f"{names}: nothing to draw: no accuracy, spikes, SOPs or settled images over time steps; "
            "run 'isospike simulate --out DIR' first"
        )
    for path, content in drawn.items():
        write_bytes(path, content)
    return list(drawn)


def render_figure(name: str, title: str, plot: Callable[[], Figure]) -> dict[str, bytes]:
    """``NAME.svg`` and ``NAME.png`` in the house style."""
    with house_style(name):
        figure = plot()
        return {
            f"{name}.svg": _save(figure, "svg", {"Date": None, "Creator": "isospike", "Title": title}),
            f"{name}.png": _save(figure, "png", {"Software": "isospike", "Title": title}),
        }


def _plot(chart: Chart) -> Figure:
    if isinstance(chart, LayerChart):
        return plot_layers(chart)
    return plot_rows(chart) if chart.steps == 1 else plot_steps(chart)


def _save(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    stream = io.BytesIO()
    width, height = figure.get_size_inches()
    dots = DOTS_PER_INCH if width * height <= LARGE else DOTS_PER_INCH // 2
    figure.savefig(stream, format=kind, dpi=dots, metadata=metadata)
    return stream.getvalue()
