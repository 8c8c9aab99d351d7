"""Encoded images as tables: from a folder of parquet files, through Hugging Face ``datasets``."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isospike.data.sources import Source
from isospike.errors import DataError

ROWS_AT_A_TIME = 2000


@dataclass(frozen=True)
class Tables:
    """The two splits of a dataset, not yet decoded.

    ``files`` are the files that hold them, and ``train_files`` and ``test_files`` those of each split, where they are
    known; ``train`` and ``test`` start a pass over Arrow tables of some thousand
    rows, each with a column of encoded images and a column of labels.
    """

    files: tuple[Path, ...]
    train: Callable[[], Iterator[Any]]
    test: Callable[[], Iterator[Any]]
    train_files: tuple[Path, ...] = ()
    test_files: tuple[Path, ...] = ()


def open_folder(name: str, source: Source, folder: Path) -> Tables:
    """Find the parquet files of a dataset under ``folder``.

    A file belongs to the split that its path names, as on the hub: ``train-00000-of-00001.parquet``,
    ``plain_text/test-00000-of-00001.parquet``, ``data/validation/0.parquet``.

    Raises:
        DataError: there is no such folder, or it has no parquet file for one of the splits.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; expected the parquet files of {name!r}: check --data")
    found = sorted(folder.rglob("*.parquet"))
    splits = {split: [file for file in found if _find_split(file.relative_to(folder)) == split] for split in SPLITS}
    train, test = splits["train"], splits[source.test_split] or splits["test"] or splits["validation"]
    layout = "the layout of the hub" if source.hub is None else f"the layout of the hub's {source.hub}"
    for split, files in (("train", train), (source.test_split, test)):
        if not files:
            raise DataError(
                f"{folder}: found {len(found)} parquet files, none for the split {split!r}; expected {layout} "
                f"({split}-00000-of-00001.parquet): check --data"
            )
    return Tables(
        (*train, *test),
        lambda: _read_parquet(train, folder),
        lambda: _read_parquet(test, folder),
        tuple(train),
        tuple(test),
    )


SPLITS = ("train", "test", "validation")


def _find_split(path: Path) -> str | None:
    for part in (path.name, *reversed(path.parts[:-1])):
        words = re.split(r"[^a-z]+", part.lower())
        for split in SPLITS:
            if split in words:
                return split
    return None


def _read_parquet(files: list[Path], folder: Path) -> Iterator[Any]:
    import datasets

    try:
        with hold_tongue():
            # Streaming reads the files where they are; otherwise datasets would copy them into its own cache first.
            rows = datasets.load_dataset(
                "parquet", data_files={"all": [str(file) for file in files]}, split="all", streaming=True
            )
            yield from rows.with_format("arrow").iter(batch_size=ROWS_AT_A_TIME)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{folder}: a parquet file cannot be read ({describe(error)}); expected whole files with one schema: "
            "copy the folder anew"
        ) from error


@contextmanager
def hold_tongue() -> Iterator[None]:
    """Keep ``datasets`` from printing progress bars and log lines: what fails is raised, as one line."""
    import datasets

    bars, level = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()


def describe(error: BaseException) -> str:
    """The first line of an error that another library raised, with its type."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
