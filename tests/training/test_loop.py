import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from isospike.data import Augmentation, ImageSet, load
from isospike.errors import TrainingError
from isospike.networks import Quantisation, build_network
from isospike.training import EpochReport, TrainingConfig, evaluate, train
from isospike.training.optimisers import build_optimiser

from .nets import build_net, same_weights, take_digits

SHORT = TrainingConfig(epochs=2, batch_size=32, learning_rate=0.01, weight_decay=0.01)


def test_training_learns_the_digits() -> None:
    digits, net = load("digits"), build_net(width=16)
    steps: list[tuple[int, int]] = []
    reports = train(
        net,
        digits.train,
        replace(SHORT, epochs=6, batch_size=64),
        augmentation=Augmentation(shift=1),
        on_step=lambda done, todo: steps.append((done, todo)),
    )
    assert evaluate(net, digits.test) > 0.93
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5, 6]
    assert reports[-1].loss < 0.4 < reports[0].loss
    assert all(report.seconds > 0 and report.images_per_second > 0 for report in reports)
    assert steps[:3] == [(1, 22), (2, 22), (3, 22)]
    assert len(steps) == 6 * 22


@pytest.mark.parametrize(
    "options",
    [
        {"optimiser": "sgd", "learning_rate": 0.1, "schedule": "cosine"},
        {"channels_last": True},
        {"precision": "bf16"},
        {"label_smoothing": 0.1, "gradient_clip": 1.0, "schedule": "constant"},
        {"optimiser": "sgd", "momentum": 0.0},
    ],
)
def test_every_setting_trains_the_same_way_twice(options: dict) -> None:
    config, nets = replace(SHORT, **options), [build_net(), build_net()]
    losses = [[report.loss for report in train(net, take_digits(), config)] for net in nets]
    assert losses[0] == losses[1]
    assert losses[0][1] < losses[0][0] < 3
    assert same_weights(*nets)
    assert all(p.is_contiguous() and p.dtype == torch.float32 for p in nets[0].parameters())


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_one_epoch_is_the_textbook_loop(optimiser: str) -> None:
    config = TrainingConfig(
        epochs=1,
        batch_size=50,
        learning_rate=0.02,
        weight_decay=0.1,
        optimiser=optimiser,  # type: ignore[arg-type]
        schedule="constant",
        warmup=0.0,
        label_smoothing=0.1,
    )
    data, seen, net = take_digits(120), [], build_net()
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    (report,) = train(net, data, config)
    assert [len(images) for images in seen] == [50, 50]
    labels = {image.numpy().tobytes(): label for image, label in zip(data.images, data.labels, strict=True)}

    plain, losses = build_net(), []
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in plain.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    if optimiser == "sgd":
        reference: torch.optim.Optimizer = torch.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True)
    else:
        reference = torch.optim.AdamW(groups, lr=0.02)
    for images in seen:
        target = torch.stack([labels[image.numpy().tobytes()] for image in images])
        loss = cross_entropy(plain(images), target, label_smoothing=0.1)
        reference.zero_grad()
        loss.backward()
        reference.step()
        losses.append(loss.item())
    assert report.loss == pytest.approx(sum(losses) / 2, rel=1e-5)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_each_epoch_has_its_own_order_and_drops_the_incomplete_batch() -> None:
    data, seen, net = take_digits(70), [], build_net()
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    train(net, data, SHORT)
    assert [len(images) for images in seen] == [32] * 4
    epochs = [torch.cat(seen[:2]).flatten(1), torch.cat(seen[2:]).flatten(1)]
    assert not torch.equal(*epochs)
    assert all(len(epoch.unique(dim=0)) == 64 for epoch in epochs)


def test_decay_spares_batchnorm_biases_and_thresholds() -> None:
    net = build_net()
    net.register_parameter("threshold", nn.Parameter(torch.ones(1, 1)))
    net[9].bias.requires_grad_(False)
    decaying, others = build_optimiser(net, SHORT).param_groups
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert [names[id(p)] for p in decaying["params"]] == ["1.weight", "4.parametrizations.weight.original", "9.weight"]
    assert sorted(names[id(p)] for p in others["params"]) == ["2.bias", "2.weight", "5.bias", "5.weight", "threshold"]


def test_the_callback_may_evaluate_and_the_network_stays_in_training_mode() -> None:
    data, plain, watched = take_digits(), build_net(), build_net()
    accuracies: list[float] = []
    config = replace(SHORT, precision="bf16")
    train(plain, data, config)
    train(watched, data, config, on_epoch=lambda _: accuracies.append(evaluate(watched, data)))
    assert same_weights(plain, watched)
    assert len(accuracies) == 2
    assert watched.training


def test_the_random_numbers_of_the_caller_are_left_alone() -> None:
    state = torch.random.get_rng_state()
    train(build_net(dropout=0.5), take_digits(), SHORT)
    assert torch.equal(torch.random.get_rng_state(), state)


class Poison(nn.Module):
    """A network whose logits are not a number from the ``at``-th forward pass on."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.net, self.at, self.passes = build_net(), at, 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        return self.net(images) * (math.nan if self.passes >= self.at else 1.0)


def test_a_loss_that_is_not_finite_names_the_epoch_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    seen: list[EpochReport] = []
    with pytest.raises(
        TrainingError, match=r"epoch 2: the loss is nan, .*the checkpoint of epoch 1 in .* is whole: lower"
    ):
        train(Poison(at=9), take_digits(), SHORT, folder=tmp_path, on_epoch=seen.append)
    assert [report.epoch for report in seen] == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1.safetensors", "checkpoint.json"]


def test_what_cannot_be_trained() -> None:
    with pytest.raises(TrainingError, match=r"train\.batch_size: got 32, expected at most 20"):
        train(build_net(), take_digits(20), SHORT)
    with pytest.raises(
        TrainingError, match=r"gave \(32, 4\) for 32 images with labels up to 9, expected \(32, classes\)"
    ):
        train(build_net(classes=4), take_digits(), SHORT)
    with pytest.raises(TrainingError, match=r"gave \(32, 16, 3, 3\) for 32 images"):
        train(build_net()[:7], ImageSet(take_digits().images, take_digits().labels), SHORT)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of the compiler about its own parts
def test_a_compiled_training_follows_the_plain_one() -> None:
    losses = {}
    for compiled in (False, True):
        torch.manual_seed(0)
        net = build_network("4C3-8", (1, 8, 8), 10, Quantisation(k=0, ends="int8"))
        config = replace(SHORT, compiled=compiled, levels_from=0.5)
        losses[compiled] = [report.loss for report in train(net, take_digits(), config)]
        assert not hasattr(net, "_orig_mod") and net(take_digits(4).images).shape == (4, 10)
    assert losses[True] == pytest.approx(losses[False], rel=0.02)
