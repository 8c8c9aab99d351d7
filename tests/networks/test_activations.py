"""The level activation: values, gradients, and what it refuses."""

from fractions import Fraction

import pytest
import torch

from isospike.errors import ConversionError
from isospike.networks import LevelActivation, calibrated, median, qcfs


def _counts(activation: LevelActivation, z: list[float]) -> list[float]:
    return activation(torch.tensor(z)).tolist()


def test_median_by_hand() -> None:
    z = [-5, -0.5, 0, 0.49, 0.5, 1.49, 1.5, 2.5, 3.5, 99.5]
    assert _counts(median(0), z) == [0, 0, 0, 0, 1, 1, 2, 3, 4, 100]
    assert _counts(median(0, bound=2), z) == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    # q = 1/2: halves are 0.25, 0.75, ...
    assert _counts(median(1, bound=1), [0.24, 0.25, 0.74, 0.75, 9]) == [0, 0.5, 0.5, 1, 1]
    assert _counts(median(2), [0.125, 0.374, 0.375]) == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("make", [lambda: qcfs(4, 2.0), lambda: calibrated(2.0, 4)])
def test_qcfs_and_calibrated_by_hand(make: type[LevelActivation]) -> None:
    assert _counts(make(), [-1, 0.24, 0.25, 0.75, 1.0, 1.74, 1.75, 5]) == [0, 0, 0.5, 1, 1, 1.5, 2, 2]


def test_half_rounds_up_at_every_level() -> None:
    for activation, step in ((median(3, 4), 0.125), (qcfs(32, 4.0), 0.125)):
        ties = (torch.arange(32) + 0.5) * step
        assert activation(ties).div(step).tolist() == list(range(1, 33))


def test_steps_are_rational() -> None:
    assert median(3).read_step() == Fraction(1, 8)
    assert qcfs(3, 0.1).read_step() == Fraction(float(torch.tensor(0.1))) / 3
    assert calibrated(1.0, 5).read_step() == Fraction(1, 5)
    assert (median(1, 4).levels, median(1).levels, qcfs(6).levels) == (8, None, 6)


def test_gradient_is_straight_through_inside_and_zero_outside() -> None:
    z = torch.tensor([-3.0, -0.1, 0.1, 1.4, 2.9, 3.1, 40.0], requires_grad=True)
    (median(0, 3)(z) * torch.tensor([1.0, 2, 3, 4, 5, 6, 7])).sum().backward()
    assert z.grad is not None
    assert z.grad.tolist() == [0, 0, 3, 4, 5, 0, 0]
    z.grad = None
    median(0)(z).sum().backward()
    assert z.grad is not None
    assert z.grad.tolist() == [0, 0, 1, 1, 1, 1, 1]


def test_learned_threshold_receives_its_gradient() -> None:
    activation = qcfs(4, 2.0)
    z = torch.tensor([-1.0, 0.6, 1.1, 7.0], requires_grad=True)
    activation(z).sum().backward()
    assert z.grad is not None
    assert isinstance(activation.threshold, torch.nn.Parameter)
    assert activation.threshold.grad is not None
    torch.testing.assert_close(z.grad, torch.tensor([0.0, 1, 1, 0]))
    # outside: count / levels = 1 of the clipped one; inside: count / levels - z / threshold, the rounding that is left
    expected = 1.0 + (1 / 4 - 0.6 / 2) + (2 / 4 - 1.1 / 2)
    assert float(activation.threshold.grad) == pytest.approx(expected)


def test_calibrated_threshold_is_not_learned() -> None:
    assert list(calibrated(2.0, 4).parameters()) == []
    assert list(calibrated(2.0, 4).state_dict()) == ["threshold"]
    assert list(qcfs(4).state_dict()) == ["threshold"]
    assert len(list(qcfs(4).parameters())) == 1


def test_gradient_does_not_change_the_value() -> None:
    z = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 3
    for activation in (median(1, 2), median(0), qcfs(5, 1.7), calibrated(1.7, 5)):
        assert torch.equal(activation(z), activation(z.clone().requires_grad_()).detach())


def test_value_is_a_whole_number_of_steps_bit_for_bit() -> None:
    z = torch.randn(1000, generator=torch.Generator().manual_seed(1)) * 3
    activation, before = qcfs(7, 1.3), z.clone()
    found = activation(z).detach()
    step = torch.tensor(1.3) / 7
    assert torch.equal(found, torch.round(found / step) * step)
    median(0, 2)(z)
    median(1)(z)
    assert torch.equal(z, before)  # the input is left as it is


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: median(-1), "k from 0 to 16, got -1"),
        (lambda: median(0, 0.5), r"whole number above 0, got 0.5 \* 2\^0"),
        (lambda: median(1, 0), "whole number above 0"),
        (lambda: median(0, float("inf")), r"whole number above 0, got inf \* 2\^0: without a bound there is no end"),
        (lambda: median(0, float("nan")), "whole number above 0, got nan"),
        (lambda: qcfs(4, float("inf")), "finite step or threshold above 0, got inf"),
        (lambda: LevelActivation(float("inf"), step=Fraction(1)), "at least 1 level, got inf"),  # type: ignore[arg-type]
        (lambda: qcfs(0), "at least 1 level, got 0"),
        (lambda: qcfs(4, -1.0), "above 0, got -1.0"),
        (lambda: calibrated(0.0, 4), "above 0, got 0.0"),
        (lambda: calibrated(float("nan"), 4), "above 0, got nan"),
        (lambda: LevelActivation(4), "give a step, or a threshold"),
        (lambda: LevelActivation(None, threshold=1.0), "give a step, or a threshold"),
        (lambda: LevelActivation(4, step=Fraction(1), threshold=1.0), "give a step, or a threshold"),
    ],
)
def test_bad_arguments(make: type[LevelActivation], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        make()


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_threshold_that_training_has_ruined(value: float) -> None:
    activation = qcfs(4)
    assert isinstance(activation.threshold, torch.nn.Parameter)
    activation.threshold.data.fill_(value)
    with pytest.raises(ConversionError, match="expected a threshold above 0"):
        activation.read_step()


def test_what_print_shows() -> None:
    assert repr(median(1, 2)) == "LevelActivation(levels=4, step=1/2)"
    assert repr(qcfs(4, 2.5)) == "LevelActivation(levels=4, threshold=2.5)"
