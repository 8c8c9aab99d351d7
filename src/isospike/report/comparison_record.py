"""What ``comparison/comparison.json`` says: several methods on the network of one run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isospike.errors import FileError
from isospike.files import read_json
from isospike.report.numbers import read_finite

_TABLES = ("float32", "int32", "int8")


@dataclass(frozen=True)
class Trial:
    """One method; lists have one entry for each T that was looked at, and are empty where it was refused.

    Costs are those of the last T, and None in files of earlier versions.
    """

    method: str
    steps: tuple[int, ...]
    extra: int
    accuracy: tuple[float, ...]
    spikes: tuple[float, ...]
    sops: tuple[float, ...]
    mismatches: int | None
    unsettled: int | None
    refused: str | None
    positive: float | None = None
    negative: float | None = None
    energy: float | None = None
    equal_from: int | None = None
    membrane_bits: int | None = None
    memory_bits: int | None = None
    seconds: float | None = None
    own_energy: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparisonRecord:
    """Several methods on one network.

    Attributes:
        command: that made it.
        ann: accuracy of the ANN, a fraction.
        macs: of the ANN, per image.
        images: how many were tried.
        trials: one for each method.
        energy: of the ANN, picojoules per image in float32.
        own_energy: the same by tables of one's own.
    """

    command: tuple[str, ...]
    ann: float
    macs: int
    images: int
    trials: tuple[Trial, ...]
    energy: float | None = None
    own_energy: dict[str, float | None] = field(default_factory=dict)


def read_comparison(folder: Path) -> ComparisonRecord | None:
    """The comparison in a run folder, under ``comparison/`` or beside the metrics, if there is one.

    Raises:
        FileError: a file that holds something else.
    """
    path = find_comparison(folder)
    return None if path is None else parse_comparison(path)


def parse_comparison(path: Path) -> ComparisonRecord:
    """The comparison in a file.

    Raises:
        FileError: a file that holds something else.
    """
    content: Any = read_json(path)
    try:
        return ComparisonRecord(
            tuple(map(str, content.get("command") or ())),
            read_finite(content["ann"]),
            int(content["macs"]),
            int(content["images"]),
            tuple(_read_trial(trial) for trial in content["trials"]),
            _read_last((content.get("energy") or {}).get("float32")),
            _read_own(content.get("energy")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FileError(
            f"{path}: no comparison ({type(error).__name__}: {error}); run 'isospike compare' again"
        ) from error


def find_comparison(folder: Path) -> Path | None:
    """Where it is."""
    places = (folder / "comparison" / "comparison.json", folder / "comparison.json")
    return next((path for path in places if path.is_file()), None)


def _read_trial(trial: dict[str, Any]) -> Trial:
    steps = tuple(int(step) for step in trial["steps"])
    series = [tuple(read_finite(value) for value in trial[key]) for key in ("accuracy", "spikes", "sops")]
    if any(len(values) != len(steps) for values in series) or any(step < 1 for step in steps):
        raise ValueError(f"{trial['method']}: expected one entry for each of {len(steps)} steps")
    latency = [int(value) for value in trial["latency"]]
    if len(latency) != len(steps):
        raise ValueError(f"{trial['method']}: {len(latency)} latencies, expected one for each of {len(steps)} steps")
    mismatches, unsettled, refused = (trial.get(key) for key in ("mismatches", "unsettled", "refused"))
    return Trial(
        str(trial["method"]),
        steps,
        latency[0] - steps[0] if steps else 0,
        series[0],
        series[1],
        series[2],
        None if mismatches is None else int(mismatches),
        None if unsettled is None else int(unsettled),
        None if refused is None else str(refused),
        **_read_costs(trial, len(steps)),
    )


def _read_costs(trial: dict[str, Any], steps: int) -> dict[str, Any]:
    """What the last T costs, as far as the file says."""
    series = {
        "positive": trial.get("positive_per_neuron"),
        "negative": trial.get("negative_per_neuron"),
        "energy": (trial.get("energy") or {}).get("float32"),
    }
    if any(values and len(values) != steps for values in series.values()):
        raise ValueError(f"{trial['method']}: expected one entry for each of {steps} steps")
    costs: dict[str, Any] = {key: _read_last(values) for key, values in series.items()}
    for key in ("equal_from", "membrane_bits"):
        costs[key] = None if trial.get(key) is None else int(trial[key])
    bits = [trial.get(key) for key in ("parameter_bits", "state_bits")]
    costs["memory_bits"] = None if None in bits else sum(int(number or 0) for number in bits)
    costs["seconds"] = _read_last(trial.get("seconds"))
    costs["own_energy"] = _read_own(trial.get("energy"))
    return costs


def _read_own(energy: Any) -> dict[str, float | None]:
    """The last entries of tables that are not built in."""
    return {str(name): _read_last(values) for name, values in (energy or {}).items() if name not in _TABLES}


def _read_last(values: Any) -> float | None:
    """A number, or the last of several."""
    if isinstance(values, list):
        values = values[-1] if values else None
    return None if values is None else read_finite(values)
