"""Measurements that take long: what their first batches came to is kept, so that an interrupted one goes on."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from accelerate import Accelerator

from isospike.data import Images, ImageSet
from isospike.errors import FileError
from isospike.experiment.provenance import read_versions
from isospike.files import read_bytes, read_tensors, write_tensors
from isospike.training import is_main_process

FOLDER = "unfinished"
_EVERY = 30.0
"""Seconds of work that may be lost."""
_TIMES = 20
"""What is kept is written no sooner than after this many times what writing it takes."""
_log = logging.getLogger("isospike")


class Unfinished:
    """The measurements of one stage of a run, as far as they have come.

    What is kept is found again only by the same work: the same spiking graph, network, settings, images and labels,
    shared among as many processes, with the same versions of what computes. Streams of images are not taken up again.

    Args:
        folder: of the run.
        stage: such as "verify".
        facts: all that the numbers depend on beside the graph and the images, as JSON knows it.
        files: of the run, whose content they depend on.

    Attributes:
        seconds: how long the work took that was found done.

    Raises:
        FileError: one of the files cannot be read.
    """

    def __init__(self, folder: Path, stage: str, facts: Mapping[str, Any], files: tuple[str, ...]) -> None:
        self.folder, self.stage = folder / FOLDER, stage
        contents = [sha256(read_bytes(folder / name)).hexdigest() for name in files if (folder / name).is_file()]
        self._facts = [read_versions(), stage, contents, facts]
        self._opened: list[Path] = []
        self.seconds = 0.0

    def open(self, data: Images, accelerator: Accelerator, **settings: Any) -> "Beginning":
        """One pass over images, from its beginning or from where it was left.

        Args:
            data: images and labels.
            accelerator: which process this is of how many.
            settings: of this pass.
        """
        if not isinstance(data, ImageSet):
            return Beginning()
        place = [accelerator.process_index, accelerator.num_processes]
        key = sha256(json.dumps([*self._facts, settings, place], sort_keys=True, default=str).encode())
        for tensor in (data.images, data.labels):
            key.update(np.ascontiguousarray(tensor.numpy()).data)
        path = self.folder / f"{self.stage}-{key.hexdigest()[:32]}.safetensors"
        self._opened.append(path)
        return Beginning(self, path)

    def clear(self) -> None:
        """Forget it: the stage is done, and its numbers are written."""
        for path in self._opened:
            _remove(path)
        _remove_if_empty(self.folder)


class Beginning:
    """The first batches of a pass; a context in which more of them come, and that keeps them if it is left early.

    Args:
        owner: the stage, or None where nothing is kept.
        path: of the file.

    Attributes:
        arrays: what was kept before the interruption; none at the beginning.
    """

    def __init__(self, owner: Unfinished | None = None, path: Path | None = None) -> None:
        self._owner, self._path = owner, path
        self._seconds = 0.0
        self.arrays: dict[str, np.ndarray] = {}
        if path is not None and path.is_file():
            with suppress(FileError, ValueError, KeyError):  # a damaged one is measured anew
                arrays, about = read_tensors(path)
                self._seconds = float(about["seconds"])
                self.arrays = arrays
        self._started = self._written = time.perf_counter()
        self._cost = 0.0
        self._gather: Callable[[], Mapping[str, np.ndarray]] | None = None

    def go_on(self, done: int) -> int:
        """Say so where ``done`` images of this process were found in :attr:`arrays`, and count their time; gives
        ``done``."""
        if done and self._owner is not None:
            self._owner.seconds += self._seconds
            if is_main_process():
                _log.warning("%s goes on after %d images, where it was interrupted", self._owner.stage, done)
        else:
            self._seconds = 0.0
        return done

    def keep(self, gather: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Another batch is done; ``gather`` gives all that is to be kept now."""
        self._gather = gather
        if time.perf_counter() - self._written > max(_EVERY, _TIMES * self._cost):
            self._write()

    def _write(self) -> None:
        if self._path is None or self._gather is None:
            return
        now = time.perf_counter()
        try:
            write_tensors(self._path, self._gather(), {"seconds": str(self._seconds + now - self._started)})
        except FileError as error:
            _log.warning("%s; the work goes on, and begins anew if it is interrupted", error)
        self._written = time.perf_counter()
        self._cost = self._written - now

    def __enter__(self) -> "Beginning":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or self._written > self._started:
            self._write()


def clear_unfinished(folder: Path) -> None:
    """Remove all that measurements of a run left that were interrupted."""
    for path in (folder / FOLDER).glob("*"):
        _remove(path)
    _remove_if_empty(folder / FOLDER)


def _remove(path: Path) -> None:
    with suppress(OSError):  # it is only taken up by the same work
        path.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # other work has left something
        folder.rmdir()
