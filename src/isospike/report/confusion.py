"""Which class is taken for which, over the test images."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isospike.errors import FileError
from isospike.files import read_json, write_json
from isospike.report.numbers import read_conditions

_FILE = "confusion.json"


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix for each of some steps.

    Attributes:
        command: that made this.
        graph: SHA-256 of the file of the graph, in hexadecimal.
        images: how many were tried.
        steps: after which the matrices are.
        matrices: (steps, classes, classes) numbers of images: rows are true classes, columns what was answered.
        conditions: what else the answers depend on: steps and propagation (``simulation``), and ``noise``.
    """

    command: str
    graph: str
    images: int
    steps: tuple[int, ...]
    matrices: tuple[tuple[tuple[int, ...], ...], ...]
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.matrices[0])

    @property
    def last(self) -> np.ndarray:
        """The matrix after the last step, (classes, classes)."""
        return np.array(self.matrices[-1])


def count_confusions(predictions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Images by true class and answer, int64 (time, classes, classes).

    Args:
        predictions: int64 (time, images).
        labels: int64 (images,).
        classes: how many there are.
    """
    pairs = labels * classes + predictions
    counts = [torch.bincount(row, minlength=classes * classes).reshape(classes, classes) for row in pairs]
    return torch.stack(counts)


def write_confusion(confusion: Confusion, folder: Path) -> Path:
    """Write ``confusion.json`` into a run folder; gives its path."""
    write_json(folder / _FILE, asdict(confusion))
    return folder / _FILE


def read_confusion(folder: Path) -> Confusion | None:
    """The confusion matrices that a run folder holds, if any.

    Raises:
        FileError: a file that holds something else.
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    content: Any = read_json(path)
    try:
        steps = tuple(int(step) for step in content["steps"])
        matrices = np.array(content["matrices"], dtype=np.int64)
        if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or len(matrices) != len(steps) or not steps:
            raise ValueError(f"matrices of shape {matrices.shape} for {len(steps)} steps")
        return Confusion(
            str(content["command"]),
            str(content["graph"]),
            int(content["images"]),
            steps,
            tuple(tuple(tuple(row) for row in matrix) for matrix in matrices.tolist()),
            read_conditions(content),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileError(
            f"{path}: no confusion matrices ({type(error).__name__}: {error}); delete it, and 'isospike report' "
            "writes it anew"
        ) from error
