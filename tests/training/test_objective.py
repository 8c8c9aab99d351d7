import math

import pytest
import torch
from torch import Tensor, nn

from isospike.errors import TrainingError
from isospike.training import TrainingConfig, train
from isospike.training.objective import Objective

from .nets import build_net, same_weights, take_digits


class Fixed(nn.Module):
    """The same logits for every image."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


def test_the_loss_mixes_labels_and_a_teacher_as_hinton_does() -> None:
    # student (ln 1, ln 3), teacher (ln 1, ln 9), temperature 2: softened (1, sqrt 3), (1, 3); label 1
    config = TrainingConfig(1, batch_size=1, distil=0.25, temperature=2.0)
    objective = Objective(Fixed(0.0, math.log(3)), config, 1)
    got = objective(torch.zeros(1, 1, 2, 2), torch.tensor([1]), torch.tensor([[0.0, math.log(9)]]))
    root = math.sqrt(3)
    compared = 0.25 * math.log(0.25 * (1 + root)) + 0.75 * math.log(0.75 * (1 + root) / root)
    assert got.item() == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * 4 * compared, rel=1e-6)


def test_a_teacher_with_other_classes_is_refused() -> None:
    config = TrainingConfig(1, batch_size=1, distil=0.5)
    objective = Objective(Fixed(0.0, 1.0), config, 1)
    with pytest.raises(TrainingError, match=r"teacher gave \(1, 3\), expected \(1, 2\)"):
        objective(torch.zeros(1, 1, 2, 2), torch.tensor([1]), torch.zeros(1, 3))


def test_a_student_comes_closer_to_its_teacher_and_the_teacher_stays() -> None:
    data, teacher = take_digits(), build_net(seed=3)
    train(teacher, data, TrainingConfig(4, batch_size=50, learning_rate=0.01))
    teacher.eval()
    untouched = build_net(seed=3)
    untouched.load_state_dict(teacher.state_dict())
    config = TrainingConfig(12, batch_size=50, learning_rate=0.01)
    apart = {}
    for share in (0.0, 1.0):
        student = build_net(seed=4)
        settings = TrainingConfig(**{**vars(config), "distil": share})
        train(student, data, settings, teacher=teacher if share else None)
        with torch.no_grad():
            apart[share] = float(
                (student.eval()(data.images).softmax(1) - teacher(data.images).softmax(1)).abs().mean()
            )
    assert apart[1.0] < apart[0.0]
    assert same_weights(teacher, untouched)


@pytest.mark.parametrize(("share", "given"), [(0.5, False), (0.0, True)])
def test_a_share_without_a_teacher_and_a_teacher_without_a_share_are_refused(share: float, given: bool) -> None:
    config = TrainingConfig(1, batch_size=50, distil=share)
    with pytest.raises(TrainingError, match=r"train.distil: .*both or neither"):
        train(build_net(), take_digits(), config, teacher=build_net() if given else None)


def test_slices_of_a_batch_make_the_step_of_the_whole_batch() -> None:
    # without BatchNorm the gradient of a batch is the sum over its slices
    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), Cast(), nn.Linear(64, 10)).double()

    nets = [build(), build()]
    for net, slices in zip(nets, (1, 3), strict=True):
        train(net, take_digits(), TrainingConfig(2, batch_size=50, optimiser="sgd", accumulation=slices))
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_slices_too_small_for_batch_norm_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"train.accumulation: got 30 for 50 images on 1 processes"):
        train(build_net(), take_digits(), TrainingConfig(1, batch_size=50, accumulation=30))


def test_single_images_are_refused_where_batch_norm_needs_more() -> None:
    dense = nn.Sequential(Cast(), nn.Flatten(), nn.Linear(64, 10).double(), nn.BatchNorm1d(10).double())
    with pytest.raises(TrainingError, match=r"train.batch_size: got 1 for 1 processes, expected 2 images or more"):
        train(dense, take_digits(), TrainingConfig(1, batch_size=1))


class Cast(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.double() / 16
