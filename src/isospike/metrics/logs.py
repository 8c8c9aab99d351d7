"""The six log files of the papers: one number a line, for each batch and time step, batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from numbers import Integral
from pathlib import Path

import numpy as np

from isospike.errors import FileError
from isospike.files import read_bytes, write_text

_ROUNDING = 1e-5
"""What float32 logs may be off by, relative to the numbers."""

LOGS = ("accuracy", "spike_num", "spike_collect", "sop_num", "abs_spike", "sum_spike")


@dataclass(frozen=True, eq=False)
class RunLogs:
    """What the six files hold, each (batches, steps) float64, or None where the file is absent.

    Attributes:
        steps: time steps of each batch.
        batch_size: images in each batch but, perhaps, the last; None where unknown.
        images: images in all; None where unknown.
        accuracy: correct predictions in the batch at this step.
        spike_num: |spikes| so far.
        spike_collect: signed spikes so far.
        sop_num: synaptic operations so far.
        abs_spike: |spikes| of this step.
        sum_spike: signed spikes of this step.
    """

    steps: int
    batch_size: int | None = None
    images: int | None = None
    accuracy: np.ndarray | None = None
    spike_num: np.ndarray | None = None
    spike_collect: np.ndarray | None = None
    sop_num: np.ndarray | None = None
    abs_spike: np.ndarray | None = None
    sum_spike: np.ndarray | None = None

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """The files that are there, by name."""
        for item in fields(self):
            values = getattr(self, item.name)
            if item.name in LOGS and values is not None:
                yield item.name, values

    @property
    def batches(self) -> int:
        """Number of batches."""
        return next((len(values) for _, values in self), 0)

    def mean_per_image(self, name: str) -> list[float] | None:
        """The mean over all images of a log, for each step; None where the log or the number of images is unknown."""
        values = getattr(self, name)
        if values is None or self.images is None:
            return None
        return [float(total) / self.images for total in values.sum(0)]


def write_logs(logs: RunLogs, folder: Path) -> None:
    """Write each log to ``folder/<name>.txt``: integers, one a line, whole or not at all."""
    for name, values in logs:
        write_text(folder / f"{name}.txt", "".join(f"{value:.0f}\n" for value in values.reshape(-1)))


def read_logs(
    folder: Path, *, batch_size: int | None = None, steps: int | None = None, images: int | None = None
) -> RunLogs:
    """Read the log files that are in ``folder``; integers or floats such as ``4072268.0``.

    The number of steps is inferred where ``spike_num`` and ``abs_spike`` are both there: a batch begins where the
    running total is what this step added. Without it, ``steps`` must be given.

    Args:
        folder: holds some of the six files.
        batch_size: images in each batch; None where unknown.
        steps: time steps of each batch; None to infer them.
        images: images in all; ``batch_size * batches`` by default.

    Raises:
        FileError: no log there, a line that is no number, files of different lengths, steps that cannot be inferred;
            arguments that are no whole numbers of at least 1.
    """
    for name, number in {"batch_size": batch_size, "steps": steps, "images": images}.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, Integral) or number < 1):
            raise FileError(f"read_logs: {name}: expected a whole number of at least 1, or None, got {number!r}")
    found = {name: _read_numbers(folder / f"{name}.txt") for name in LOGS if (folder / f"{name}.txt").is_file()}
    if not found:
        raise FileError(f"{folder}: expected at least one of {', '.join(f'{name}.txt' for name in LOGS)}, found none")
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) != 1:
        raise FileError(f"{folder}: the logs have different numbers of lines: {lengths}; they are not of one run")
    total = next(iter(lengths.values()))
    if not total:
        raise FileError(f"{folder}: expected a line for each batch and time step, got empty logs: simulate anew")
    if steps is None:
        steps = _infer_steps(folder, found)
    if total % steps:
        raise FileError(f"{folder}: {total} lines are no whole number of batches of {steps} steps: give --steps")
    if images is None and batch_size is not None:
        images = batch_size * (total // steps)
    shaped = {name: values.reshape(-1, steps) for name, values in found.items()}
    return RunLogs(steps, batch_size, images, **shaped)


def _read_numbers(path: Path) -> np.ndarray:
    lines = read_bytes(path).decode(errors="replace").split()
    try:
        numbers = np.array([float(line) for line in lines], dtype=np.float64)
    except ValueError:
        bad = next(line for line in lines if not _is_number(line))
        raise FileError(f"{path}: expected one number a line, got {bad[:40]!r}") from None
    if not np.isfinite(numbers).all():
        raise FileError(f"{path}: expected finite numbers, got NaN or infinity")
    return numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _infer_steps(folder: Path, found: dict[str, np.ndarray]) -> int:
    unknown = f"{folder}: the number of time steps cannot be inferred from these logs: give --steps"
    total, step = found.get("spike_num"), found.get("abs_spike")
    if total is None or step is None:
        raise FileError(unknown)
    starts = np.flatnonzero(total == step)
    # a silent beginning looks like a start too; the batches that follow one another evenly decide
    for candidate in (int(gap) for gap in starts[1:]):
        even = len(total) % candidate == 0 and np.isin(np.arange(0, len(total), candidate), starts).all()
        if even and _add_up(step.reshape(-1, candidate), total.reshape(-1, candidate)):
            return candidate
    if not _add_up(step[None], total[None]):
        raise FileError(unknown)
    return len(total)


def _add_up(step: np.ndarray, total: np.ndarray) -> bool:
    """Whether ``total`` (batches, steps) is the running sum of ``step``."""
    return bool(np.allclose(step.cumsum(1), total, rtol=_ROUNDING, atol=0))
