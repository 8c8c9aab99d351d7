"""Sections over time steps: accuracy with a slider, work, settling."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from isospike.report.bars import draw_histogram
from isospike.report.charts import StepChart, compose_charts
from isospike.report.cost_record import Latency, read_latency
from isospike.report.curves import CurveChart, compose_curves, draw_curves, draw_swatch
from isospike.report.pieces import (
    Figure,
    Gap,
    Section,
    Source,
    Table,
    Value,
    write_count,
    write_percent,
    write_points,
    write_share,
)
from isospike.report.run_contents import RunContents


@dataclass(frozen=True)
class Readout:
    """What the slider shows of each run.

    Attributes:
        steps: of the longest run.
        heads: of the columns.
        rows: the label of each run, and its cells after its last step.
        data: for the script: the same cells for every step, ready to show.
    """

    steps: int
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Value, ...]], ...]
    data: dict[str, Any]


def compose_readout(runs: Sequence[RunContents]) -> Readout | None:
    """Accuracy, distance to the ANN, settled images and work at every step; None where nothing was simulated."""
    shown = [run for run in runs if run.record.steps]
    if not shown:
        return None
    steps = max(run.record.steps for run in shown)
    heads = ("accuracy", "against the ANN", "settled", "spikes / image", "SOPs / image", "SOPs / MACs")
    cells = [[_read_out(run, step) for step in range(1, run.record.steps + 1)] for run in shown]
    rows = tuple((run.label, each[-1]) for run, each in zip(shown, cells, strict=True))
    data = {
        "steps": steps,
        "taus": [run.record.tau for run in shown],
        "runs": [[[[value.text, value.exact] for value in row] for row in each] for each in cells],
    }
    return Readout(steps, heads, rows, data)


def compose_accuracy(runs: Sequence[RunContents]) -> Section:
    """Accuracy over time."""
    chart = _find_chart(runs, "accuracy")
    figures = () if chart is None else _draw(runs, chart, "Lines: the SNN. Dashes: its quantised ANN.")
    gaps = [_lack(run, "simulate", "accuracy over time") for run in runs if not run.record.accuracy]
    return Section("accuracy", "Accuracy over time", figures=figures, gaps=tuple(gaps))


def compose_work(runs: Sequence[RunContents]) -> Section:
    """Synaptic operations over time, beside the ANN's."""
    chart = _find_chart(runs, "sops")
    caption = "Up to each step, mean of the test images, against the multiply-accumulates of the ANN's same layers."
    others = {run.record.counting for run in runs} - {"hidden"}
    if others:
        caption += f" Counted as in {' and '.join(f'the {name} paper' for name in sorted(others))} where a run says so."
    figures = () if chart is None else _draw(runs, chart, caption)
    gaps = [_lack(run, "simulate", "SOPs over time") for run in runs if not run.record.sops]
    return Section("work", "Work: synaptic operations", figures=figures, gaps=tuple(gaps))


def compose_settling(runs: Sequence[RunContents]) -> Section:
    """How many images settle in each step."""
    figures, gaps = [], []
    for run in runs:
        latency = read_latency(run)
        if latency is None:
            rated = isinstance(run.metrics.get("snn"), dict) and run.metrics["snn"].get("tau") is not None
            note = "rates certify nothing, so no image settles" if rated else ""
            gaps.append(_lack(run, "simulate", "settle times", note))
            continue
        shares, left, settled = latency.histogram, latency.left, tuple(accumulate(latency.histogram))
        rows = tuple(
            (Value(str(step), step), write_percent(share), write_percent(total))
            for step, (share, total) in enumerate(zip(shares, settled, strict=True), start=1)
        )
        table = Table(f"Settle times of {run.label}", ("step", "settle in it", "settled by it"), rows)
        drawing = draw_histogram(shares, run.place, run.label, left=left if left > 1e-9 else 0.0)
        source = find_source(run, run.numbers, latency.stage)
        figures.append(Figure(drawing, run.label, _tell_latency(latency, settled), (source,), table=table))
    intro = (
        "An image has settled when every neuron has the count that its membrane potential deserves; from then on the "
        "answer is the ANN's, and the network may stop."
    )
    return Section("settling", "Settle times", intro, figures=tuple(figures), gaps=tuple(gaps))


