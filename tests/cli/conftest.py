"""A small trained run on the digits, copied for each test that wants to spoil it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isospike.cli.program import run

QUICK = ["--set", "train.epochs=3", "--set", "network.notation=8C3-P2-32", "--limit", "60"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a whole run; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert run(["run", "digits", "--out", str(folder), *QUICK]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of a whole run."""
    return Path(shutil.copytree(trained, tmp_path / "digits"))


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with exit code 2 and one line on standard error; gives that line."""

    def check(*arguments: object) -> str:
        code = run([str(argument) for argument in arguments])
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if not line.startswith("epoch ")]
        assert code == 2
        assert len(lines) == 1, error
        assert lines[0].startswith("isospike: ")
        return lines[0]

    return check
