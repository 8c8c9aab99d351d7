"""benchmarks/export_c.py: which networks it takes, and what it says of them."""

import json
import sys
from pathlib import Path

import pytest

from isospike.errors import FileError
from isospike.zoo import find
from tests.scripts import load_script


def test_the_networks_that_may_be_named(tmp_path: Path) -> None:
    find_network = load_script("export_c").find_network
    assert find_network("all-integer-mnist") == ("all-integer-mnist", "mnist", find("all-integer-mnist").graph_path)
    run = tmp_path / "mine" / "snn.safetensors"
    assert find_network(f"digits={run}") == ("mine", "digits", run)  # named by the run, since every graph is an "snn"
    assert find_network(f"digits={tmp_path / 'other.safetensors'}")[0] == "other"
    with pytest.raises(FileError, match="all-integer-imagenet"):
        find_network("all-integer-imagenet")


def test_a_network_twice_is_refused_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark, out = load_script("export_c"), tmp_path / "out.json"
    monkeypatch.setattr(benchmark, "compare", lambda *_: {"different_logits": 0, "logits": 1})
    monkeypatch.setattr(benchmark, "read_images", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["export_c.py", "all-integer-mnist", "all-integer-mnist", "--out", str(out)])
    with pytest.raises(SystemExit) as stop:
        benchmark.main()
    assert stop.value.code == 2
    assert "expected another name than 'all-integer-mnist'" in capsys.readouterr().err
    assert not out.exists()


def test_totals_are_of_all_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark, out = load_script("export_c"), tmp_path / "out.json"
    found = {"images": 3, "logits": 60, "different_logits": 1, "flash_bytes": 500, "ram_bytes": 70}
    monkeypatch.setattr(benchmark, "compare", lambda *_: dict(found))
    monkeypatch.setattr(benchmark, "read_images", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["export_c.py", "--out", str(out)])
    benchmark.main()
    written = json.loads(out.read_text())
    assert [written[key] for key in ("images", "different_logits", "flash_bytes", "ram_bytes")] == [9, 3, 1500, 210]
    assert list(written["networks"]) == ["all-integer-mnist", "all-integer-cifar10", "srp-cifar10-resnet20-int8"]
    assert "all-integer-cifar10: 1 of 60 logits differ" in capsys.readouterr().out
