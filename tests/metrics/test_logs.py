"""The six log files: format, way back, and what a foreign folder may hold."""

from pathlib import Path

import numpy as np
import pytest

from isospike.errors import FileError
from isospike.metrics import LOGS, RunLogs, read_logs, write_logs


def make_logs() -> RunLogs:
    """Two batches (of 4 and 2 images) over three steps."""
    step = np.array([[5.0, 3.0, 1.0], [2.0, 2.0, 0.0]])
    net = np.array([[5.0, 1.0, -1.0], [2.0, 0.0, 0.0]])
    return RunLogs(
        steps=3,
        batch_size=4,
        images=6,
        accuracy=np.array([[1.0, 3.0, 4.0], [0.0, 1.0, 2.0]]),
        spike_num=step.cumsum(1),
        spike_collect=net.cumsum(1),
        sop_num=np.array([[50.0, 80.0, 90.0], [20.0, 40.0, 40.0]]),
        abs_spike=step,
        sum_spike=net,
    )


def test_files_are_one_number_a_line_batch_by_batch(tmp_path: Path) -> None:
    write_logs(make_logs(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.txt" for name in LOGS)
    assert (tmp_path / "accuracy.txt").read_text() == "1\n3\n4\n0\n1\n2\n"
    assert (tmp_path / "spike_num.txt").read_text() == "5\n8\n9\n2\n4\n4\n"
    assert (tmp_path / "sum_spike.txt").read_text() == "5\n1\n-1\n2\n0\n0\n"


def test_logs_read_back_with_steps_inferred(tmp_path: Path) -> None:
    written = make_logs()
    write_logs(written, tmp_path)
    found = read_logs(tmp_path, batch_size=4, images=6)
    assert found.steps == 3
    assert found.batches == 2
    for (name, values), (other, expected) in zip(found, written, strict=True):
        assert name == other
        assert np.array_equal(values, expected)
    assert found.mean_per_image("accuracy") == [1 / 6, 4 / 6, 1.0]
    assert found.mean_per_image("sop_num") == [70 / 6, 20.0, 130 / 6]


def test_steps_are_inferred_after_a_silent_beginning(tmp_path: Path) -> None:
    step = np.array([[0.0, 0.0, 4.0, 1.0, 0.0], [0.0, 3.0, 0.0, 0.0, 2.0]])
    write_logs(RunLogs(5, spike_num=step.cumsum(1), abs_spike=step), tmp_path)
    assert read_logs(tmp_path).steps == 5


def test_steps_are_inferred_where_there_is_one(tmp_path: Path) -> None:
    step = np.array([[4.0], [3.0], [0.0]])
    write_logs(RunLogs(1, spike_num=step, abs_spike=step), tmp_path)
    assert read_logs(tmp_path).steps == 1


def test_totals_in_single_precision_are_sums_too(tmp_path: Path) -> None:
    step = np.array([2.0**24, 1, 1, 2])  # in float32 2^24 + 1 is 2^24
    total = np.array([2.0**24, 2.0**24, 2.0**24, 2.0**24 + 2])
    for name, values in (("spike_num", total), ("abs_spike", step)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{value}\n" for value in values))
    assert read_logs(tmp_path).steps == 4


def test_floats_and_some_of_the_files_are_enough(tmp_path: Path) -> None:
    (tmp_path / "sop_num.txt").write_text("4072268.0\n5000000.0\n4000000.5\n6e6\n")
    found = read_logs(tmp_path, steps=2, batch_size=100)
    assert found.accuracy is None
    assert found.images == 200
    assert found.mean_per_image("sop_num") == [(4072268.0 + 4000000.5) / 200, 55000.0]
    assert found.mean_per_image("accuracy") is None


@pytest.mark.parametrize(
    ("files", "steps", "words"),
    [
        ({}, None, "accuracy.txt"),
        ({"sop_num": "1\n2\n"}, None, "--steps"),
        ({"sop_num": "1\n2\n3\n"}, 2, "--steps"),
        # batches of 3 and of 2 steps; then totals that are not of these steps
        ({"spike_num": "5\n8\n9\n2\n4\n", "abs_spike": "5\n3\n1\n2\n2\n"}, None, "cannot be inferred.*--steps"),
        ({"spike_num": "5\n8\n10\n", "abs_spike": "5\n3\n1\n"}, None, "cannot be inferred.*--steps"),
        ({"sop_num": ""}, None, "empty logs"),
        ({"sop_num": "1\ntwo\n"}, 2, "'two'"),
        ({"sop_num": "1\nnan\n"}, 2, "NaN"),
        ({"sop_num": "1\n2\n", "accuracy": "1\n"}, 1, "different numbers of lines"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: dict[str, str], steps: int | None, words: str) -> None:
    for name, content in files.items():
        (tmp_path / f"{name}.txt").write_text(content)
    with pytest.raises(FileError, match=words):
        read_logs(tmp_path, steps=steps)


@pytest.mark.parametrize("name", ["steps", "batch_size", "images"])
@pytest.mark.parametrize("number", [-3, 0, 2.5, True, "4"])
def test_numbers_of_steps_and_images_are_whole_and_above_0(tmp_path: Path, name: str, number: object) -> None:
    write_logs(make_logs(), tmp_path)
    with pytest.raises(
        FileError, match=f"^read_logs: {name}: expected a whole number of at least 1, .* got {number!r}$"
    ):
        read_logs(tmp_path, **{name: number})  # type: ignore[arg-type]
