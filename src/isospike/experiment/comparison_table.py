"""What several methods came to on one network, and how it is written down."""

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from isospike.errors import FileError
from isospike.files import read_json, write_json, write_text

_COLUMNS = (
    "method",
    "steps",
    "latency",
    "accuracy",
    "spikes_per_image",
    "sops_per_image",
    "settled",
    "positive_per_neuron",
    "negative_per_neuron",
    "energy_float32_pj",
    "energy_int32_pj",
    "energy_int8_pj",
    "equal_from",
    "mismatches",
    "unsettled",
    "membrane_bits",
    "parameter_bits",
    "state_bits",
    "seconds",
    "refused",
)
_TABLES = ("float32", "int32", "int8")


@dataclass(frozen=True)
class Trial:
    """What one method came to. Lists have an entry for each of ``steps``, and are empty where it was refused.

    Attributes:
        method: its label.
        steps: T.
        latency: steps that an answer takes in all: T, and what the method runs before it (SRP's tau).
        accuracy: fraction right.
        spikes: mean |spikes| per image up to T, of every neuron.
        sops: mean synaptic operations per image up to T, of all layers after the encoder, the classifier included.
        settled: fraction of the images that agree with their membranes; 0 for rate-coded methods, which do not certify.
        mismatches: counts and logits that differ from the quantised ANN's over the images that settle by T_max; None
            where a method claims no equality.
        unsettled: images that have not settled by T_max; None likewise.
        seconds: what simulating took; for lossless methods, with verifying up to T_max.
        refused: why the method cannot take this network, in one line.
        positive_per_neuron: mean positive spikes per neuron and image up to T, as in ``activity`` of ``metrics.json``.
        negative_per_neuron: mean negative spikes, likewise.
        energy: picojoules per image up to T, of all layers, by table: "float32", "int32", "int8", and one's own; as in
            ``energy`` of ``metrics.json``.
        equal_bits: an ANN of as many bits beside the spiking network, hidden layers only: ``activation_bits``, ``ann``,
            ``snn``; None where a weight or a membrane is a float.
        equal_from: the step from which every image has settled, and so equals the quantised ANN; None where some have
            not by T_max, where something differs, and where a method claims no equality.
        membrane_bits: container of the largest membrane; None for floats.
        parameter_bits: memory of all that is stored.
        state_bits: memory of all that changes while an image runs.
    """

    method: str
    steps: list[int] = field(default_factory=list)
    latency: list[int] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    spikes: list[float] = field(default_factory=list)
    sops: list[float] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    mismatches: int | None = None
    unsettled: int | None = None
    seconds: float = 0.0
    refused: str | None = None
    positive_per_neuron: list[float] = field(default_factory=list)
    negative_per_neuron: list[float] = field(default_factory=list)
    energy: dict[str, list[float]] = field(default_factory=dict)
    equal_bits: dict[str, list[float]] | None = None
    equal_from: int | None = None
    membrane_bits: int | None = None
    parameter_bits: int | None = None
    state_bits: int | None = None

    @property
    def proof(self) -> str:
        """What was proved, in words."""
        return "no claim" if self.mismatches is None else f"{self.mismatches} ({self.unsettled} unsettled)"


@dataclass(frozen=True)
class Comparison:
    """All methods on one network.

    Attributes:
        ann: accuracy of the ANN that is converted: of its exact quantised form, where it has levels.
        levelled: accuracy of the same network after calibration to levels, where some methods took that; else None.
        macs: multiply-accumulates of the ANN per image, over the layers that SOPs are counted on.
        images: how many were tried.
        trials: one for each method.
        energy: picojoules of the ANN per image, of all layers, by table.
    """

    ann: float
    levelled: float | None
    macs: int
    images: int
    trials: list[Trial]
    energy: dict[str, float] = field(default_factory=dict)

    @property
    def own_tables(self) -> list[str]:
        """The names of tables of one's own."""
        return [name for name in self.energy if name not in _TABLES]


def write_comparison(found: Comparison, folder: Path, facts: dict[str, Any]) -> list[Path]:
    """Write ``comparison.json`` (with ``facts``: command, recipe, versions), ``.csv`` and ``.md``.

    Raises:
        FileError: a file cannot be written.
    """
    paths = [folder / f"comparison.{kind}" for kind in ("json", "csv", "md")]
    write_json(paths[0], {**facts, **asdict(found)})
    write_text(paths[1], format_csv(found))
    write_text(paths[2], format_markdown(found))
    return paths


def read_table(path: Path) -> tuple[Comparison, dict[str, Any]]:
    """What :func:`write_comparison` wrote, of this version or an earlier one, and all the file holds.

    Raises:
        FileError: it cannot be read, or holds something else.
    """
    content = read_json(path)
    try:
        trials = [Trial(**trial) for trial in content["trials"]]
        known = {name: content[name] for name in ("ann", "levelled", "macs", "images")}
        return Comparison(**known, trials=trials, energy=content.get("energy") or {}), content
    except (KeyError, TypeError) as error:
        raise FileError(f"{path}: expected a comparison, got something else ({error}): move it away") from error


