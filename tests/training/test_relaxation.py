from contextlib import suppress

import pytest
import torch

from isospike.data import Augmentation
from isospike.networks import Quantisation, build_network, qcfs
from isospike.training import TrainingConfig, train
from isospike.training.relaxation import Relaxation

from .nets import take_digits

QUANTISED = Quantisation(k=0, bound=2, weights="ternary")


def test_levels_and_weights_come_at_their_share_of_the_steps() -> None:
    net = build_network("4C3-6", (1, 8, 8), 10, QUANTISED).eval()
    images = take_digits(8).images
    relaxation = Relaxation(net, TrainingConfig(1, levels_from=0.25, weights_from=0.5))
    hidden = net.conv1.activation  # type: ignore[union-attr]
    z = torch.tensor([-0.7, 0.4, 0.6, 1.2, 9.0])
    weight = net.dense1.synapses  # type: ignore[union-attr]

    relaxation.apply(0.2499)
    assert hidden(z).tolist() == torch.tensor([0, 0.4, 0.6, 1.2, 2.0]).tolist()  # clipped at its bound of 2
    assert weight.weight.unique().numel() > 3
    relaxation.apply(0.25)
    assert hidden(z).tolist() == [0, 0, 1, 1, 2]
    assert weight.weight.unique().numel() > 3
    relaxation.apply(0.5)
    assert set(weight.weight.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert torch.equal(net(images), build_like(net)(images))


@pytest.mark.parametrize(
    ("progress", "share"), [(0.0, 0.0), (0.25, 0.0), (0.375, 0.25), (0.5, 0.5), (0.75, 1.0), (0.9, 1.0)]
)
def test_weights_are_mixed_in_between_two_shares_of_the_steps(progress: float, share: float) -> None:
    net = build_network("4C3-6", (1, 8, 8), 10, QUANTISED)
    relaxation = Relaxation(net, TrainingConfig(1, weights_from=0.25, weights_until=0.75))
    relaxation.apply(progress)
    assert [weight.share for weight in relaxation.weights] == [share]


def build_like(net: torch.nn.Module) -> torch.nn.Module:
    """The same weights in a network that was never relaxed."""
    fresh = build_network("4C3-6", (1, 8, 8), 10, QUANTISED).eval()
    fresh.load_state_dict(net.state_dict())
    return fresh


def test_an_activation_without_an_end_is_a_relu_until_it_has_levels() -> None:
    net = build_network("4C3-6", (1, 8, 8), 10, Quantisation(k=0, weights="float"))
    Relaxation(net, TrainingConfig(1, levels_from=0.5)).apply(0)
    assert net.conv1.activation(torch.tensor([-1.0, 0.3, 40.25])).tolist() == [0, torch.tensor(0.3).item(), 40.25]  # type: ignore[union-attr]


def test_a_learned_threshold_keeps_its_gradient_while_relaxed() -> None:
    net = build_network("4C3-6", (1, 8, 8), 10, Quantisation("qcfs", count=4, threshold=2.0, weights="float"))
    Relaxation(net, TrainingConfig(1, levels_from=0.5)).apply(0)
    activation = net.conv1.activation  # type: ignore[union-attr]
    z = torch.tensor([-1.0, 0.5, 5.0], requires_grad=True)
    out = activation(z)
    assert out.tolist() == [0, 0.5, 2.0]
    out.sum().backward()
    assert z.grad is not None and z.grad.tolist() == [0, 1, 0]
    assert activation.threshold.grad == 1  # only the clipped value follows the threshold


def test_a_training_ends_quantised_even_when_it_is_interrupted() -> None:
    net = build_network("4C3-6", (1, 8, 8), 10, QUANTISED)
    config = TrainingConfig(2, batch_size=50, levels_from=0.9, weights_from=0.9)

    def interrupt(done: int, _: int) -> None:
        assert net.conv1.activation.relaxed  # type: ignore[union-attr]
        if done == 2:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        train(net, take_digits(), config, augmentation=Augmentation(shift=1), on_step=interrupt)
    assert not net.conv1.activation.relaxed  # type: ignore[union-attr]
    assert set(net.dense1.synapses.weight.unique().tolist()) == {-1.0, 0.0, 1.0}  # type: ignore[union-attr]


def test_a_relaxed_learned_threshold_has_the_gradient_of_its_formula() -> None:
    """Against the same clipped ReLU written in elementary operations."""
    activation = qcfs(8, 3.0).double()
    activation.relaxed = True
    assert activation.threshold is not None
    generator = torch.Generator().manual_seed(1)
    z = (4 * torch.randn(1000, generator=generator, dtype=torch.float64)).requires_grad_()
    gradient = torch.randn(1000, generator=generator, dtype=torch.float64)
    inputs = (z, activation.threshold)
    formula = activation.threshold * (z / activation.threshold).clamp(0, 1)
    ours = torch.autograd.grad(activation(z), inputs, gradient)
    expected = torch.autograd.grad(formula, inputs, gradient)
    assert torch.allclose(ours[0], expected[0], rtol=1e-6)
    assert torch.allclose(ours[1].double(), expected[1], rtol=1e-6)
