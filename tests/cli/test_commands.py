"""The commands as a script sees them: files, exit codes, output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isospike.cli.program import run
from isospike.experiment import RunFolder, list_recipes
from isospike.experiment.provenance import describe_machine
from isospike.files import read_tensors, write_tensors
from isospike.metrics import read_logs

from .conftest import QUICK

KEYS = ["recipe", "dataset", "network", "method", "steps", "seed", "versions", "seconds", "ann", "snn", "verify"]


def spoil(folder: Path, ending: str, change: object, layer: str | None = None) -> str:
    """Change the first tensor of snn.safetensors that ends so; gives its layer's name."""
    tensors, metadata = read_tensors(folder / "snn.safetensors")
    name = next(name for name in tensors if name.endswith(ending) and (layer is None or name.startswith(layer)))
    tensors[name] = change(tensors[name].copy())  # type: ignore[operator]
    write_tensors(folder / "snn.safetensors", tensors, metadata)
    return name.removesuffix(ending)


def test_run_leaves_the_documented_files_and_metrics(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    assert [key for key in metrics if key in KEYS] == KEYS
    assert metrics["training"]["machine"] == metrics["versions"]["machine"] == describe_machine("cpu")
    assert metrics["recipe"] == "digits"
    assert metrics["method"] == "all-integer"
    assert metrics["steps"] == 8
    assert set(metrics["ann"]) == {"accuracy", "accuracy_float32", "macs_per_image", "images"}
    for series in ("accuracy", "spikes_per_image", "sops_per_image", "settled"):
        assert len(metrics["snn"][series]) == metrics["steps"]
    assert metrics["verify"]["images"] == 60
    assert metrics["verify"]["mismatches"] == 0
    assert metrics["verify"]["unsettled"] == 0
    assert metrics["snn"]["accuracy"][-1] == metrics["ann"]["accuracy"]
    assert metrics["seconds"] > 0
    for name in ("recipe.toml", "model.safetensors", "snn.safetensors"):
        assert (trained / name).is_file()


def test_stages_one_by_one_give_what_run_gives(folder: Path, trained: Path) -> None:
    before = json.loads((trained / "metrics.json").read_text())
    for name in ("snn.safetensors", "metrics.json"):
        (folder / name).unlink()
    for stage in ("evaluate", "convert", "simulate", "verify"):
        assert run([stage, "--out", str(folder), "--limit", "60"]) == 0
    after = json.loads((folder / "metrics.json").read_text())
    for section in ("ann", "snn", "verify"):
        assert after[section] == before[section]
    assert (folder / "snn.safetensors").read_bytes() == (trained / "snn.safetensors").read_bytes()


def test_a_run_again_goes_on_from_the_checkpoint_to_the_same_weights(folder: Path, trained: Path) -> None:
    assert run(["train", str(folder / "recipe.toml"), "--out", str(folder), "--limit", "60"]) == 0
    assert (folder / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("ending", "change", "named"),
    [
        (".threshold", lambda array: array + 40, None),
        (".weight", lambda array: -array, "pool1"),
        (".weight", lambda array: array + (array == array.max()), "classifier"),
    ],
)
def test_verify_names_the_spoilt_layer_and_exits_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str], ending: str, change: object, named: str | None
) -> None:
    layer = spoil(folder, ending, change, named)
    capsys.readouterr()
    assert run(["verify", "--out", str(folder), "--limit", "60"]) == 1
    shown = capsys.readouterr().out
    assert f"differs: {layer}: stored tensors" in shown
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["verify"]["differing_tensors"] == [layer]


def test_verify_counts_mismatches_where_a_layer_computes_something_else(folder: Path) -> None:
    spoil(folder, ".weight", lambda array: -array, "pool1")
    assert run(["verify", "--out", str(folder), "--limit", "60"]) == 1
    found = json.loads((folder / "metrics.json").read_text())["verify"]
    assert found["mismatches"] > 0
    assert "pool1.neuron" in found["differing_layers"]


