"""``isospike convert --model``: a network of the user's own, from its file to the proof."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from isospike import load_graph
from isospike.cli.program import run
from isospike.data import load
from isospike.experiment import Options, RunFolder
from isospike.experiment.own_settings import check_options
from isospike.experiment.sampling import gather_material
from isospike.files import write_tensors
from isospike.graph import Activation, Rectifier
from isospike.networks import evaluate_capture

Fail = Callable[..., str]

FILE = """
import torch
from torch import nn

from beside import WIDTH


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        self.conv2 = nn.Conv2d(WIDTH, 8, 3, stride=2, padding=1)
        self.fc = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.conv2(x))
        return self.fc(x.flatten(1))


def build():
    return Net()


def fail():
    raise RuntimeError("no such thing")


SIZE = 3
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.py and weights that know the digits."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(FILE)
    (folder / "beside.py").write_text("WIDTH = 8\n")
    from isospike.experiment.own_network import build_own_network

    torch.manual_seed(0)
    model, train = build_own_network(f"{folder / 'net.py'}:build").train(), load("digits").train
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(6):
        for part in torch.randperm(len(train)).split(64):
            loss = cross_entropy(model(train.images[part] / 255), train.labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    torch.save(model.eval().state_dict(), folder / "weights.pt")
    write_tensors(folder / "weights.safetensors", {k: v.numpy() for k, v in model.state_dict().items()}, {})
    return folder


def command(own: Path, out: Path, method: str = "negative-spike", weights: str = "weights.pt", *more: str) -> list[str]:
    place = f"{own / 'net.py'}:build"
    return ["convert", "--model", place, "--weights", str(own / weights), "--in-shape", "1,8,8", "--method", method,
            "--dataset", "digits", "--out", str(out), *more]  # fmt: skip


def read_metrics(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def test_convert_evaluate_simulate_verify(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(own, tmp_path, "negative-spike", "weights.pt", "--set", "t_max=40", "--images", "100")) == 0
    shown = capsys.readouterr().out
    assert "calibrated: 32 levels by the 99.9th percentile per layer, on 100 training images" in shown
    assert f"next: isospike simulate --out {tmp_path}" in shown
    ann = load_graph(tmp_path / "ann.safetensors")
    assert [node.levels for node in ann if isinstance(node, Activation)] == [32, 32]
    captured = load_graph(tmp_path / "captured.safetensors")
    assert {"conv1", "bn1", "conv2", "fc"} <= {node.name for node in captured}
    assert any(isinstance(node, Rectifier) for node in captured)

    assert run(["evaluate", "--out", str(tmp_path)]) == 0
    assert run(["simulate", "--out", str(tmp_path), "--steps", "40"]) == 0
    assert run(["verify", "--out", str(tmp_path), "--limit", "100"]) == 0
    metrics = read_metrics(tmp_path)
    assert metrics["network"] == f"{own / 'net.py'}:build"
    assert metrics["conversion"]["calibration"]["levels"] == 32
    assert metrics["conversion"]["options"] == {"t_max": 40}
    assert metrics["steps"] == 40
    assert metrics["ann"]["accuracy_as_it_came"] > 0.9
    assert abs(metrics["ann"]["accuracy"] - metrics["ann"]["accuracy_as_it_came"]) < 0.01
    assert len(metrics["snn"]["accuracy"]) == 40
    assert abs(metrics["snn"]["accuracy"][-1] - metrics["ann"]["accuracy"]) < 0.01
    assert metrics["verify"]["mismatches"] == 0
    assert metrics["verify"]["images"] == 100
    assert len((tmp_path / "logs" / "accuracy.txt").read_text().split()) == 2 * 40


def test_the_stored_capture_is_the_network(own: Path, tmp_path: Path) -> None:
    from isospike.experiment.own_network import build_own_network, load_weights

    assert run(command(own, tmp_path / "a")) == 0
    assert run(command(own, tmp_path / "b", "negative-spike", "weights.safetensors")) == 0
    model = build_own_network(f"{own / 'net.py'}:build")
    load_weights(model, own / "weights.pt")
    images = load("digits").test.images[:20]
    expected = model(images / 255)
    for name in ("a", "b"):
        found = evaluate_capture(load_graph(tmp_path / name / "captured.safetensors"), images)
        assert torch.allclose(found, expected, atol=1e-4)
    assert (tmp_path / "a/snn.safetensors").read_bytes() == (tmp_path / "b/snn.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        (["--mean", "0.3", "--std", "0.25"], lambda p: (p / 255 - 0.3) / 0.25),
        (["--pixels", "20/64"], lambda p: (p.float() - 20) / 64),
        (["--std", "0.5"], lambda p: p / 255 / 0.5),
    ],
)
def test_pixels_are_folded_in(own: Path, tmp_path: Path, options: list[str], scale: Callable[..., Any]) -> None:
    from isospike.experiment.own_network import build_own_network, load_weights

    assert run(command(own, tmp_path, "percentile", "weights.pt", *options)) == 0
    model = build_own_network(f"{own / 'net.py'}:build")
    load_weights(model, own / "weights.pt")
    images = load("digits").test.images[:20]
    found = evaluate_capture(load_graph(tmp_path / "captured.safetensors"), images)
    assert torch.allclose(found, model(scale(images)), atol=1e-3)


def test_a_method_that_measures_by_itself_keeps_the_relu(own: Path, tmp_path: Path, fail: Fail) -> None:
    assert run(command(own, tmp_path, "percentile", "weights.pt", "--set", "norm=50", "--set", "t_max=30")) == 0
    assert read_metrics(tmp_path)["conversion"]["calibration"] is None
    assert any(isinstance(node, Rectifier) for node in load_graph(tmp_path / "ann.safetensors"))
    assert run(["simulate", "--out", str(tmp_path), "--limit", "50"]) == 0
    assert run(["evaluate", "--out", str(tmp_path), "--limit", "50"]) == 0
    metrics = read_metrics(tmp_path)
    assert metrics["ann"]["accuracy"] == metrics["ann"]["accuracy_as_it_came"]
    assert metrics["snn"]["accuracy"][-1] > 0.8
    assert "percentile" in fail("verify", "--out", tmp_path)


def test_a_graph_alone_is_simulated(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(own, tmp_path / "a")) == 0
    graph = str(tmp_path / "a" / "snn.safetensors")
    capsys.readouterr()
    assert run(["simulate", "--graph", graph, "--dataset", "digits", "--limit", "20", "--steps", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert (
        run(["simulate", "--graph", graph, "--dataset", "digits", "--limit", "20", "--out", str(tmp_path / "b")]) == 0
    )
    metrics = read_metrics(tmp_path / "b")
    assert metrics["snn"]["images"] == 20
    assert (tmp_path / "b" / "logs" / "accuracy.txt").is_file()


def test_a_folder_of_ones_own_images(
    own: Path, tmp_path: Path, fail: Fail, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.data.folders import encode, write_parquet

    monkeypatch.setenv("ISOSPIKE_CACHE", "off")
    digits = load("digits")
    for split, images in (("train", digits.train.first(60)), ("validation", digits.test.first(30))):
        encoded = [encode(image[0].numpy()) for image in images.images]
        write_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet", encoded, images.labels.tolist())
    out = tmp_path / "out"
    arguments = command(own, out)
    place = arguments.index("--dataset")
    arguments[place : place + 2] = ["--data", str(tmp_path / "data")]
    assert run(arguments) == 0
    assert run(["evaluate", "--out", str(out), "--data", str(tmp_path / "data")]) == 0
    assert read_metrics(out)["ann"]["images"] == 30
    assert read_metrics(out)["dataset"] == "data"
    capsys.readouterr()  # datasets has shown how it writes
    assert "--data" in fail("evaluate", "--out", out)


def test_nothing_in_a_pickle_is_executed(own: Path, tmp_path: Path, fail: Fail) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    with (own / "trap.pt").open("wb") as stream:
        pickle.dump(Trap(), stream)
    line = fail(*command(own, tmp_path / "out", "negative-spike", "trap.pt"))
    assert "plain tensors" in line
    torch.save({"state_dict": Trap()}, own / "trap.pt")
    assert "plain tensors" in fail(*command(own, tmp_path / "out", "negative-spike", "trap.pt"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("wrap", ["state_dict", "module.", "_orig_mod."])
def test_wrapped_state_dicts(own: Path, tmp_path: Path, wrap: str) -> None:
    state = torch.load(own / "weights.pt", weights_only=True)
    wrapped = {wrap: state} if wrap == "state_dict" else {f"{wrap}{name}": value for name, value in state.items()}
    torch.save(wrapped, own / "wrapped.pt")
    assert run(command(own, tmp_path / "a")) == 0
    assert run(command(own, tmp_path / "b", "negative-spike", "wrapped.pt")) == 0
    assert (tmp_path / "a/snn.safetensors").read_bytes() == (tmp_path / "b/snn.safetensors").read_bytes()


def test_a_single_number_is_no_vector_and_a_number_no_name(own: Path, tmp_path: Path, fail: Fail) -> None:
    state = torch.load(own / "weights.pt", weights_only=True)
    torch.save({**state, "conv2.bias": torch.zeros(1)}, own / "single.pt")
    assert "conv2.bias is (1,)" in fail(*command(own, tmp_path, "counting", "single.pt"))
    torch.save({0: torch.zeros(3)}, own / "numbered.pt")
    assert "state dict" in fail(*command(own, tmp_path, "counting", "numbered.pt"))


def test_weights_of_another_network(own: Path, tmp_path: Path, fail: Fail) -> None:
    state = torch.load(own / "weights.pt", weights_only=True)
    del state["conv2.bias"]
    state["conv1.weight"] = torch.zeros(8, 1, 5, 5)
    state["conv9.weight"] = torch.zeros(3)
    torch.save(state, own / "other.pt")
    line = fail(*command(own, tmp_path, "negative-spike", "other.pt"))
    for words in ("missing: conv2.bias", "unknown: conv9.weight", "conv1.weight is (8, 1, 5, 5) for (8, 1, 3, 3)"):
        assert words in line
    torch.save(nn.Linear(2, 2), own / "whole.pt")
    assert "plain tensors" in fail(*command(own, tmp_path, "negative-spike", "whole.pt"))
    torch.save([1, 2], own / "list.pt")
    assert "state dict" in fail(*command(own, tmp_path, "negative-spike", "list.pt"))
    assert "no such file" in fail(*command(own, tmp_path, "negative-spike", "nowhere.pt"))
    (own / "half.safetensors").write_bytes((own / "weights.safetensors").read_bytes()[:100])
    assert "half.safetensors" in fail(*command(own, tmp_path, "negative-spike", "half.safetensors"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--model": "net.py"}, "FILE.py:function"),
        ({"--model": "nowhere.py:build"}, "there is no file"),
        ({"--model": "{own}/net.py:biuld"}, "did you mean 'build'"),
        ({"--model": "{own}/net.py:fail"}, "RuntimeError: no such thing"),
        ({"--model": "{own}/net.py:SIZE"}, "is a int, expected a function"),
        ({"--model": "{own}/broken.py:build"}, "cannot be run: SyntaxError"),
        ({"--model": "{own}/net.py:torch.nn"}, "nothing called 'torch.nn'"),
        ({"--in-shape": "8,8"}, "--in-shape"),
        ({"--in-shape": "1,eight,8"}, "--in-shape"),
        ({"--in-shape": "1,nan,8"}, "--in-shape"),
        ({"--in-shape": "1,inf,8"}, "--in-shape"),
        ({"--in-shape": "3,8,8"}, "conv1"),
        ({"--method": "magic"}, "unknown method 'magic'"),
        ({"--dataset": "minst"}, "mnist"),
        ({"--dataset": None}, "--data"),
        ({"--levels": "0"}, "levels"),
        ({"--criterion": "max"}, "criterion"),
        ({"--set": "t_macks=3"}, "t_max"),
        ({"--set": "t_max=many"}, "t_max"),
        ({"--pixels": "3"}, "--pixels"),
        ({"--pixels": "1,2,3/64"}, "--pixels"),
        ({"--mean": "a"}, "--mean"),
        ({"--mean": "1,2", "--std": "1,2"}, "1 channels"),
        ({"--pixels": "0/64", "--std": "1"}, "both"),
        ({"--in-shape": None}, "--in-shape"),
    ],
)
def test_bad_input_is_one_line(
    own: Path, tmp_path: Path, fail: Fail, change: dict[str, str | None], words: str
) -> None:
    (own / "broken.py").write_text("def build(:\n")
    arguments = command(own, tmp_path / "out")
    for option, value in change.items():
        if option in arguments:
            place = arguments.index(option)
            del arguments[place : place + 2]
        if value is not None:
            arguments += [option, value.replace("{own}", str(own))]
    assert words in fail(*arguments)
    assert not (tmp_path / "out" / "snn.safetensors").exists()


def test_options_of_ones_own_network_without_one(fail: Fail, folder: Path, own: Path) -> None:
    assert "--model" in fail("convert", "--out", folder, "--method", "counting")
    assert "choose another --out" in fail(*command(own, folder))
    assert "--graph" in fail("simulate")


def test_a_recipe_does_not_take_its_place(fail: Fail, own: Path, tmp_path: Path) -> None:
    assert run(command(own, tmp_path)) == 0
    kept = (tmp_path / "metrics.json").read_text()
    assert "a network of one's own" in fail("train", "digits", "--out", tmp_path)
    assert (tmp_path / "metrics.json").read_text() == kept


def test_options_are_taken_as_what_they_are() -> None:
    taken = check_options("calibrated", {"correct_bias": "False", "norm": 64.0}, seed=1)
    assert taken["correct_bias"] is False
    assert (taken["norm"], type(taken["norm"]), taken["seed"]) == (64, int, 1)
    assert check_options("counting", {"limit": "none"}, seed=0) == {"limit": None}


def test_noise_is_on_the_images_of_every_command(own: Path, tmp_path: Path) -> None:
    assert run(command(own, tmp_path, "negative-spike", "weights.pt", "--set", "t_max=200")) == 0
    noisy = ["--set", "noise.input=3.9", "--limit", "200"]
    assert run(["evaluate", "--out", str(tmp_path), *noisy]) == 0
    assert run(["simulate", "--out", str(tmp_path), *noisy]) == 0
    assert run(["verify", "--out", str(tmp_path), *noisy]) == 0
    metrics = read_metrics(tmp_path)
    assert metrics["snn"]["accuracy"][-1] == metrics["ann"]["accuracy"] < 0.9
    assert metrics["noise"]["input"] == 3.9
    material = gather_material(RunFolder(tmp_path), Options(None, "cpu", 200))
    assert material.noise.input == 3.9


def test_another_method_takes_along_what_was_made_of_the_old_network(own: Path, tmp_path: Path) -> None:
    assert run(command(own, tmp_path, "negative-spike", "weights.pt", "--set", "t_max=200")) == 0
    (tmp_path / "robustness.json").write_text("{}")
    assert run(command(own, tmp_path, "negative-spike", "weights.pt", "--set", "t_max=200")) == 0
    assert (tmp_path / "robustness.json").is_file()
    assert run(command(own, tmp_path, "counting", "weights.pt", "--set", "t_max=200")) == 0
    assert not (tmp_path / "robustness.json").exists() and (tmp_path / "snn.safetensors").is_file()


def test_noise_is_drawn_anew_for_each_seed(own: Path, tmp_path: Path) -> None:
    assert run(command(own, tmp_path, "negative-spike", "weights.pt", "--set", "t_max=200")) == 0
    options = ["--set", "noise.input=3.9", "--set", "noise.seeds=3", "--limit", "100"]
    for stage in ("evaluate", "simulate"):
        assert run([stage, "--out", str(tmp_path), *options]) == 0
    metrics = read_metrics(tmp_path)
    assert metrics["snn"]["accuracy"][-1] == pytest.approx(metrics["ann"]["accuracy"])
    assert metrics["ann"]["accuracy_spread"] > 0
