"""Muon for the matrices of a network, AdamW for everything else, as one optimiser."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """Moves the groups with ``muon=True`` by Muon, the others by AdamW.

    Muon keeps the momentum ``B = momentum * B + G`` and moves a weight along ``G + momentum * B`` made orthogonal, with
    rows for the output channels. An entry of the move has a root mean square of 0.2 learning rates, about that of
    AdamW, so one learning rate serves both kinds of group. Weight decay is decoupled in both.

    Unlike :class:`torch.optim.Muon` it takes convolutions, in any layout, and keeps its state in the shape of the
    parameter.

    Args:
        groups: parameter groups, each with ``muon``; the weights of a Muon group have two dimensions or more.
        lr: the learning rate, until a group is given another.
        momentum: of Muon; the first beta of AdamW.
        dtype: what moves are made orthogonal in: bfloat16 suffices, and float32 is faster where a processor lacks it.

    Source: Jordan et al., 2024 (Muon, with its quintic Newton-Schulz iteration); Liu et al., 2025, arXiv:2502.16982,
    eq. 4, for the scale.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float, dtype: torch.dtype) -> None:
        super().__init__(groups, lr=lr, betas=(momentum, 0.999), fused=True)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step from the gradients that are there; the gradients of Muon's groups are used up."""
        for group in self.param_groups:
            if group["muon"]:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._move(parameter, parameter.grad, group["lr"], group["weight_decay"], group["betas"][0])
                        parameter.grad = None  # so that AdamW passes it by
        return super().step(closure)

    def _move(self, parameter: Tensor, gradient: Tensor, rate: float, decay: float, momentum: float) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        kept = state["momentum"].mul_(momentum).add_(gradient)
        direction = torch.add(gradient, kept, alpha=momentum).flatten(1)
        scale = 0.2 * max(direction.shape) ** 0.5
        move = orthogonalise(direction.to(self.dtype)).view(parameter.shape).to(parameter.dtype)
        parameter.mul_(1 - rate * decay).add_(move, alpha=-rate * scale)


def orthogonalise(matrix: Tensor) -> Tensor:
    """About ``U V^T`` of ``matrix = U S V^T``: singular values between about 0.7 and 1.2.

    Arguments:
        matrix: (rows, columns), of any floating type; zeros stay zeros.

    Source: Jordan et al., 2024: five iterations ``X <- a X + (b A + c A^2) X`` with ``A = X X^T``.
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
