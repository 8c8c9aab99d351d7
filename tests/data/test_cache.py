from pathlib import Path

import pytest
import torch

from isospike.data import Dataset, load
from isospike.data.decoding import decode_split

from .folders import write_mnist


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_mnist(tmp_path)
    return tmp_path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one for each split that is decoded."""
    calls: list[str] = []

    def watch(tables: object, source: object, place: str) -> object:
        calls.append(place)
        return decode_split(tables, source, place)  # type: ignore[arg-type]

    monkeypatch.setattr("isospike.data.loading.decode_split", watch)
    return calls


def same(left: Dataset, right: Dataset) -> bool:
    return all(
        torch.equal(mine, yours)
        for one, other in ((left.train, right.train), (left.test, right.test))
        for mine, yours in ((one.images, other.images), (one.labels, other.labels))
    )


def find_kept(home: Path) -> list[Path]:
    return list(home.rglob("*.safetensors"))


def test_images_are_decoded_once(folder: Path, decoded: list[str], private_cache: Path) -> None:
    first = load("mnist", folder)
    assert same(load("mnist", folder), first)
    assert len(decoded) == 2
    assert [path.parent for path in find_kept(private_cache)] == [private_cache / "isospike"]


def test_changed_files_are_decoded_again_and_replace_what_was_kept(
    folder: Path, decoded: list[str], private_cache: Path
) -> None:
    load("mnist", folder)
    write_mnist(folder, n=15)
    assert len(load("mnist", folder).train) == 10
    assert len(decoded) == 4
    assert len(find_kept(private_cache)) == 1


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_cache_is_decoded_again(folder: Path, decoded: list[str], private_cache: Path, damage: str) -> None:
    first = load("mnist", folder)
    (kept,) = find_kept(private_cache)
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes({"truncate": bytes(content[:-5]), "flip": bytes(content), "empty": b""}[damage])
    assert same(load("mnist", folder), first)
    assert len(decoded) == 4
    assert same(load("mnist", folder), first)
    assert len(decoded) == 4


def test_the_cache_can_be_switched_off(
    folder: Path, decoded: list[str], private_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOSPIKE_CACHE", "off")
    load("mnist", folder)
    load("mnist", folder)
    assert (len(decoded), find_kept(private_cache)) == (4, [])


def test_a_cache_that_cannot_be_written_stops_nothing(
    folder: Path, private_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (private_cache / "isospike").write_text("a file where the folder should be")
    assert len(load("mnist", folder).train) == 8
    assert "not kept" in caplog.text
