"""Sections on faults, on confusions, on other methods, and on how the runs were made."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isospike.report.comparison_charts import chart_comparison, list_methods
from isospike.report.comparison_record import find_comparison
from isospike.report.confusion import Confusion
from isospike.report.curves import Curve, CurveChart
from isospike.report.over_time import draw_chart
from isospike.report.pieces import (
    Figure,
    Gap,
    Section,
    Source,
    Table,
    Value,
    list_text,
    write_count,
    write_percent,
    write_share,
)
from isospike.report.robustness_record import Fault, RobustnessRecord, list_severities
from isospike.report.run_contents import RunContents

FEW_CLASSES = 20
_PAIRS = 15
_SHADES = 9


@dataclass(frozen=True)
class ConfusionPanel:
    """The confusions of one run.

    Attributes:
        label: of the run.
        place: of the run.
        steps: for a slider; empty where there is only one matrix.
        matrix: of the last step, row by row: (text, shade) cells; empty where there are many classes.
        data: all matrices, for the script.
        pairs: what was confused most.
        words: what they come to.
        sources: of all this.
    """

    label: str
    place: int
    steps: tuple[int, ...]
    matrix: tuple[tuple[tuple[str, int], ...], ...]
    data: list[Any]
    pairs: Table
    words: str
    sources: tuple[Source, ...]


def compose_robustness(runs: Sequence[RunContents]) -> Section:
    """Accuracy over severity, one drawing for each kind of fault, one curve for each run."""
    known = [(run, run.robustness) for run in runs if run.robustness is not None]
    gaps = [
        Gap(f"{run.label}: no accuracy under faults", f"isospike stress {run.quoted} --data FOLDER")
        for run in runs
        if run.robustness is None
    ]
    gaps += [_warn(run, record) for run, record in known if not record.complete or "robustness.json" in run.stale]
    names = dict.fromkeys(fault.name for _, record in known for fault in record.faults if fault.cells)
    figures = tuple(_draw_fault(name, known, number) for number, name in enumerate(names))
    images = {f"{record.images:,} images, T = {record.steps}" for _, record in known}
    intro = (
        f"Accuracy under faults ({'; '.join(sorted(images))}); bands: 95 % intervals of the mean over seeds, which do "
        "not cover the choice of the images."
        if known
        else ""
    )
    return Section("robustness", "Robustness", intro, figures=figures, gaps=tuple(gaps))


def compose_confusions(runs: Sequence[RunContents], page: str) -> tuple[list[ConfusionPanel], list[Gap]]:
    """Which classes are taken for which, and which runs do not say."""
    panels, gaps = [], []
    for run in runs:
        if run.confusion is None:
            note = "made with another graph or other settings" if "confusion.json" in run.stale else ""
            command = f"isospike report {run.quoted} --data FOLDER -o {page}"
            gaps.append(Gap(f"{run.label}: no confusion matrix", command, note))
        else:
            panels.append(_compose_confusion(run, run.confusion))
    return panels, gaps


def compose_methods(runs: Sequence[RunContents]) -> Section | None:
    """Other methods on the same network; None where no run was compared with any."""
    known = [(run, run.comparison) for run in runs if run.comparison is not None]
    if not known:
        return None
    tables, figures = [], []
    for run, found in known:
        path = find_comparison(run.folder) or run.folder
        source = Source(path, " ".join(map(shlex.quote, found.command)) or f"isospike compare {run.quoted}")
        tables += list_methods(run.label, found)
        charts = chart_comparison(found, f"{run.label}: ", run.place)
        figures += [draw_chart(chart, "Dashes: the ANN.", (source,), word) for chart, word in charts]
    return Section("methods", "Methods compared on one network", tables=tuple(tables), figures=tuple(figures))


def compose_recipes(runs: Sequence[RunContents]) -> Section:
    """Versions, times, and what differs between the recipes."""
    tables = []
    settings = [run.settings for run in runs]
    if len(runs) > 1:
        keys = dict.fromkeys(key for each in settings for key in each)
        differing = [key for key in keys if len({repr(each.get(key)) for each in settings}) > 1]
        rows = tuple(list_text([key, *(_say(each.get(key)) for each in settings)]) for key in differing)
        head = ("key", *(run.label for run in runs))
        tables.append(Table("What differs between the recipes", head, rows, words=len(head)))
    facts = [_list_facts(run) for run in runs]
    names = dict.fromkeys(name for each in facts for name in each)
    rows = tuple(list_text([name, *(each.get(name, "–") for each in facts)]) for name in names)
    if rows:
        head = ("", *(run.label for run in runs))
        tables.append(Table("Versions and times", head, rows, words=len(head)))
    return Section("recipe", "Recipe and versions", tables=tuple(tables))


def _warn(run: RunContents, record: RobustnessRecord) -> Gap:
    notes = ["some cells are still missing"] if not record.complete else []
    notes += ["made with another graph than the folder's"] if "robustness.json" in run.stale else []
    return Gap(f"{run.label}: {', and '.join(notes)}", shlex.join(record.command))


def _draw_fault(name: str, known: Sequence[tuple[RunContents, RobustnessRecord]], number: int) -> Figure:
    found: list[tuple[RunContents, RobustnessRecord, Fault]] = [
        (run, record, fault) for run, record in known for fault in record.faults if fault.name == name and fault.cells
    ]
    kind = found[0][2]
    severities = list_severities([fault for _, _, fault in found])
    places = {severity: index + 1 for index, severity in enumerate(severities)}
    curves = []
    for run, record, fault in found:
        means = [record.baseline, *(cell.mean for cell in fault.cells)]
        ends = [(record.baseline, record.baseline), *(cell.interval for cell in fault.cells)]
        band = tuple((100 * low, 100 * high) for low, high in ends)
        xs = (0.0, *(float(places[cell.severity]) for cell in fault.cells))
        curves.append(Curve(run.place, run.label, xs, tuple(100 * mean for mean in means), band))
    chart = CurveChart(
        "robustness",
        kind.title[:1].upper() + kind.title[1:],
        f"severity ({kind.unit})",
        "accuracy",
        tuple(curves),
        percent=True,
        whole=False,
        ticks=("none", *(f"{severity:g}" for severity in severities)),
        number=number,
    )
    seeds = {cell.seeds for _, _, fault in found for cell in fault.cells}
    caption = f"--faults {name}; {'/'.join(map(str, sorted(seeds)))} seed{'s' if seeds != {1} else ''}."
    sources = tuple(Source(run.folder / "robustness.json", shlex.join(record.command)) for run, record, _ in found)
    return draw_chart(chart, caption, sources, "severity")


def _compose_confusion(run: RunContents, confusion: Confusion) -> ConfusionPanel:
    last = confusion.last
    few = confusion.classes <= FEW_CLASSES
    shaded = [[_shade(row) for row in matrix] for matrix in confusion.matrices] if few else []
    total, right = int(last.sum()), int(np.trace(last))
    wrong = last * (1 - np.eye(len(last), dtype=last.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    rows = []
    for flat in order:
        true, answered = (int(index) for index in np.unravel_index(flat, wrong.shape))
        if wrong[true, answered]:
            number, share = int(wrong[true, answered]), wrong[true, answered] / max(1, int(last[true].sum()))
            rows.append((Value(str(true)), Value(str(answered)), write_count(number), write_percent(float(share))))
    pairs = Table(
        f"What {run.label} confuses most, after step {confusion.steps[-1]}",
        ("class", "taken for", "images", "of the class"),
        tuple(rows),
    )
    return ConfusionPanel(
        run.label,
        run.place,
        confusion.steps if few and len(confusion.steps) > 1 else (),
        tuple(shaded[-1]) if few else (),
        shaded,
        pairs,
        f"{right:,} of {total:,} images right ({write_share(right / max(1, total))})",
        (Source(run.folder / "confusion.json", confusion.command),),
    )


def _shade(row: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Cells of one true class: the number, and how dark: by share of the class, any at all being visible."""
    total = max(1, sum(row))
    return tuple((str(number), 0 if not number else max(1, round(_SHADES * number / total))) for number in row)


def _list_facts(run: RunContents) -> dict[str, str]:
    facts: dict[str, str] = {}
    for key in ("recipe", "dataset", "network", "method", "steps", "seed"):
        if run.metrics.get(key) is not None:
            facts[key] = _say(run.metrics[key])
    for section, unit in (("versions", ""), ("stage_seconds", " s")):
        found = run.metrics.get(section)
        for key, value in found.items() if isinstance(found, dict) else ():
            facts[f"{key}{' took' if unit else ''}"] = f"{_say(value)}{unit}"
    return facts


def _say(value: Any) -> str:
    return "–" if value is None else str(value)
