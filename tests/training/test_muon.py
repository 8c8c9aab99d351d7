import pytest
import torch
from torch import nn

from isospike.training import TrainingConfig
from isospike.training.muon import orthogonalise
from isospike.training.optimisers import build_optimiser


def build_stack(layout: torch.memory_format = torch.contiguous_format) -> nn.Sequential:
    torch.manual_seed(0)
    stack = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(6, 5), nn.Linear(5, 2))
    for parameter in stack.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)
        parameter.grad = torch.randn_like(parameter)
    return stack


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (7, 7)])
def test_orthogonal_moves_have_singular_values_near_one_and_the_directions_of_the_gradient(
    shape: tuple[int, int],
) -> None:
    torch.manual_seed(1)
    matrix = torch.randn(shape, dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    moved = left.T @ orthogonalise(matrix) @ right.T  # diagonal where the singular vectors are kept
    assert torch.allclose(moved - torch.diag(moved.diagonal()), torch.zeros(()).double(), atol=1e-9)
    assert bool((moved.diagonal() > 0.6).all()) and bool((moved.diagonal() < 1.3).all())


def test_no_gradient_is_no_move() -> None:
    assert torch.equal(orthogonalise(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_inner_weights_move_by_muon_and_ends_and_biases_by_adamw() -> None:
    stack = build_stack()
    before = {name: value.detach().clone() for name, value in stack.named_parameters()}
    gradients = {name: value.grad.clone() for name, value in stack.named_parameters()}
    optimiser = build_optimiser(stack, TrainingConfig(1, optimiser="muon", learning_rate=0.1, momentum=0.5))
    optimiser.step()
    for name, value in stack.named_parameters():
        move = (value.detach() - before[name]).flatten(1) if value.ndim > 1 else value.detach() - before[name]
        if name in ("1.weight", "2.weight"):
            # momentum 0.5: G + 0.5 G, whose direction is G's; 0.2 sqrt(longer side) rates along it
            expected = -0.1 * 0.2 * max(move.shape) ** 0.5 * orthogonalise(gradients[name].flatten(1))
            assert torch.allclose(move, expected, atol=1e-5)
        else:
            assert torch.allclose(move, -0.1 * gradients[name].sign().view(move.shape), atol=1e-4)  # AdamW's first step


def test_a_layout_in_memory_changes_nothing() -> None:
    stacks = [build_stack(layout) for layout in (torch.contiguous_format, torch.channels_last)]
    for stack in stacks:
        optimiser = build_optimiser(stack, TrainingConfig(1, optimiser="muon", learning_rate=0.1, weight_decay=0.1))
        for _ in range(2):
            for parameter in stack.parameters():
                parameter.grad = torch.ones_like(parameter) * parameter.detach()
            optimiser.step()
    for one, other in zip(stacks[0].parameters(), stacks[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
