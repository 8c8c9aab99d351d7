"""Where the images of a stream are: a folder in ImageNet's layout, parquet files, or the hub."""

from pathlib import Path
from typing import Any

from isospike.data.decoding import IMAGE_COLUMNS, LABEL_COLUMNS
from isospike.data.resizing import Framing
from isospike.data.sources import Source, find_source
from isospike.data.streams import BUFFER, ImageStream, Rows, mix_seeds
from isospike.data.tables import describe, hold_tongue, open_folder
from isospike.errors import DataError

_SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
_TESTS = ("val", "validation", "test")
_SHARDS = 256


def open_stream(
    name: str,
    folder: Path | None,
    *,
    classes: int,
    train: Framing,
    test: Framing,
    workers: int | None = None,
) -> tuple[ImageStream, ImageStream]:
    """Training and test images of a dataset that does not fit in memory.

    Args:
        name: a key of :data:`isospike.data.SOURCES`.
        folder: with ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``, classes numbered in the order of their names; or
            with parquet files as on the hub; None streams from the hub.
        classes: how many there are.
        train: how training images are framed.
        test: how test images are framed.
        workers: processes that decode; None for one a core.

    Raises:
        DataError: a folder of another layout, another number of classes, or a hub that cannot be reached.
    """
    source = find_source(name)
    if folder is None:
        rows = _open_hub(name, source)
    elif not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; expected the images of {name!r}: check --data")
    elif (folder / "train").is_dir() and any(entry.is_dir() for entry in (folder / "train").iterdir()):
        rows = _open_images(folder, classes)
    else:
        rows = _open_parquet(name, source, folder)
    return ImageStream(rows[0], classes, train, workers), ImageStream(rows[1], classes, test, workers)


def _open_images(folder: Path, classes: int) -> tuple[Rows, Rows]:
    tests = [folder / name for name in _TESTS if (folder / name).is_dir()]
    if not tests:
        raise DataError(f"{folder}: found train, but no {' or '.join(_TESTS)}; expected images to test on")
    names = _list_folders(folder / "train")
    if len(names) != classes:
        raise DataError(
            f"{folder / 'train'}: has {len(names)} classes ({names[0]}, ...), expected {classes}: set data.classes="
            f"{len(names)}, or check --data"
        )
    unknown = sorted(set(_list_folders(tests[0])) - set(names))
    if unknown:
        raise DataError(f"{tests[0] / unknown[0]}: a class without training images; expected those of {folder}/train")
    return _list_images(folder / "train", names), _list_images(tests[0], names)


def _list_folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


def _list_images(folder: Path, names: list[str]) -> Rows:
    """All images by class; a path and a label are little enough to be in memory."""
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        place = folder / name
        found = [str(file) for file in place.iterdir() if file.suffix.lower() in _SUFFIXES] if place.is_dir() else []
        paths += sorted(found)
        labels += [label] * len(found)
    if not paths:
        raise DataError(f"{folder}: found no images in its {len(names)} classes, expected JPEG, PNG or WebP files")
    return _make_rows(str(folder), paths, labels)


def _make_rows(place: str, paths: list[str], labels: list[int]) -> Rows:
    def open_rows(epoch: int | None, seed: int) -> Any:
        import datasets

        rows = datasets.Dataset.from_dict({"image": paths, "label": labels})
        if epoch is not None:
            rows = rows.shuffle(seed=mix_seeds(seed, epoch), keep_in_memory=True)
        return rows.to_iterable_dataset(num_shards=min(len(rows), _SHARDS))

    def spread(n: int) -> Rows:
        chosen = [number * len(paths) // n for number in range(n)]
        return _make_rows(place, [paths[number] for number in chosen], [labels[number] for number in chosen])

    return Rows(place, len(paths), open_rows, spread)


def _open_parquet(name: str, source: Source, folder: Path) -> tuple[Rows, Rows]:
    import pyarrow.parquet

    tables = open_folder(name, source, folder)
    found = []
    for split, files in (("train", tables.train_files), (source.test_split, tables.test_files)):
        try:
            length = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: a parquet file cannot be read ({describe(error)}): copy it anew") from error
        found.append(Rows(f"{folder}: {split}", length, _stream_parquet([str(file) for file in files], folder)))
    return found[0], found[1]


def _stream_parquet(files: list[str], folder: Path) -> Any:
    def open_rows(epoch: int | None, seed: int) -> Any:
        import datasets

        try:
            with hold_tongue():
                rows = datasets.load_dataset("parquet", data_files={"all": files}, split="all", streaming=True)
                return _prepare(rows, str(folder), epoch, seed)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise DataError(f"{folder}: a parquet file cannot be read ({describe(error)}): copy it anew") from error

    return open_rows


def _open_hub(name: str, source: Source) -> tuple[Rows, Rows]:
    import datasets

    def stream(split: str) -> Any:
        return datasets.load_dataset(source.hub, source.config, split=split, streaming=True)

    found = []
    for split in ("train", source.test_split):
        try:
            with hold_tongue():
                length = stream(split).info.splits[split].num_examples
        except Exception as error:  # the hub's client raises what its transport does
            raise DataError(
                f"dataset {name!r}: {source.hub} cannot be streamed from the Hugging Face hub ({describe(error)}); "
                "expected a network and, for ImageNet, an account that has agreed to its terms: pass --data DIR, a "
                "folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG"
            ) from error
        found.append(Rows(f"{source.hub}: {split}", length, _open_split(stream, split, str(source.hub))))
    return found[0], found[1]


def _open_split(stream: Any, split: str, place: str) -> Any:
    return lambda epoch, seed: _prepare(stream(split), place, epoch, seed)


def _prepare(rows: Any, place: str, epoch: int | None, seed: int) -> Any:
    """Encoded images and labels under their usual names, shuffled for an epoch."""
    import datasets

    columns = rows.column_names or list(next(iter(rows.take(1))))
    for wanted, known in (("image", IMAGE_COLUMNS), ("label", LABEL_COLUMNS)):
        present = next((column for column in known if column in columns), None)
        if present is None:
            raise DataError(f"{place}: got the columns {', '.join(columns)}; expected one called {' or '.join(known)}")
        if present != wanted:
            rows = rows.rename_column(present, wanted)
    rows = rows.select_columns(["image", "label"]).cast_column("image", datasets.Image(decode=False))
    return rows if epoch is None else rows.shuffle(seed=mix_seeds(seed, epoch), buffer_size=BUFFER)
