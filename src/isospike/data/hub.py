"""Encoded images from the Hugging Face hub, or from what was downloaded from it before."""

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from isospike.data.sources import Source
from isospike.data.tables import ROWS_AT_A_TIME, Tables, describe, hold_tongue
from isospike.errors import DataError

PATIENCE = 5.0
"""Seconds to wait for the hub's first answer."""


def open_hub(name: str, source: Source) -> Tables:
    """Download a dataset from the hub, into the hub's own cache; what is there already is not downloaded again.

    Without a network (or with ``HF_HUB_OFFLINE=1``) only that cache is read.

    Raises:
        DataError: the hub cannot be reached and the dataset is not in the cache, or the hub refuses.
    """
    import datasets

    if source.hub is None:
        raise DataError(f"dataset {name!r}: it is not on the hub; expected one that is: leave --data out")
    try:
        with hold_tongue(), _fall_back_offline():
            train, test = (
                datasets.load_dataset(source.hub, source.config, split=split) for split in ("train", source.test_split)
            )
    except (OSError, ValueError, datasets.exceptions.DatasetsError, *_find_transport_errors()) as error:
        raise DataError(
            f"dataset {name!r}: {source.hub} cannot be had from the Hugging Face hub ({describe(error)}); expected a "
            "network or an earlier download: pass --data DIR, a folder of parquet files in the hub's layout"
        ) from error
    files = tuple(Path(file["filename"]) for split in (train, test) for file in split.cache_files)
    return Tables(files, lambda: _read_rows(train), lambda: _read_rows(test))


def _read_rows(split: Any) -> Iterator[Any]:
    yield from split.with_format("arrow").iter(batch_size=ROWS_AT_A_TIME)


@contextmanager
def _fall_back_offline() -> Iterator[None]:
    """Where the hub cannot be reached, go offline at once: the hub's client retries for half a minute and more."""
    import datasets
    from huggingface_hub import constants

    logger = logging.getLogger("huggingface_hub")
    modes, level = (constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE), logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        if not constants.HF_HUB_OFFLINE and not _reach(constants.ENDPOINT):
            constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = modes
        logger.setLevel(level)


def _find_transport_errors() -> tuple[type[BaseException], ...]:
    # The hub's client changed its transport library twice; its own error has always derived from that library's.
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__


def _reach(address: str) -> bool:
    try:
        with urlopen(Request(address, method="HEAD"), timeout=PATIENCE):
            return True
    except HTTPError:
        return True
    except URLError as error:
        # The hub's client may trust other certificates than Python does: let it try.
        return isinstance(error.reason, ssl.SSLError)
    except OSError:
        return False
