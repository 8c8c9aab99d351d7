import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isospike.data import load
from isospike.errors import DeviceError, TrainingError
from isospike.training import TrainingConfig, evaluate, start_accelerator, train
from isospike.training.processes import gather_sum, leave_processes, own_slice

from .nets import build_net

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from isospike.data import load
from isospike.training import TrainingConfig, evaluate, leave_processes, start_accelerator, train
from isospike.training.pruning import Pruning
sys.path.insert(0, sys.argv[2])
from nets import build_net

torch.set_num_threads(1)
folder = Path(sys.argv[1])
accelerator = start_accelerator("cpu")
digits, untrained, net = load("digits"), build_net(width=16), build_net(seed=accelerator.process_index, width=16)
config = TrainingConfig(epochs=4, batch_size=65, learning_rate=0.01, prune_images=0.5)
before = evaluate(untrained, digits.test, batch_size=7)
accuracies = []
losses = train(
    net, digits.train, config, folder=folder / "run",
    on_epoch=lambda report: accuracies.append(evaluate(net, digits.test, batch_size=7)),
)
flat = torch.cat([value.double().flatten() for value in net.state_dict().values()])
seen = accelerator.gather(flat[None])
pruning = Pruning(3, config)
pruning.record(torch.tensor([0, 1 + accelerator.process_index]), torch.tensor([1.0, 2.0]) + accelerator.process_index)
pruning.finish_epoch(accelerator)
outcome = {
    "processes": accelerator.num_processes,
    "before": before,
    "accuracies": accuracies,
    "alike": bool((seen == seen[0]).all()),
    "losses": [report.loss for report in losses],
    "noted": accelerator.gather(pruning.losses[None]).tolist(),
}
if accelerator.is_main_process:
    torch.save(net.state_dict(), folder / "net.pt")
    (folder / "outcome.json").write_text(json.dumps(outcome))
leave_processes()
"""

CONFIG = TrainingConfig(epochs=4, batch_size=65, learning_rate=0.01, prune_images=0.5)


@dataclass(frozen=True)
class Launch:
    folder: Path
    outcome: dict


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Two processes train and evaluate, by torchrun."""
    folder = tmp_path_factory.mktemp("launch")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    nets = str(Path(__file__).parent)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            str(script),
            str(folder),
            nets,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Launch(folder, json.loads((folder / "outcome.json").read_text()))


def test_two_processes_give_exactly_the_accuracy_of_one(launch: Launch) -> None:
    assert launch.outcome["processes"] == 2
    digits = load("digits")
    assert evaluate(build_net(width=16), digits.test, batch_size=7) == launch.outcome["before"]
    net = build_net(width=16)
    net.load_state_dict(torch.load(launch.folder / "net.pt", weights_only=True))
    assert evaluate(net, digits.test, batch_size=7) == launch.outcome["accuracies"][-1]


def test_two_processes_learn_the_digits_and_end_with_the_same_weights(launch: Launch) -> None:
    assert launch.outcome["alike"]
    assert launch.outcome["accuracies"][-1] > 0.9
    assert launch.outcome["losses"][-1] < 0.3


def test_two_processes_start_from_the_first_and_follow_one_process_closely(launch: Launch) -> None:
    # Apart from BatchNorm, which sees the half batches of 33 and 32 images, the steps are those of one process.
    losses = [report.loss for report in train(build_net(seed=0, width=16), load("digits").train, CONFIG)]
    assert launch.outcome["losses"] == pytest.approx(losses, abs=0.1)


def test_processes_know_the_losses_of_all_images(launch: Launch) -> None:
    # image 0 was seen by both, with 1 and 2
    assert launch.outcome["noted"] == [[1.5, 2.0, 3.0]] * 2


def test_one_process_takes_up_what_two_have_left(launch: Launch) -> None:
    net = build_net(seed=5, width=16)
    history = train(net, load("digits").train, CONFIG, folder=launch.folder / "run")
    assert [report.loss for report in history] == launch.outcome["losses"]
    left = torch.load(launch.folder / "net.pt", weights_only=True)
    assert all(torch.equal(value, left[name]) for name, value in net.state_dict().items())


@dataclass
class Place:
    num_processes: int
    process_index: int


@given(st.integers(0, 50), st.integers(1, 9))
def test_slices_cover_everything_once_and_evenly(n: int, processes: int) -> None:
    slices = [own_slice(n, Place(processes, rank)) for rank in range(processes)]
    assert [index for part in slices for index in part] == list(range(n))
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


def test_one_process_sums_alone_and_may_start_again_with_other_settings() -> None:
    for precision in ("float32", "bf16", "float32"):
        accelerator = start_accelerator("cpu", precision)
        assert accelerator.mixed_precision == {"float32": "no", "bf16": "bf16"}[precision]
        assert gather_sum(accelerator, torch.tensor(2**60 + 1)).item() == 2**60 + 1
    leave_processes()


@pytest.mark.parametrize("device", ["gpu", "cuda:1", "CPU", ""])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(DeviceError, match="expected cpu or cuda"):
        start_accelerator(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu() -> None:
    with pytest.raises(DeviceError, match="pass --device cpu"):
        start_accelerator("cuda")


def test_an_unknown_precision() -> None:
    with pytest.raises(TrainingError, match="got 'fp8', expected one of float32, bf16"):
        start_accelerator("cpu", "fp8")


def test_processes_announced_without_a_rendezvous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        DeviceError, match="announces 2 processes, but RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not set"
    ):
        start_accelerator("cpu")
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(DeviceError, match="got 'two', expected a number"):
        start_accelerator("cpu")


def test_processes_that_accelerate_does_not_find(monkeypatch: pytest.MonkeyPatch) -> None:
    # As under an MPI launcher that sets its own variables only.
    monkeypatch.setattr("isospike.training.processes._count_announced", lambda: 2)
    with pytest.raises(DeviceError, match=r"2 processes were announced \(WORLD_SIZE\), but accelerate found 1"):
        start_accelerator("cpu")


def test_a_device_that_accelerate_overrules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    with pytest.raises(DeviceError, match="accelerate chose meta"):
        start_accelerator("cpu")
