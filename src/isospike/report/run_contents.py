"""All that a run folder holds for the report."""

import hashlib
import os
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isospike.errors import FileError
from isospike.files import read_bytes, read_json
from isospike.graph import load_graph
from isospike.metrics import LOGS, Description, describe
from isospike.report.charts import label_runs
from isospike.report.comparison_record import ComparisonRecord, find_comparison, read_comparison
from isospike.report.confusion import Confusion, read_confusion
from isospike.report.robustness_record import RobustnessRecord, read_robustness
from isospike.report.run_record import RunRecord, read_run
from isospike.report.sample import Sample, read_sample

_LONGEST_RECIPE = 100_000


@dataclass(frozen=True)
class RunContents:
    """One run. What is not there is None, or empty.

    Attributes:
        folder: where it was read.
        place: its number among the runs of the report, from 0: which look it has.
        label: its name, different from those of the other runs.
        record: numbers over time steps; of no steps where nothing was simulated.
        metrics: ``metrics.json`` as it is.
        recipe: the text of ``recipe.toml``.
        graph: what ``snn.safetensors`` is made of.
        sample: one image through the network.
        confusion: which class is taken for which.
        robustness: accuracy under faults.
        comparison: other methods on the same network.
        stale: files that were made with another graph than the folder's, or under other conditions than its metrics.
    """

    folder: Path
    place: int
    label: str
    record: RunRecord
    metrics: dict[str, Any]
    recipe: str | None
    graph: Description | None
    sample: Sample | None
    confusion: Confusion | None
    robustness: RobustnessRecord | None
    comparison: ComparisonRecord | None
    stale: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe's keys with dots, and their values; empty where it does not parse."""
        try:
            tables = tomllib.loads(self.recipe or "")
        except tomllib.TOMLDecodeError:
            return {}
        return _flatten(tables)

    @property
    def recipe_fault(self) -> str:
        """Why the recipe does not parse; empty where it does."""
        try:
            tomllib.loads(self.recipe or "")
        except tomllib.TOMLDecodeError as error:
            return str(error)
        return ""

    @property
    def facts(self) -> list[str]:
        """Network, data and method, as far as the metrics say."""
        return [str(self.metrics[key]) for key in ("network", "dataset", "method") if self.metrics.get(key)]

    @property
    def quoted(self) -> str:
        """The folder, as a shell takes it."""
        return shlex.quote(str(self.folder))

    def find(self, *names: str) -> Path | None:
        """The first of these files that is there."""
        return next((self.folder / name for name in names if (self.folder / name).is_file()), None)

    @property
    def numbers(self) -> Path | None:
        """The file that the numbers over time steps come from."""
        logs = [name for log in LOGS for name in (f"{log}.txt", f"logs/{log}.txt")]
        return self.find("metrics.json", *logs)


def read_contents(
    folders: Sequence[Path], batch_size: int | None = None, steps: int | None = None
) -> list[RunContents]:
    """Read run folders, each with whatever it holds.

    Args:
        folders: of runs, or of logs.
        batch_size: images in a batch, where logs do not tell.
        steps: time steps, likewise.

    Raises:
        FileError: a folder twice, one with nothing of a run in it, or a file in it that is damaged.
    """
    refuse_repeats(folders)
    records = [_read_record(folder, batch_size, steps) for folder in folders]
    labels = label_runs(records)
    return [_read_rest(*each) for each in zip(range(len(records)), labels, records, strict=True)]


def refuse_repeats(folders: Sequence[Path]) -> None:
    """Each folder once, however it is spelled: two columns of the same run would look like two runs.

    Raises:
        FileError: a folder stands there twice.
    """
    seen: dict[str, Path] = {}
    for folder in folders:
        place = os.path.realpath(folder)  # Path.resolve raises where links go in a circle
        first = seen.get(place)
        if first is not None:
            also = "" if first == folder else f" (as {first} too)"
            raise FileError(f"{folder}: stands there twice{also}: give each run folder once")
        seen[place] = folder


def digest_graph(folder: Path) -> str | None:
    """SHA-256 of the folder's ``snn.safetensors``, in hexadecimal; None where there is none."""
    path = folder / "snn.safetensors"
    return hashlib.sha256(read_bytes(path)).hexdigest() if path.is_file() else None


def is_outdated(found: Sample | Confusion | RobustnessRecord, digest: str | None, metrics: dict[str, Any]) -> bool:
    """Whether it was made with another graph, or under other conditions, than a folder has now."""
    if digest is not None and found.graph != digest:
        return True
    conditions = {} if isinstance(found, RobustnessRecord) else found.conditions
    return any(
        isinstance(metrics.get(section), dict) and metrics[section].get(key, value) != value
        for section, said in conditions.items()
        for key, value in said.items()
    )


def _read_record(folder: Path, batch_size: int | None, steps: int | None) -> RunRecord:
    """As :func:`read_run`, but a run that was not simulated is none the worse for it."""
    lone = ("recipe.toml", "snn.safetensors", "robustness.json")
    has_numbers = (folder / "metrics.json").is_file() or any(
        (folder / place / f"{name}.txt").is_file() for name in LOGS for place in ("", "logs")
    )
    if has_numbers or not (any((folder / name).is_file() for name in lone) or find_comparison(folder)):
        return read_run(folder, batch_size, steps)
    return RunRecord(folder, folder.resolve().name, 0)


def _read_rest(place: int, label: str, record: RunRecord) -> RunContents:
    folder = record.folder
    path, recipe, graph = folder / "metrics.json", folder / "recipe.toml", folder / "snn.safetensors"
    digest, metrics = digest_graph(folder), read_json(path) if path.is_file() else {}
    sample, confusion, robustness = read_sample(folder), read_confusion(folder), read_robustness(folder)
    made_with = {"sample.json": sample, "confusion.json": confusion, "robustness.json": robustness}
    stale = tuple(name for name, found in made_with.items() if found and is_outdated(found, digest, metrics))
    return RunContents(
        folder=folder,
        place=place,
        label=label,
        record=record,
        metrics=metrics,
        recipe=_read_text(recipe) if recipe.is_file() else None,
        graph=describe(load_graph(graph)) if graph.is_file() else None,
        sample=None if "sample.json" in stale else sample,
        confusion=None if "confusion.json" in stale else confusion,
        robustness=robustness,
        comparison=read_comparison(folder),
        stale=stale,
    )


def _read_text(path: Path) -> str:
    text = read_bytes(path).decode(errors="replace")
    if len(text) > _LONGEST_RECIPE:
        raise FileError(f"{path}: {len(text)} characters, expected a recipe of at most {_LONGEST_RECIPE}")
    return text


def _flatten(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
