from pathlib import Path

import datasets
import pytest


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test starts with no decoded images kept, and leaves none in the home of who runs it."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.delenv("ISOSPIKE_CACHE", raising=False)
    return home


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    datasets.disable_progress_bars()
