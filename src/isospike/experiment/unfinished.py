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

from isospike import __version__
from isospike.data import Images, ImageSet
from isospike.errors import FileError
from isospike.files import read_bytes, read_tensors, write_tensors
from isospike.training import is_main_process

FOLDER = "unfinished"
_EVERY = 30.0
"""Seconds of work that may be lost; and a file is written no sooner than after this many times its writing."""
_TIMES = 20


class Unfinished:
    """The measurements of one stage of a run, as far as they have come.

    What is kept is found again only by the same work: the same spiking graph, network, settings, images and labels,
    shared among as many processes. Streams of images are not taken up again.

    Args:
        folder: of the run.
        stage: such as "verify".
        facts: all that the numbers depend on beside the graph and the images, as JSON knows it.
        files: of the run, whose content they depend on.
    """

    def __init__(self, folder: Path, stage: str, facts: Mapping[str, Any], files: tuple[str, ...]) -> None:
        self.folder, self.stage = folder / FOLDER, stage
        contents = [sha256(read_bytes(folder / name)).hexdigest() for name in files if (folder / name).is_file()]
        self._facts = [__version__, stage, contents, facts]
        self.seconds = 0.0

    def open(self, data: Images, accelerator: Accelerator, **settings: Any) -> "Beginning":
        """One pass over images, from its beginning or from where it was left.

        Args:
            data: images and labels.
            accelerator: which process this is of how many.
            settings: of this pass.
        """
        if not isinstance(data, ImageSet):
            return Beginning(None)
        place = [accelerator.process_index, accelerator.num_processes]
        key = sha256(json.dumps([*self._facts, settings, place], sort_keys=True, default=str).encode())
        key.update(data.images.numpy().tobytes())
        key.update(data.labels.numpy().tobytes())
        found = Beginning(self.folder / f"{self.stage}-{key.hexdigest()[:32]}.safetensors")
        self.seconds += found.seconds
        if found.arrays and is_main_process():
            logging.getLogger("isospike").warning("%s goes on where it was interrupted (%s)", self.stage, self.folder)
        return found

    def clear(self) -> None:
        """Forget it all: the stage is done, and its numbers are written."""
        if is_main_process():
            clear_unfinished(self.folder.parent, f"{self.stage}-*")


class Beginning:
    """The first batches of a pass; a context in which more of them come, and that keeps them if it is left early.

    Attributes:
        arrays: what :meth:`keep` was given before the interruption; none at the beginning.
        seconds: how long that took.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.arrays: dict[str, np.ndarray] = {}
        self.seconds = 0.0
        if path is not None and path.is_file():
            with suppress(FileError, ValueError, KeyError):  # a damaged one is measured anew
                arrays, about = read_tensors(path)
                self.seconds = float(about["seconds"])
                self.arrays = arrays
        self._started = self._written = time.perf_counter()
        self._cost = 0.0
        self._gather: Callable[[], Mapping[str, np.ndarray]] | None = None

    def keep(self, gather: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Another batch is done; ``gather`` gives all that is to be kept now."""
        self._gather = gather
        if time.perf_counter() - self._written > max(_EVERY, _TIMES * self._cost):
            self._write()

    def _write(self) -> None:
        if self._path is None or self._gather is None:
            return
        now = time.perf_counter()
        write_tensors(self._path, self._gather(), {"seconds": str(self.seconds + now - self._started)})
        self._written = time.perf_counter()
        self._cost = self._written - now

    def __enter__(self) -> "Beginning":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or self._written > self._started:
            self._write()


def clear_unfinished(folder: Path, pattern: str = "*") -> None:
    """Remove what measurements of a run left that were interrupted."""
    for path in (folder / FOLDER).glob(pattern):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # other stages have left something
        (folder / FOLDER).rmdir()
