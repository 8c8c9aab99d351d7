import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from isospike.data import Augmentation, ImageSet
from isospike.errors import FileError, TrainingError
from isospike.training import EpochReport, TrainingConfig, train

from .nets import build_net, same_weights, take_digits

CONFIG = TrainingConfig(epochs=4, batch_size=32, learning_rate=0.01, weight_decay=0.01)
VARIED = Augmentation(shift=1, brightness=0.1)


class StopError(Exception):
    pass


def stop_after(epoch: int, error: type[BaseException] = StopError):  # type: ignore[no-untyped-def]
    def watch(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise error

    return watch


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimiser": "sgd", "schedule": "cosine"},
        {"optimiser": "sgd", "momentum": 0.0},
        {"channels_last": True, "gradient_clip": 1.0},
        {"precision": "bf16"},
        {"optimiser": "muon", "channels_last": True},
        {"average": 0.9, "accumulation": 2},
        {"prune_images": 0.5, "prune_until": 1.0, "accumulation": 3},
    ],
)
def test_a_resumed_training_is_the_uninterrupted_one_bit_by_bit(tmp_path: Path, options: dict) -> None:
    config, data = replace(CONFIG, **options), take_digits()
    whole, stopped, resumed = build_net(dropout=0.2), build_net(dropout=0.2), build_net(seed=9, dropout=0.2)
    reports = train(whole, data, config, augmentation=VARIED)
    with pytest.raises(StopError):
        train(stopped, data, config, augmentation=VARIED, folder=tmp_path, on_epoch=stop_after(2))
    assert not same_weights(whole, stopped)
    epochs: list[int] = []
    history = train(
        resumed, data, config, augmentation=VARIED, folder=tmp_path, on_epoch=lambda report: epochs.append(report.epoch)
    )
    assert epochs == [3, 4]
    assert [report.loss for report in history] == [report.loss for report in reports]
    assert same_weights(whole, resumed)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first, again = build_net(), build_net(seed=1)
    history = train(first, take_digits(), CONFIG, folder=tmp_path)
    assert train(again, take_digits(), CONFIG, folder=tmp_path, on_epoch=stop_after(4)) == history
    assert same_weights(first, again)


def test_an_interrupt_passes_through_and_leaves_one_whole_checkpoint(tmp_path: Path) -> None:
    def interrupt(done: int, _: int) -> None:
        index = tmp_path / "checkpoint.json"
        if done == 2 and index.exists() and json.loads(index.read_text())["epoch"] == 2:
            raise KeyboardInterrupt

    net, resumed, whole = build_net(), build_net(), build_net()
    with pytest.raises(KeyboardInterrupt):
        train(net, take_digits(), CONFIG, folder=tmp_path, on_step=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2.safetensors", "checkpoint.json"]
    train(resumed, take_digits(), CONFIG, folder=tmp_path)
    train(whole, take_digits(), CONFIG)
    assert same_weights(whole, resumed)


def test_a_checkpoint_of_the_epoch_before_serves_when_the_index_was_not_yet_written(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        train(build_net(), take_digits(), CONFIG, folder=tmp_path, on_epoch=stop_after(1))
    (tmp_path / "checkpoint-2.safetensors").write_bytes(b"half of one")
    assert len(train(build_net(), take_digits(), CONFIG, folder=tmp_path)) == 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with pytest.raises(StopError):
        train(build_net(), take_digits(), CONFIG, augmentation=VARIED, folder=tmp_path, on_epoch=stop_after(1))
    return tmp_path


def test_another_configuration_is_refused_by_its_first_difference(folder: Path) -> None:
    with pytest.raises(TrainingError, match=r"made with train\.learning_rate = 0\.01, expected 0\.02: delete .* --out"):
        train(build_net(), take_digits(), replace(CONFIG, learning_rate=0.02), augmentation=VARIED, folder=folder)
    with pytest.raises(TrainingError, match=r"made with augmentation\.shift = 1, expected 0"):
        train(build_net(), take_digits(), CONFIG, folder=folder)


def test_other_images_are_refused(folder: Path) -> None:
    with pytest.raises(TrainingError, match=r"made with data\.images = 200, expected 199"):
        train(build_net(), take_digits(199), CONFIG, augmentation=VARIED, folder=folder)
    data = take_digits()
    with pytest.raises(TrainingError, match=r"made with data\.checksum"):
        train(build_net(), ImageSet(data.images, data.labels.flip(0)), CONFIG, augmentation=VARIED, folder=folder)


def test_another_network_is_refused_by_its_first_difference(folder: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"made with network\.1 = 'Conv2d\(1, 8, .*expected 'Conv2d\(1, 9, .* --out"
    ):
        train(build_net(width=9), take_digits(), CONFIG, augmentation=VARIED, folder=folder)
    with pytest.raises(TrainingError, match=r"made with network\.9 = 'Linear\(.*expected None"):
        train(build_net()[:9], take_digits(), CONFIG, augmentation=VARIED, folder=folder)


def test_tensors_that_do_not_fit_are_refused_by_the_first(folder: Path) -> None:
    larger = build_net()
    larger.register_parameter("threshold", torch.nn.Parameter(torch.ones(())))
    with pytest.raises(TrainingError, match=r"the tensor threshold has the shape none, expected \(\)"):
        train(larger, take_digits(), CONFIG, augmentation=VARIED, folder=folder)
    shaped = build_net()
    shaped[1].weight = torch.nn.Parameter(torch.zeros(8, 1, 9))
    with pytest.raises(
        TrainingError, match=r"the tensor 1\.weight has the shape \(8, 1, 3, 3\), expected \(8, 1, 9\): delete .* --out"
    ):
        train(shaped, take_digits(), CONFIG, augmentation=VARIED, folder=folder)


@pytest.mark.parametrize("file", ["checkpoint.json", "checkpoint-1.safetensors"])
def test_a_truncated_checkpoint_is_refused(folder: Path, file: str) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match=file):
        train(build_net(), take_digits(), CONFIG, augmentation=VARIED, folder=folder)


def test_an_index_without_its_tensors_or_keys_is_refused(folder: Path) -> None:
    (folder / "checkpoint-1.safetensors").unlink()
    with pytest.raises(FileError, match=r"checkpoint-1\.safetensors: cannot be read"):
        train(build_net(), take_digits(), CONFIG, augmentation=VARIED, folder=folder)
    (folder / "checkpoint.json").write_text("{}")
    with pytest.raises(FileError, match="expected the keys tensors, run and history, got none"):
        train(build_net(), take_digits(), CONFIG, augmentation=VARIED, folder=folder)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="cannot be written"):
        train(build_net(), take_digits(), CONFIG, folder=tmp_path / "file")


def test_a_checkpoint_from_before_a_setting_existed_goes_on_with_its_default(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        train(build_net(), take_digits(), CONFIG, folder=tmp_path, on_epoch=stop_after(2))
    index = tmp_path / "checkpoint.json"
    content = json.loads(index.read_text())
    assert content["run"].pop("train.weights_from") == 0.0
    index.write_text(json.dumps(content))
    with pytest.raises(TrainingError, match=r"train.weights_from = 0.0, expected 0.5"):
        train(build_net(), take_digits(), replace(CONFIG, weights_from=0.5), folder=tmp_path)
    assert len(train(build_net(), take_digits(), CONFIG, folder=tmp_path)) == CONFIG.epochs
