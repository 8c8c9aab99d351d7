"""Whole files or none."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from isospike.errors import FileError
from isospike.files import read_json, read_tensors, write_bytes, write_json, write_tensors, write_text


def test_round_trips(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"a": [1, None]})
    assert read_json(tmp_path / "new" / "a.json") == {"a": [1, None]}
    write_text(tmp_path / "b.txt", "é\n")
    assert (tmp_path / "b.txt").read_text(encoding="utf-8") == "é\n"
    arrays = {"x": np.arange(6).reshape(2, 3).T, "y": np.array([0.1, -0.0])}
    write_tensors(tmp_path / "c.safetensors", arrays, {"key": "value"})
    found, metadata = read_tensors(tmp_path / "c.safetensors")
    assert metadata == {"key": "value"}
    assert all(found[name].tobytes() == array.tobytes() for name, array in arrays.items())
    assert found["x"].shape == (3, 2)


def test_files_are_readable_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "metrics.json"
    write_text(path, "old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif step == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        real_open = os.fdopen

        def open_full(descriptor: int, mode: str) -> object:
            os.close(descriptor)
            return real_open(os.open("/dev/full", os.O_WRONLY), mode)

        monkeypatch.setattr(os, "fdopen", open_full)
    with pytest.raises(FileError) as caught:
        write_text(path, "new" * 100_000)
    assert str(caught.value).startswith(f"{path}: cannot be written (No space left on device)")
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.json"]


def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.txt", "old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        write_bytes(tmp_path / "file" / "a.txt", b"a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="cannot be written"):
        write_bytes(tmp_path / "folder", b"a")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "does not parse"), (b"\xff\xfe", "does not parse"), (b"[1]", "expected a JSON object, got list")],
)
def test_json_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileError, match=message):
        read_json(tmp_path / "a.json")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"a.json: cannot be read \(No such file or directory\)"):
        read_json(tmp_path / "a.json")
