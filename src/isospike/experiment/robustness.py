"""Accuracy under faults: every fault at every severity, once for each seed, in files that grow cell by cell."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from isospike.data import ImageSet
from isospike.errors import FileError, GraphError, IsospikeError, RecipeError, SimulationError
from isospike.experiment.sharing import Advance
from isospike.experiment.stresses import STRESSES, Scene, Stress
from isospike.experiment.summaries import Counting, collect_logs, summarise_logs, summarise_seeds
from isospike.experiment.tallies import tally
from isospike.files import read_json, write_json, write_text
from isospike.graph import SpikingGraph
from isospike.simulator import simulate
from isospike.simulator.interference import check_faults

FORMAT, VERSION = "isospike.robustness", 1
CONFIDENCE = 0.95
Cells = dict[str, dict[float, dict[str, Any]]]
"""What was measured, by fault and severity."""
COLUMNS = ("fault", "severity", "seeds", "mean", "low", "high", "spread", "spikes_per_image", "sops_per_image")


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        stresses: each with its severities, mildest first.
        seeds: how many, from 0.
        steps: time steps.
        batch_size: images simulated together.
        device: "cpu" or "cuda".
        propagation: as for :func:`isospike.simulate`.
    """

    stresses: tuple[tuple[Stress, tuple[float, ...]], ...]
    seeds: int
    steps: int
    batch_size: int = 250
    device: str = "cpu"
    propagation: str = "within-step"


def make_plan(
    names: Sequence[str], severities: tuple[float, ...] | None, seeds: int, steps: int, **options: Any
) -> Plan:
    """A plan of faults by name, in the order of :data:`STRESSES`.

    Args:
        names: of the faults; none for all.
        severities: of each of them; None for their own.
        seeds: how many.
        steps: time steps.
        options: of :class:`Plan`.

    Raises:
        RecipeError: an unknown fault, no seed, severities for faults that measure them otherwise.
    """
    unknown = [name for name in names if name not in STRESSES]
    if unknown:
        raise RecipeError(f"--faults: expected some of {', '.join(STRESSES)}, got {unknown[0]!r}")
    if seeds < 1:
        raise RecipeError(f"--seeds: expected at least 1, got {seeds}")
    chosen = [stress for name, stress in STRESSES.items() if name in names or not names]
    if severities is not None and len({stress.unit for stress in chosen}) > 1:
        units = "; ".join(f"{stress.name}: {stress.unit}" for stress in chosen)
        raise RecipeError(
            f"--severities: the faults measure them in different units ({units}): give faults of one unit"
        )
    pairs = tuple((stress, stress.order(severities or stress.severities)) for stress in chosen)
    return Plan(pairs, seeds, steps, **options)


def list_possible(graph: SpikingGraph) -> tuple[list[str], list[str]]:
    """The faults that this graph can have, and those that it cannot have with the reason: floats have no bits that flip
    alone, and no range to saturate at."""
    scene = Scene(graph, torch.zeros((1, *graph.input.shape), dtype=torch.uint8))
    possible, others = [], []
    for name, stress in STRESSES.items():
        try:
            check_faults(graph, stress.apply(scene, stress.severities[0], 0).faults)
        except (GraphError, SimulationError) as error:
            others.append(f"{name}: {error}")
        else:
            possible.append(name)
    return possible, others


def measure_robustness(
    graph: SpikingGraph,
    test: ImageSet,
    plan: Plan,
    folder: Path,
    facts: dict[str, Any],
    follow: Callable[[str, int], Advance],
) -> dict[str, Any]:
    """Measure accuracy under faults, and write ``robustness.json`` and ``robustness.csv`` after every cell.

    Cells that the folder's file has already, with all the seeds of the plan or more, are taken over, and so are those
    that the plan leaves out: an interrupted command goes on, and faults may be measured one by one. Where the file's
    cells are of another graph, other images, steps or propagation, nothing is measured and nothing is lost.

    Args:
        graph: a converted graph.
        test: images and labels.
        plan: what is to be measured.
        folder: for the two files.
        facts: about the run: ``recipe``, ``dataset``, ``command``, ``graph`` (its hash), ``versions``.
        follow: given a fault's name and a number of runs, gives a function to call with the number done.

    Returns:
        The content of ``robustness.json`` (docs/robustness.md).

    Raises:
        SimulationError, GraphError, DataError: a severity that is none, a fault that the graph cannot have.
        FileError: the files cannot be read or written, or hold cells of another graph, other images, steps or
            propagation.
    """
    scene = Scene(graph, test.images)
    header: dict[str, Any] = {"format": FORMAT, "version": VERSION, **facts}
    header.update(images=len(test), steps=plan.steps, propagation=plan.propagation)
    header.update(confidence=CONFIDENCE, complete=False)
    known = _read_known(folder / "robustness.json", header)
    _check(plan, Scene(graph, test.images[:1]))
    baseline = _summarise([_run(scene, test, plan)])
    content = {**header, "baseline": baseline, "faults": []}
    for stress, severities in plan.stresses:
        seeds = list(range(plan.seeds)) if stress.seeded else [0]
        cells = known.setdefault(stress.name, {})
        advance = follow(stress.name, len(severities) * len(seeds))
        for place, severity in enumerate(severities):
            if severity not in cells or not set(seeds) <= set(cells[severity]["seeds"]):
                runs = []
                for seed in seeds:
                    runs.append(_run(stress.apply(scene, severity, seed), test, plan))
                    advance(place * len(seeds) + len(runs))
                cells[severity] = {"severity": severity, "seeds": seeds, **_conclude(runs)}
                _write(folder, content, known)
            advance((place + 1) * len(seeds))
    content["complete"] = True
    return _write(folder, content, known)


