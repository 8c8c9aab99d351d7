"""What ``robustness.json`` says, as far as the report shows it (docs/robustness.md has all keys)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isospike.errors import FileError
from isospike.files import read_json
from isospike.report.numbers import read_finite, read_fraction

FORMAT = "isospike.robustness"


@dataclass(frozen=True)
class Cell:
    """Accuracy under one fault at one severity: fractions; without an interval where there are too few seeds."""

    severity: float
    seeds: int
    mean: float
    low: float | None
    high: float | None

    @property
    def interval(self) -> tuple[float, float]:
        """Its ends; the mean itself where there is none."""
        return (self.mean if self.low is None else self.low, self.mean if self.high is None else self.high)


@dataclass(frozen=True)
class Fault:
    """One kind of fault, its cells the mildest first.

    Attributes:
        name: as for ``--faults``.
        title: for people.
        unit: of the severities.
        harmless: the severity that changes nothing, if there is one.
        cells: one for each severity.
    """

    name: str
    title: str
    unit: str
    harmless: float | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class RobustnessRecord:
    """What a network stands.

    Attributes:
        command: that made it.
        graph: SHA-256 of the graph's file.
        images: how many were tried.
        steps: time steps.
        complete: false while cells are missing.
        baseline: accuracy without a fault, a fraction.
        faults: those that were tried.
    """

    command: tuple[str, ...]
    graph: str
    images: int
    steps: int
    complete: bool
    baseline: float
    faults: tuple[Fault, ...]


def read_robustness(folder: Path) -> RobustnessRecord | None:
    """The faults that a run folder holds accuracies for, if any.

    Raises:
        FileError: a file that holds something else.
    """
    path = folder / "robustness.json"
    if not path.is_file():
        return None
    content: Any = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format is {content['format']!r}, expected {FORMAT!r}")
        return RobustnessRecord(
            tuple(map(str, content["command"])),
            str(content["graph"]),
            int(content["images"]),
            int(content["steps"]),
            bool(content["complete"]),
            read_fraction(content["baseline"]["accuracy"]),
            tuple(_read_fault(fault) for fault in content["faults"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FileError(
            f"{path}: not the robustness of a network ({type(error).__name__}: {error}); run 'isospike stress "
            f"{folder}' again"
        ) from error


def list_severities(faults: Sequence[Fault]) -> list[float]:
    """The severities of one kind of fault in all of several records, the mildest first."""
    return sorted({cell.severity for fault in faults for cell in fault.cells}, reverse=faults[0].harmless is None)


def _read_fault(fault: dict[str, Any]) -> Fault:
    harmless = fault["harmless"]
    cells = tuple(
        Cell(
            read_finite(cell["severity"]),
            len(cell["seeds"]),
            read_fraction(cell["mean"]),
            None if cell["low"] is None else read_fraction(cell["low"]),
            None if cell["high"] is None else read_fraction(cell["high"]),
        )
        for cell in fault["cells"]
    )
    return Fault(
        str(fault["name"]),
        str(fault["title"]),
        str(fault["unit"]),
        None if harmless is None else read_finite(harmless),
        cells,
    )
