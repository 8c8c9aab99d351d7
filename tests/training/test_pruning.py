"""Easy images are left out of some passes; what they count for, and when, stays the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from isospike.data import Framing, ImageSet, load, open_stream
from isospike.errors import TrainingError
from isospike.files import read_tensors
from isospike.training import TrainingConfig, start_accelerator, train
from isospike.training.feeding import Batch, make_feed, seed_from
from isospike.training.pruning import Pruning
from tests.data.folders import write_image_folder

from .nets import build_net, same_weights, take_digits

CONFIG = TrainingConfig(10, batch_size=20, prune_images=0.75, prune_from=0.3, prune_until=0.8)
IMAGES = 200
EASY = 120


def remember(config: TrainingConfig = CONFIG) -> Pruning:
    """Images 0 to 119 have a loss of 0.1, the others of 2.0."""
    pruning = Pruning(IMAGES, config)
    pruning.losses.copy_(torch.where(torch.arange(IMAGES) < EASY, 0.1, 2.0))
    return pruning


def number_images() -> ImageSet:
    """Each image is one pixel: its place."""
    numbers = torch.arange(IMAGES, dtype=torch.uint8)
    return ImageSet(numbers.view(IMAGES, 1, 1, 1), torch.zeros(IMAGES, dtype=torch.int64))


def read(epoch: int, pruning: Pruning | None) -> list[Batch]:
    return list(make_feed(number_images(), 20, 0, start_accelerator("cpu"), pruning).read(epoch))


def join(batches: list[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    """Places, weights and sides of an epoch's images, in their order."""
    places, sides = [], []
    for batch in batches:
        assert batch.places is not None and batch.mirrored is not None
        assert torch.equal(batch.images.images.flatten().long(), batch.places)
        places.append(batch.places)
        sides.append(batch.mirrored)
    return torch.cat(places), torch.cat([batch.weights for batch in batches]), torch.cat(sides)


def test_a_pass_takes_every_hard_image_and_the_expected_share_of_easy_ones() -> None:
    plan = remember().plan(IMAGES, seed_from(torch.Generator(), 1))
    assert len(plan.places) == len(plan.weights) == len(plan.turns) == IMAGES
    first = plan.places[plan.turns == 0]
    assert len(first.unique()) == len(first)
    assert set(range(EASY, IMAGES)) <= set(first.tolist())
    assert 15 < int((first < EASY).sum()) < 50  # 30 of 120 are expected
    assert plan.turns.max() == 1
    assert torch.equal(plan.turns, plan.turns.sort().values)


def test_easy_images_count_as_much_more_as_they_are_rarer() -> None:
    pruning, total = remember(), torch.zeros(IMAGES)
    for seed in range(300):
        plan = pruning.plan(IMAGES, seed_from(torch.Generator(), seed))
        assert plan.weights.mean().item() == pytest.approx(1, abs=1e-5)
        easy, hard = plan.weights[plan.places < EASY], plan.weights[plan.places >= EASY]
        assert easy.unique().tolist() == pytest.approx([4 * hard[0].item()])
        total.index_add_(0, plan.places, plan.weights)
    assert float(total[:EASY].mean() / total[EASY:].mean()) == pytest.approx(1, abs=0.05)


def test_without_losses_or_with_equal_ones_passes_are_whole() -> None:
    pruning = Pruning(IMAGES, CONFIG)
    for losses in (torch.inf, 0.5):
        pruning.losses.fill_(losses)
        plan = pruning.plan(IMAGES, seed_from(torch.Generator(), 0))
        assert plan.places.sort().values.tolist() == list(range(IMAGES))
        assert plan.weights.unique().tolist() == [1.0]


@pytest.mark.parametrize(("epoch", "pruned"), [(0, False), (2, False), (3, True), (7, True), (8, False), (9, False)])
def test_images_are_left_out_in_their_epochs_only(epoch: int, pruned: bool) -> None:
    places, weights, sides = join(read(epoch, remember()))
    assert len(places) == IMAGES  # as many steps
    if pruned:
        assert len(places.unique()) < IMAGES
        return
    whole = join(read(epoch, None))
    assert torch.equal(places, whole[0]) and torch.equal(weights, torch.ones(IMAGES)) and torch.equal(sides, whole[2])


def test_an_image_that_comes_twice_in_an_epoch_comes_from_both_sides() -> None:
    places, _, sides = join(read(4, remember()))
    twice = [place for place in places.unique() if int((places == place).sum()) == 2]
    assert twice
    for place in twice:
        assert sides[places == place].sum() == 1


def test_losses_are_the_means_of_an_epoch_and_stay_where_an_image_was_not_seen() -> None:
    pruning, accelerator = Pruning(4, CONFIG), start_accelerator("cpu")
    pruning.record(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))
    pruning.record(torch.tensor([1, 2]), torch.tensor([4.0, 8.0], dtype=torch.bfloat16))
    pruning.finish_epoch(accelerator)
    assert pruning.losses.tolist() == [1.0, 3.0, 8.0, torch.inf]
    pruning.record(torch.tensor([0]), torch.tensor([0.5]))
    pruning.finish_epoch(accelerator)
    assert pruning.losses.tolist() == [0.5, 3.0, 8.0, torch.inf]


def test_a_training_notes_the_losses_of_its_images(tmp_path: Path) -> None:
    # one step of all images, at rate almost 0: the losses are those of the network as it was
    data, net, before = take_digits(), build_net(), build_net()
    config = TrainingConfig(1, batch_size=len(data), learning_rate=1e-12, prune_images=0.5)
    train(net, data, config, folder=tmp_path)
    arrays, _ = read_tensors(tmp_path / "checkpoint-1.safetensors")
    expected = torch.nn.functional.cross_entropy(before.train()(data.images), data.labels, reduction="none")
    assert torch.allclose(torch.from_numpy(arrays["pruning.losses"]), expected, atol=1e-5)


def test_a_pruned_training_learns_and_is_another_one() -> None:
    config = TrainingConfig(6, batch_size=50, learning_rate=0.01)
    whole, pruned = build_net(width=16), build_net(width=16)
    data = load("digits").train
    train(whole, data, config)
    reports = train(pruned, data, replace(config, prune_images=0.5))
    assert reports[-1].loss < 0.2
    assert not same_weights(whole, pruned)


def test_streams_are_refused_before_anything_happens(tmp_path: Path) -> None:
    framing = Framing(28, 28)
    stream, _ = open_stream("imagenet", write_image_folder(tmp_path), classes=3, train=framing, test=framing, workers=0)
    config = TrainingConfig(1, batch_size=5, prune_images=0.75, channels_last=True)
    with pytest.raises(TrainingError, match=r"train\.prune_images: got 0\.75 for a stream of images, expected"):
        train(build_net(), stream, config)