def _check(plan: Plan, scene: Scene) -> None:
    """Say what is wrong before anything is run, in the words of the command line."""
    for stress, severities in plan.stresses:
        for severity in severities:
            try:
                check_faults(scene.graph, stress.apply(scene, severity, 0).faults)
            except IsospikeError as error:
                _, found, rest = str(error).partition(": expected ")
                text = f"--severities {severity:g}: {stress.name}: expected {rest}"
                raise type(error)(text if found else f"--faults {stress.name}: {error}") from error


def _run(scene: Scene, test: ImageSet, plan: Plan) -> dict[str, Any]:
    """One simulation: what it came to at the last step, and the accuracy over time."""
    simulation = simulate(
        scene.graph,
        scene.images,
        plan.steps,
        batch_size=plan.batch_size,
        device=plan.device,
        propagation=plan.propagation,
        faults=scene.faults,
    )
    counts = tally(simulation, test.labels, plan.batch_size)
    logs = summarise_logs(collect_logs(scene.graph, [counts], plan.batch_size, Counting()))
    return {
        "accuracy": logs["accuracy"][-1],
        "accuracy_over_time": logs["accuracy"],
        "spikes_per_image": logs["spikes_per_image"][-1],
        "sops_per_image": logs["sops_per_image"][-1],
        "settled": summarise_seeds([counts])["settled"][-1],
    }


def _summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over runs."""
    mean: dict[str, Any] = {key: fmean(run[key] for run in runs) for key in runs[0] if key != "accuracy_over_time"}
    mean["accuracy_over_time"] = [
        fmean(step) for step in zip(*(run["accuracy_over_time"] for run in runs), strict=True)
    ]
    return mean


def _conclude(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a cell holds beside its severity and seeds."""
    accuracies = [run["accuracy"] for run in runs]
    means = _summarise(runs)
    mean = means.pop("accuracy")
    low, high, spread = find_interval(accuracies)
    return {"accuracies": accuracies, "mean": mean, "low": low, "high": high, "spread": spread, **means}


def find_interval(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Student's t interval of the mean of fractions, cut to 0 .. 1, and the standard deviation; None of one value.

    ``mean ± t(0.975, n - 1) * s / sqrt(n)``

    Source: Student, "The probable error of a mean", Biometrika 1908.
    """
    if len(values) < 2:
        return None, None, None
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # slow to load, and comes with scikit-learn

    spread = stdev(values)
    half = float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2)) * spread / len(values) ** 0.5
    return max(0.0, fmean(values) - half), min(1.0, fmean(values) + half), spread


def _read_known(path: Path, header: dict[str, Any]) -> Cells:
    """The cells of earlier commands.

    Raises:
        FileError: they are of another graph, other images, steps or propagation.
    """
    if not path.is_file():
        return {}
    content = {"propagation": "within-step", **read_json(path)}  # what all files had before they said it
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise FileError(f"{path}: expected {FORMAT}, version {VERSION}, got another file: move it away")
    number = sum(len(fault["cells"]) for fault in content["faults"])
    alike = ("graph", "dataset", "images", "steps", "propagation", "confidence")
    differing = [key for key in alike if content.get(key) != header[key]]
    if number and differing:
        raise FileError(
            f"{path}: has {number} cells of {_describe(content, differing)}; expected {_describe(header, differing)}: "
            "give the same, or another --out, or delete it"
        )
    faults = [fault for fault in content["faults"] if fault["name"] in STRESSES]
    return {fault["name"]: {cell["severity"]: cell for cell in fault["cells"]} for fault in faults}


def _describe(content: dict[str, Any], differing: Sequence[str]) -> str:
    """Images and steps, and what else two files differ in."""
    words = [f"{content.get('images')} images", f"{content.get('steps')} steps"]
    if "graph" in differing:
        words.append(f"snn.safetensors {str(content.get('graph'))[:12]}")
    words += [f"{key} {content.get(key)}" for key in ("dataset", "propagation", "confidence") if key in differing]
    return ", ".join(words)


def _write(folder: Path, content: dict[str, Any], found: Cells) -> dict[str, Any]:
    """Write both files; gives the content of the first."""
    faults = []
    for name, stress in STRESSES.items():
        if found.get(name):
            cells = [found[name][severity] for severity in stress.order(tuple(found[name]))]
            about = {"title": stress.title, "unit": stress.unit, "harmless": stress.harmless, "seeded": stress.seeded}
            faults.append({"name": name, **about, "cells": cells})
    whole = {**content, "faults": faults}
    write_json(folder / "robustness.json", whole)
    write_text(folder / "robustness.csv", format_csv(whole))
    return whole


def format_csv(content: dict[str, Any]) -> str:
    """The cells as a table."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for fault in content["faults"]:
        for cell in fault["cells"]:
            row = {**cell, "fault": fault["name"], "seeds": len(cell["seeds"])}
            writer.writerow(["" if row[column] is None else row[column] for column in COLUMNS])
    return stream.getvalue()