def format_csv(found: Comparison) -> str:
    """One line for each method and T, and one for each method that was refused; empty where nothing is known."""
    text = io.StringIO()
    place = _COLUMNS.index("equal_from")
    columns = (*_COLUMNS[:place], *(f"energy_{name}_pj" for name in found.own_tables), *_COLUMNS[place:])
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for trial in found.trials:
        for row in _list_rows(trial):
            writer.writerow({key: value for key, value in row.items() if value is not None})
    return text.getvalue()


def _list_rows(trial: Trial) -> Iterator[dict[str, Any]]:
    whole = {"method": trial.method, "refused": trial.refused}
    if not trial.steps:
        yield whole
    for place, step in enumerate(trial.steps):
        row: dict[str, Any] = {
            **whole,
            "steps": step,
            "latency": trial.latency[place],
            "accuracy": trial.accuracy[place],
            "spikes_per_image": trial.spikes[place],
            "sops_per_image": trial.sops[place],
            "settled": trial.settled[place],
            "seconds": trial.seconds,
        }
        for key in ("equal_from", "mismatches", "unsettled", "membrane_bits", "parameter_bits", "state_bits"):
            row[key] = getattr(trial, key)
        if trial.energy:
            row["positive_per_neuron"] = trial.positive_per_neuron[place]
            row["negative_per_neuron"] = trial.negative_per_neuron[place]
            row.update({f"energy_{name}_pj": values[place] for name, values in trial.energy.items()})
        yield row


def describe_ann(found: Comparison) -> str:
    """What is converted, in one line."""
    levelled = "" if found.levelled is None else f" (calibrated to levels: {100 * found.levelled:.2f} %)"
    energy = f", {_write_energy(found.energy['float32'])} µJ" if found.energy else ""
    per_image = " per image (float32)" if energy else " per image"
    per_image += "".join(f", {_write_energy(found.energy[name])} µJ ({name})" for name in found.own_tables)
    return (
        f"ANN {100 * found.ann:.2f} %{levelled} on {found.images:,} images, {found.macs:,} MACs{energy}{per_image}. "
        "Accuracy in percent."
    )


def list_cells(found: Comparison) -> list[list[str]]:
    """The table as text, its heading first: accuracy in percent over T, then what the last T costs, and what was
    proved; the reason where a method does not take the network."""
    steps = next((trial.steps for trial in found.trials if trial.steps), [])
    measured = any(trial.energy for trial in found.trials)
    more = ["equal from T", "+ spikes / neuron", "- spikes / neuron"] if measured else []
    names = ["float32", *found.own_tables]
    costs = [*(f"energy (µJ, {name})" for name in names), "membrane bits", "memory (bits)"] if measured else []
    rows = [["method", *(f"T={step}" for step in steps), "steps in all", *more, "SOPs", *costs, "s", "mismatches"]]
    for trial in found.trials:
        if trial.refused is not None:
            rows.append([trial.method, *["-"] * (len(rows[0]) - 2), f"refused: {trial.refused}"])
            continue
        accuracies = [f"{100 * value:.2f}" for value in trial.accuracy]
        front, back = _list_costs(trial, names) if measured else ([], [])
        work = f"{trial.sops[-1]:,.0f}"
        time = f"{trial.seconds:g}"
        rows.append([trial.method, *accuracies, _write_latency(trial), *front, work, *back, time, trial.proof])
    return rows


def _list_costs(trial: Trial, tables: list[str]) -> tuple[list[str], list[str]]:
    """The cells before and after the SOPs."""
    if not trial.energy:  # of a file that an earlier version wrote
        return ["-"] * 3, ["-"] * (2 + len(tables))
    front = ["-" if trial.equal_from is None else str(trial.equal_from)]
    front += [f"{values[-1]:.3f}" for values in (trial.positive_per_neuron, trial.negative_per_neuron)]
    bits = "float" if trial.membrane_bits is None else str(trial.membrane_bits)
    memory = f"{(trial.parameter_bits or 0) + (trial.state_bits or 0):,}"
    return front, [*(_write_energy(trial.energy[name][-1]) for name in tables), bits, memory]


def _write_latency(trial: Trial) -> str:
    """Of the last T: T alone, or T and what runs before it."""
    last, latency = trial.steps[-1], trial.latency[-1]
    return str(last) if last == latency else f"{last} + {latency - last} = {latency}"


def _write_energy(picojoules: float) -> str:
    return f"{picojoules / 1e6:,.3g}" if picojoules < 1e9 else f"{picojoules / 1e6:,.0f}"


def format_markdown(found: Comparison) -> str:
    """The table in Markdown, the ANN's line above it."""
    head, *rows = list_cells(found)
    lines = [
        describe_ann(found),
        "Costs are those of the last T, per image.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
