"""What metrics say of the machine."""

import os
from pathlib import Path

import pytest

from isospike.experiment import provenance
from isospike.experiment.provenance import describe_machine, read_versions


def test_the_machine_is_named_with_the_cores_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text(
        "processor\t: 0\nmodel name\t: Abacus 9000: the fast one\n\nprocessor\t: 1\nmodel name\t: Other\n"
    )
    monkeypatch.setattr(provenance, "_PROCESSORS", listing)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert describe_machine("cpu") == "Abacus 9000: the fast one, 3 cores"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5}, raising=False)
    assert describe_machine("cpu") == "Abacus 9000: the fast one, 1 core"


@pytest.mark.parametrize("content", [None, "", "model name\t:\n", "Processor\t: rev 1\n"])
def test_a_processor_that_does_not_say_its_name_is_called_by_its_architecture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    listing = tmp_path / "cpuinfo"
    if content is not None:
        listing.write_text(content)
    monkeypatch.setattr(provenance, "_PROCESSORS", listing)
    monkeypatch.setattr(provenance.platform, "processor", lambda: "")
    monkeypatch.setattr(provenance.platform, "machine", lambda: "riscv64")
    assert describe_machine("cpu").startswith("riscv64, ")


def test_versions_name_the_machine() -> None:
    assert read_versions()["machine"] == describe_machine("cpu")