def test_recipes_piped_are_one_line_each_name_first() -> None:
    result = subprocess.run([sys.executable, "-m", "isospike", "recipes"], capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == list_recipes()
    assert all(len(line.split("\t")) == 5 for line in lines)
    assert len(lines) >= 11


def test_full_precision_twin_trains_and_says_that_there_is_nothing_to_convert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = ["--set", "quantise.levels=none", "--set", "quantise.weights=float", "--set", "train.epochs=1"]
    assert run(["run", "digits", "--out", str(tmp_path), "--limit", "20", *twin]) == 0
    assert "nothing to convert" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["snn"] is None
    assert metrics["ann"]["accuracy"] == metrics["ann"]["accuracy_float32"]
    assert run(["convert", "--out", str(tmp_path)]) == 2


def test_two_processes_give_the_accuracy_of_one(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29611"]
    subprocess.run(
        [*launch, "-m", "isospike", "evaluate", "--out", str(folder), "--limit", "60"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=180,
    )
    assert json.loads((folder / "metrics.json").read_text())["ann"] == metrics["ann"]


def test_ctrl_c_leaves_what_was_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, trained: Path
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isospike.experiment.sharing.simulate", interrupt)
    assert run(["simulate", "--out", str(folder), "--limit", "60"]) == 130
    assert "interrupted" in capsys.readouterr().err
    for name in ("metrics.json", "snn.safetensors", "model.safetensors"):
        assert (folder / name).read_bytes() == (trained / name).read_bytes()


def test_the_six_logs_give_the_metrics(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    logs = read_logs(folder / "logs", images=metrics["verify"]["images"])
    assert logs.steps == metrics["steps"]
    assert logs.mean_per_image("accuracy") == metrics["snn"]["accuracy"]
    assert logs.mean_per_image("spike_num") == metrics["snn"]["spikes_per_image"]
    assert logs.mean_per_image("sop_num") == metrics["snn"]["sops_per_image"]
    assert logs.abs_spike is not None
    assert logs.sum_spike is not None
    assert logs.spike_collect is not None
    assert (logs.abs_spike >= abs(logs.sum_spike)).all()
    assert (logs.sum_spike.cumsum(1) == logs.spike_collect).all()


def test_layers_add_up_to_the_totals(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    hidden = metrics["layers"][1:-1]
    spikes = sum(layer["positive"][-1] + layer["negative"][-1] for layer in hidden)
    assert spikes == pytest.approx(metrics["snn"]["spikes_per_image"][-1])
    assert sum(layer["sops"][-1] for layer in hidden) == pytest.approx(metrics["snn"]["sops_per_image"][-1])
    assert metrics["layers"][0]["sops"] is None
    assert metrics["layers"][-1]["positive"] is None


def test_counting_options(folder: Path) -> None:
    plain = json.loads((folder / "metrics.json").read_text())
    layers = plain["layers"]
    assert run(["simulate", "--out", str(folder), "--limit", "60", "--sops", "negative-spike", "--count-encoder"]) == 0
    counted = json.loads((folder / "metrics.json").read_text())["snn"]
    more = [a + b for a, b in zip(plain["snn"]["sops_per_image"], layers[-1]["sops"], strict=True)]
    assert counted["sops_per_image"] == pytest.approx(more)
    encoder = [a + b for a, b in zip(layers[0]["positive"], layers[0]["negative"], strict=True)]
    both = [a + b for a, b in zip(plain["snn"]["spikes_per_image"], encoder, strict=True)]
    assert counted["spikes_per_image"] == pytest.approx(both)
    assert run(["simulate", "--out", str(folder), "--limit", "60", "--sops", "scatter-gather"]) == 2


def test_noise_gives_mean_and_spread_over_seeds_and_nothing_to_verify(folder: Path) -> None:
    noisy = ["--limit", "60", "--set", "noise.encoder_drop=0.5", "--set", "noise.seeds=3"]
    assert run(["simulate", "--out", str(folder), *noisy]) == 0
    assert run(["verify", "--out", str(folder), *noisy]) == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["noise"]["seeds"] == [0, 1, 2]
    assert len(metrics["snn"]["accuracy_spread"]) == metrics["steps"]
    assert max(metrics["snn"]["accuracy_spread"]) > 0
    assert metrics["verify"] is None
    assert metrics["snn"]["accuracy"][-1] != metrics["ann"]["accuracy"]


def test_noisy_input_is_still_proved_equal(folder: Path) -> None:
    clean = json.loads((folder / "metrics.json").read_text())["ann"]["accuracy_float32"]
    noisy = ["--limit", "60", "--set", "noise.input=1.9"]
    for stage in ("evaluate", "simulate", "verify"):
        assert run([stage, "--out", str(folder), *noisy]) == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["verify"]["mismatches"] == 0
    assert metrics["snn"]["accuracy"][-1] == metrics["ann"]["accuracy"]
    assert metrics["ann"]["accuracy_float32"] != clean


def test_a_proof_stays_while_the_noise_is_the_same(folder: Path) -> None:
    assert run(["convert", "--out", str(folder)]) == 0
    assert run(["verify", "--out", str(folder), "--limit", "20"]) == 0
    assert run(["simulate", "--out", str(folder), "--limit", "20"]) == 0
    assert RunFolder(folder).read_metrics()["verify"]["images"] == 20
    assert run(["simulate", "--out", str(folder), "--limit", "20", "--set", "noise.input=1.0"]) == 0
    assert RunFolder(folder).read_metrics()["verify"] is None


def test_training_again_keeps_the_time_that_training_took(folder: Path) -> None:
    assert run(["train", "digits", "--out", str(folder), *QUICK]) == 0
    metrics = RunFolder(folder).read_metrics()
    assert metrics["stage_seconds"]["train"] >= metrics["training"]["seconds"]


def test_a_network_without_hidden_layers(tmp_path: Path) -> None:
    settings = ["--set", "network.notation=P2", "--set", "network.pool=avg", "--set", "train.epochs=1"]
    assert run(["run", "digits", "--out", str(tmp_path), "--limit", "30", *settings]) == 0
    metrics = RunFolder(tmp_path).read_metrics()
    assert metrics["verify"]["mismatches"] == 0
    assert metrics["activity"]["neurons"] == 0
    assert metrics["snn"]["accuracy"][-1] == metrics["ann"]["accuracy"]
    assert run(["stress", str(tmp_path), "--limit", "5", "--seeds", "1"]) == 0
