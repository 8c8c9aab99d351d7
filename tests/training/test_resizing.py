"""Small images in the first part of a training."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from isospike.errors import TrainingError
from isospike.networks import Quantisation, build_network
from isospike.training import TrainingConfig, train
from isospike.training.resizing import Reduction

from .nets import take_digits

QUANTISED = Quantisation(k=0, bound=2, weights="ternary")
CONFIG = TrainingConfig(4, batch_size=100, learning_rate=0.03, small_side=4, small_until=0.5)


class Watched(nn.Module):
    """Notes the sides of the images that come by while training, and gives them on."""

    def __init__(self) -> None:
        super().__init__()
        self.sides: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.sides.append(images.shape[-1])
        return images


def test_images_are_small_until_their_share_of_the_steps() -> None:
    torch.manual_seed(0)
    watched = Watched()
    net = nn.Sequential(watched, build_network("4C3-P2-6", (1, 8, 8), 10, QUANTISED, padding="same"))
    reports = train(net, take_digits(), CONFIG)
    steps = len(take_digits()) // 100
    assert watched.sides == [4] * 2 * steps + [8] * 2 * steps
    assert reports[-1].loss < reports[0].loss
    assert not any(module._forward_pre_hooks for module in net.modules())  # as it was
    assert net.eval()(take_digits(2).images).shape == (2, 10)


def test_a_small_map_is_stretched_in_front_of_a_dense_layer() -> None:
    seen: list[Tensor] = []
    body = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Identity())
    body[2].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    nn.init.ones_(body[0].weight)  # type: ignore[arg-type]
    net = nn.Sequential(Scale(), body)
    reduction = Reduction(net, TrainingConfig(1, small_side=2, small_until=0.5))
    image = torch.tensor([[0, 0, 8, 8], [0, 0, 8, 8], [4, 4, 2, 2], [4, 4, 2, 2]], dtype=torch.uint8)[None, None]
    small = reduction.apply(image, 0.49)
    assert small.dtype == torch.uint8 and small.shape == (1, 1, 2, 2)
    net(small)
    stretched = small.float().repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(seen[-1], stretched.flatten(1))
    assert reduction.apply(image, 0.5) is image
    net(small)
    assert torch.equal(seen[-1], small.float().flatten(1))  # nothing is stretched any more


class Scale(nn.Module):
    """Pixels as floats."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float()


def test_a_network_that_cannot_take_small_images_says_so() -> None:
    class Rigid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            return self.dense(images.float().reshape(len(images), -1))

    with pytest.raises(TrainingError, match=r"train\.small_side: the network does not take images of 4x4 pixels"):
        train(Rigid(), take_digits(), CONFIG)


def test_images_that_are_not_larger_are_refused() -> None:
    net = build_network("4C3-6", (1, 8, 8), 10, QUANTISED)
    with pytest.raises(TrainingError, match=r"train\.small_side: got 8 for images of 8x8 pixels, expected less"):
        train(net, take_digits(), TrainingConfig(1, batch_size=100, small_side=8, small_until=0.5))


def test_a_teacher_sees_whole_images() -> None:
    class Teacher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sides: list[int] = []

        def forward(self, images: Tensor) -> Tensor:
            self.sides.append(images.shape[-1])
            return torch.zeros(len(images), 10)

    teacher = Teacher()
    net = build_network("4C3-P2-6", (1, 8, 8), 10, QUANTISED, padding="same")
    train(net, take_digits(), replace(CONFIG, distil=0.5), teacher=teacher)
    assert teacher.sides == [8] * 4 * (len(take_digits()) // 100)


def test_small_images_for_no_step_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"train\.small_until: got 0.0, expected a share above 0"):
        TrainingConfig(1, small_side=4)