def find_source(run: RunContents, path: Path | None, command: str) -> Source:
    """A file of a run, and the command that writes it."""
    return Source(path or run.folder, f"isospike {command} --out {run.quoted}")


def draw_chart(chart: CurveChart, caption: str, sources: tuple[Source, ...], head: str) -> Figure:
    """A chart of lines with its legend and its numbers."""
    legend = [(draw_swatch(curve.look), curve.label) for curve in chart.curves]
    for rank in sorted({level.rank for level in chart.levels}):
        levels = [level for level in chart.levels if level.rank == rank]
        shared = len(levels) == 1 and levels[0].run is None
        words = f": {chart.write(levels[0].value)}" if shared else ", in its run's colour"
        label = f"{levels[0].label}{words}"
        legend.append((draw_swatch(None, rank), label))
    places = sorted({x for curve in chart.curves for x in curve.xs})
    found = [dict(zip(curve.xs, curve.ys, strict=True)) for curve in chart.curves]
    rows = tuple(
        (
            Value(chart.write_place(x)),
            *(Value(chart.write(each[x]), each[x]) if x in each else Value("–") for each in found),
        )
        for x in places
    )
    table = Table(chart.title, (head, *(curve.label for curve in chart.curves)), rows)
    return Figure(draw_curves(chart), chart.title, caption, sources, tuple(legend), table)


def _draw(runs: Sequence[RunContents], chart: StepChart, caption: str) -> tuple[Figure, ...]:
    drawn = {line.run for line in chart.lines}
    sources = tuple(find_source(run, run.numbers, "simulate") for run in runs if run.place in drawn)
    first, *rest = compose_curves(chart)
    note = f" {chart.note.capitalize()}." if chart.note else ""
    whole = draw_chart(first, caption + note, sources, "step")
    near = [Figure(draw_curves(each), "The end, magnified", "", sources, whole.legend) for each in rest]
    return (whole, *near)


def _find_chart(runs: Sequence[RunContents], name: str) -> StepChart | None:
    """One of the charts that ``isospike figures`` draws too, with the labels of this page."""
    charts = compose_charts([run.record for run in runs])
    return next((chart for chart in charts if isinstance(chart, StepChart) and chart.name == name), None)


def _read_out(run: RunContents, step: int) -> tuple[Value, ...]:
    record = run.record

    def pick(values: tuple[float, ...] | None) -> float | None:
        return None if values is None else values[step - 1]

    accuracy, sops = pick(record.accuracy), pick(record.sops)
    beyond = Value("–")
    if accuracy is not None and record.ann_accuracy is not None:
        difference = accuracy - record.ann_accuracy
        beyond = Value(write_points(difference), difference)
    ratio = None if sops is None or not record.macs else sops / record.macs
    return (
        write_percent(accuracy),
        beyond,
        write_percent(pick(record.settled)),
        write_count(pick(record.spikes)),
        write_count(sops),
        Value("–") if ratio is None else Value(f"{ratio:.2f}", ratio),
    )


def _tell_latency(latency: Latency, settled: Sequence[float]) -> str:
    """By which step half, nearly all and all images have settled; and how long an answer takes with early exit."""
    words = []
    for share, name in ((0.5, "half of the images"), (0.99, "99 %"), (1.0, "all")):
        step = next((step for step, value in enumerate(settled, start=1) if value >= share - 1e-9), None)
        if step is not None:
            words.append(f"{name} by step {step}")
    if settled[-1] < 1 - 1e-9:
        words.append(f"{write_share(1 - settled[-1])} not by step {len(settled)}")
    mean = "" if latency.mean is None else f" With early exit an answer takes {latency.mean:.2f} steps on average."
    bound = "" if latency.bound is None else f" Bound for any image: {latency.bound:,} steps."
    return f"Settled: {', '.join(words)}.{mean}{bound}"


def _lack(run: RunContents, command: str, what: str, note: str = "") -> Gap:
    return Gap(f"{run.label}: no {what}", "" if note else f"isospike {command} --out {run.quoted}", note)
