import pytest
import torch
from torch import Tensor, nn

from isospike.networks import Pixels
from isospike.training import TrainingConfig, train
from isospike.training.averaging import finish_average, start_average

from .nets import build_net, take_digits


def test_the_average_is_the_recurrence() -> None:
    net = nn.Linear(1, 1, bias=False)
    average = start_average(net, 0.75)
    for value in (8.0, 4.0, 12.0):
        with torch.no_grad():
            net.weight.fill_(value)
        average.update_parameters(net)
    # 8; 0.75 * 8 + 0.25 * 4 = 7; 0.75 * 7 + 0.25 * 12 = 8.25
    finish_average(net, average, [])
    assert net.weight.item() == 8.25


def test_statistics_are_those_of_the_averaged_network() -> None:
    net = nn.Sequential(Twice(), nn.BatchNorm2d(1))
    average = start_average(net, 0.5)
    average.update_parameters(net)
    images = [torch.full((2, 1, 2, 2), value) for value in (1.0, 3.0)]
    finish_average(net, average, images)
    assert net[1].running_mean.item() == pytest.approx(4.0)  # the mean of 2 and 6


class Twice(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 2 * images


def test_a_training_ends_with_the_average_of_its_weights() -> None:
    data, weights = take_digits(), []
    net = build_net()
    config = TrainingConfig(1, batch_size=50, learning_rate=0.01, average=0.5)

    def remember(_done: int, _steps: int) -> None:
        weights.append(net[1].weight.detach().clone())

    train(net, data, config, on_step=remember)
    expected = weights[0]
    for weight in weights[1:]:
        expected = 0.5 * expected + 0.5 * weight
    assert torch.allclose(net[1].weight, expected, atol=1e-6)
    assert not torch.allclose(net[1].weight, weights[-1], atol=1e-6)


def test_constants_do_not_move() -> None:
    # (33 * 0.9995 + 33 * 0.0005), truncated to an integer, would be 32
    net = nn.Sequential(Pixels((33, 114)), nn.Conv2d(2, 1, 1))
    average = start_average(net, 0.9995)
    for _ in range(5):
        average.update_parameters(net)
    finish_average(net, average, [])
    assert net[0].offset.tolist() == [33, 114]


def test_an_average_is_measured_in_the_slices_of_training() -> None:
    sizes: list[int] = []
    net = build_net()
    net.register_forward_pre_hook(lambda _, arguments: sizes.append(len(arguments[0])))
    train(net, take_digits(), TrainingConfig(1, batch_size=50, average=0.5, accumulation=3))
    assert sizes == [17, 17, 16] * 4 * 2
