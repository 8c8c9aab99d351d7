"""From runs to what each figure shows: numbers and words, before any ink."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from isospike.report.run_record import LayerRecord, RunRecord

PREFIXES = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))
LONGEST = 40


@dataclass(frozen=True)
class Line:
    """Values over time steps 1, 2, ... of one run.

    Attributes:
        run: index of the run, which decides how the line looks.
        label: its name in the legend.
        values: one for each step.
        spread: half the height of a band around them.
    """

    run: int
    label: str
    values: tuple[float, ...]
    spread: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Level:
    """A value to compare with, which does not change over time.

    Attributes:
        label: its name.
        value: in the unit of the chart.
        rank: 0 for the first kind of level in a chart, 1 for the second.
        run: index of the run it belongs to; None where all runs share it.
    """

    label: str
    value: float
    rank: int = 0
    run: int | None = None


@dataclass(frozen=True)
class StepChart:
    """Lines over time steps, with levels to compare them with.

    Attributes:
        name: of the file.
        title: of the document.
        measure: what is measured, with its unit.
        lines: of the runs.
        levels: of their ANNs.
        percent: values are percentages, and end at 100.
        detail: values come close to a level that matters: magnify the end, and do not start at zero.
        note: a remark for the legend.
    """

    name: str
    title: str
    measure: str
    lines: tuple[Line, ...]
    levels: tuple[Level, ...] = ()
    percent: bool = False
    detail: bool = False
    note: str = ""

    @property
    def steps(self) -> int:
        """Of the longest run."""
        return max(len(line.values) for line in self.lines)

    def write(self, value: float) -> str:
        """A value with its unit: two decimals of a percentage, else three digits."""
        return f"{value:.2f} %" if self.percent else write_number(value)


@dataclass(frozen=True)
class LayerPanel:
    """The layers of one run, after its last step."""

    label: str
    steps: int
    layers: tuple[LayerRecord, ...]


@dataclass(frozen=True)
class LayerChart:
    """Spikes beside neurons, one panel for each run."""

    name: str
    title: str
    panels: tuple[LayerPanel, ...]


Chart = StepChart | LayerChart


def compose_charts(records: Sequence[RunRecord]) -> list[Chart]:
    """The charts that these runs have the data for."""
    labels = [
        f"{label} (+{record.tau} steps before)" if record.tau else label
        for label, record in zip(label_runs(records), records, strict=True)
    ]
    charts = (
        _chart_accuracy(records, labels),
        _chart_sparsity(records, labels),
        _chart_sops(records, labels),
        _chart_settling(records, labels),
    )
    return [chart for chart in charts if chart is not None]


def label_runs(records: Sequence[RunRecord]) -> list[str]:
    """Names that differ: the recipe's; where two runs share it the folder's too; the whole path if that is shared."""
    labels = [record.name for record in records]
    for added in ([record.folder.resolve().name for record in records], [str(record.folder) for record in records]):
        shared = Counter(labels)
        labels = [
            f"{record.name} ({addition})" if shared[label] > 1 else label
            for record, label, addition in zip(records, labels, added, strict=True)
        ]
    short = [shorten(label) for label in labels]
    shared = Counter(short)
    numbers: Counter[str] = Counter()
    for place, label in enumerate(short):
        if shared[label] > 1:  # what differs stood in the middle
            numbers[label] += 1
            short[place] = f"{shorten(label, LONGEST - 5)} #{numbers[label]}"
    return short


def shorten(label: str, longest: int = LONGEST) -> str:
    """A label without its middle, if it is too long for a figure."""
    if len(label) <= longest:
        return label
    tail = longest // 2
    return f"{label[: longest - tail - 1]}…{label[-tail:]}"


def write_number(value: float) -> str:
    """Three digits and a prefix: 4.07 M."""
    for size, prefix in PREFIXES:
        if value >= 0.9995 * size:
            scaled = value / size
            return (f"{scaled:.0f}" if scaled >= 100 else f"{scaled:.3g}") + prefix
    return f"{value:.3g}"


def _chart_accuracy(records: Sequence[RunRecord], labels: list[str]) -> StepChart | None:
    lines, seeds = [], set()
    for run, (record, label) in enumerate(zip(records, labels, strict=True)):
        if record.accuracy is None:
            continue
        spread = record.accuracy_spread if any(record.accuracy_spread or ()) else None
        if spread is not None:
            seeds.add(record.seeds)
        lines.append(Line(run, label, _scale(record.accuracy, 100), None if spread is None else _scale(spread, 100)))
    if not lines:
        return None
    values = [None if record.ann_accuracy is None else 100 * record.ann_accuracy for record in records]
    count = f"{seeds.pop()} " if len(seeds) == 1 else ""
    return StepChart(
        name="accuracy",
        title="Accuracy over time steps, against the ANN",
        measure="Accuracy (%)",
        lines=tuple(lines),
        levels=_set_levels("ANN", values, lines, 0),
        percent=True,
        detail=True,
        note=f"band: ± standard deviation of {count}noise seeds" if any(line.spread for line in lines) else "",
    )


def _chart_sparsity(records: Sequence[RunRecord], labels: list[str]) -> LayerChart | None:
    panels = [
        LayerPanel(label, record.steps, record.layers)
        for record, label in zip(records, labels, strict=True)
        if record.layers
    ]
    if not panels:
        return None
    return LayerChart("sparsity", "Positive and negative spikes beside the number of neurons", tuple(panels))


def _chart_sops(records: Sequence[RunRecord], labels: list[str]) -> StepChart | None:
    drawn = [(run, record) for run, record in enumerate(records) if record.sops is not None]
    if not drawn:
        return None
    lines = [Line(run, f"{labels[run]}: SOPs", record.sops or ()) for run, record in drawn]
    macs = [record.macs for record in records]
    # Three times the MACs: as the negative-spike paper compares an ANN's work with synaptic operations.
    triple = [None if value is None else 3 * value for value in macs]
    return StepChart(
        name="sops",
        title="Synaptic operations per image over time steps, against the ANN's multiply-accumulates",
        measure="Operations per image",
        lines=tuple(lines),
        levels=_set_levels("ANN MACs", macs, lines, 0) + _set_levels("3 × ANN MACs", triple, lines, 1),
    )


def _chart_settling(records: Sequence[RunRecord], labels: list[str]) -> StepChart | None:
    lines = [
        Line(run, f"{labels[run]}: {_tell_settling(record)}", _scale(record.settled, 100))
        for run, record in enumerate(records)
        if record.settled is not None
    ]
    if not lines:
        return None
    return StepChart(
        name="settling",
        title="Images settled by each time step",
        measure="Images settled (%)",
        lines=tuple(lines),
        percent=True,
    )


def _tell_settling(record: RunRecord) -> str:
    """By which step all images settled, or how many did not."""
    settled = record.settled or ()
    step = next((step for step, share in enumerate(settled, start=1) if share >= 1 - 1e-9), None)
    if step is not None:
        return f"all {record.images:,} by step {step}" if record.images else f"all by step {step}"
    left = 1 - settled[-1]
    return f"{round(left * record.images):,} of {record.images:,} left" if record.images else f"{left:.2%} left"


def _set_levels(name: str, values: Sequence[float | None], lines: Sequence[Line], rank: int) -> tuple[Level, ...]:
    """One level for all runs where they share it, else one for each."""
    known = [(line, value) for line in lines if (value := values[line.run]) is not None]
    if len(known) == len(lines) and len({value for _, value in known}) == 1:
        return (Level(name, known[0][1], rank),)
    return tuple(Level(name, value, rank, line.run) for line, value in known)


def _scale(values: Sequence[float], factor: float) -> tuple[float, ...]:
    return tuple(factor * value for value in values)
