"""The level activation: one staircase for every quantised ANN here."""

from fractions import Fraction
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from isospike.errors import ConversionError


class LevelActivation(nn.Module):
    """``step * clip(floor(z / step + 1/2), 0, levels)``: a staircase through the origin, half rounds up.

    Backward it is the identity inside the clipping range ``0 < z < step * levels`` and zero outside
    (straight-through). Where the threshold ``step * levels`` is learned, it receives its gradient as in QCFS.

    Make one with :func:`median`, :func:`qcfs` or :func:`calibrated`.

    Args:
        levels: N, the highest count; None where the staircase has no end.
        step: q, the height of a stair; None where ``threshold`` gives it as ``threshold / levels``.
        threshold: height of the whole staircase, in the units of z.
        learned: whether ``threshold`` is a parameter.

    Raises:
        ConversionError: levels, step or threshold not above zero, or without end.
    """

    def __init__(
        self, levels: int | None, step: Fraction | None = None, threshold: float | None = None, learned: bool = False
    ) -> None:
        super().__init__()
        if levels is not None and not 1 <= levels < inf:
            raise ConversionError(f"level activation: expected at least 1 level, got {levels}: None for no end")
        if (step is None) == (threshold is None) or (threshold is not None and levels is None):
            raise ConversionError("level activation: give a step, or a threshold and a number of levels")
        height = step if threshold is None else threshold
        if height is None or not 0 < height < inf:
            raise ConversionError(f"level activation: expected a finite step or threshold above 0, got {height}")
        self.levels = levels
        self.fixed_step = step
        self.relaxed = False
        """Whether it clips without rounding, as the first part of a training may."""
        self.threshold: Tensor | None
        value = None if threshold is None else torch.tensor(float(threshold))
        if learned and value is not None:
            self.threshold = nn.Parameter(value)
        else:
            self.register_buffer("threshold", value)

    def read_step(self) -> Fraction:
        """q as the rational number that its float is.

        Raises:
            ConversionError: a learned threshold that has fallen to zero or is not finite.
        """
        if self.fixed_step is not None:
            return self.fixed_step
        value = float(self.threshold.detach()) if self.threshold is not None else 0.0
        if not 0 < value < float("inf"):
            raise ConversionError(
                f"level activation: expected a threshold above 0, got {value}: train with a lower rate"
            )
        return Fraction(value) / (self.levels or 1)

    def forward(self, z: Tensor) -> Tensor:
        """Apply the staircase to ``z`` of any shape."""
        if self.relaxed:
            return self._clip(z)
        if self.threshold is None:
            return _Staircase.apply(z, float(self.read_step()), self.levels)
        return _LearnedStaircase.apply(z, self.threshold, self.levels or 1)

    def _clip(self, z: Tensor) -> Tensor:
        if self.levels is None:
            return torch.relu(z)
        if self.threshold is None:
            return z.clamp(0, float(self.read_step() * self.levels))
        return _LearnedClip.apply(z, self.threshold)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        if self.threshold is None:
            return f"levels={self.levels}, step={self.fixed_step}"
        return f"levels={self.levels}, threshold={float(self.threshold.detach()):.4g}"


def median(k: int, bound: float | None = None) -> LevelActivation:
    """Median quantisation: ``q = 2^-k`` and ``N = bound * 2^k`` levels, or no end without a bound.

    Source: the k and B of the negative-spike, scatter-and-gather and all-integer works.

    Raises:
        ConversionError: ``k`` not from 0 to 16, or ``bound * 2^k`` not a whole number above 0.
    """
    if not 0 <= k <= 16:
        raise ConversionError(f"median quantisation: expected k from 0 to 16, got {k}")
    levels = None if bound is None else bound * 2**k
    if levels is not None and (not 1 <= levels < inf or levels != int(levels)):
        raise ConversionError(
            f"median quantisation: bound * 2^k must be a whole number above 0, got {bound} * 2^{k}: without a bound "
            "there is no end"
        )
    return LevelActivation(None if levels is None else int(levels), step=Fraction(1, 2**k))


def qcfs(levels: int, threshold: float = 8.0) -> LevelActivation:
    """Quantisation clip-floor-shift: ``q = threshold / levels`` with a learned threshold.

    Source: Bu et al., ICLR 2022, eq. 16 (there ``lambda`` and ``L``).
    """
    return LevelActivation(levels, threshold=threshold, learned=True)


def calibrated(percentile: float, levels: int) -> LevelActivation:
    """A staircase of ``levels`` levels up to ``percentile``, a value measured on activations, for a network trained
    without quantisation (threshold balancing)."""
    return LevelActivation(levels, threshold=percentile)


class RoundTrip(torch.autograd.Function):
    """Forward the second tensor exactly; backward the gradient goes to the first (straight-through), times ``slope``, a
    number as a tensor, if there is one."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor, quantised: Tensor, slope: Tensor | None = None) -> Tensor:  # noqa: ARG004
        ctx.slope = slope
        return quantised.view_as(quantised)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient if ctx.slope is None else gradient * ctx.slope, None, None


class _Staircase(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, step: float, levels: int | None) -> Tensor:
        ctx.save_for_backward(z)
        ctx.ceiling = None if levels is None else step * levels
        if step == 1:  # two passes over the data fewer, with the same numbers
            return z.add(0.5).floor_().clamp_(0, levels)
        return z.div(step).add_(0.5).floor_().clamp_(0, levels).mul_(step)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (z,) = ctx.saved_tensors
        return _pass_inside(gradient, z, ctx.ceiling), None, None


class _LearnedStaircase(torch.autograd.Function):
    """The staircase up to a threshold that is learned.

    With ``x = z / threshold``, ``y = count * threshold / levels`` the staircase and ``inside`` where ``0 < x < 1``,
    backward ``dy/dz = inside`` and ``dy/dthreshold = count / levels - inside * x``. Source: Bu et al., ICLR 2022,
    eq. 18; a few passes over the data, where a graph of elementary operations takes a dozen.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, levels: int) -> Tensor:
        height = threshold.detach()
        x = z / height
        count = x.clamp(0, 1).mul_(levels).add_(0.5).floor_()
        ctx.save_for_backward(x, count)
        ctx.levels = levels
        return count * (height / levels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, count = ctx.saved_tensors
        to_z = _pass_inside(gradient, x, 1.0)
        if not ctx.needs_input_grad[1]:
            return to_z, None, None
        return to_z, torch.addcmul((gradient * count).div_(ctx.levels), to_z, x, value=-1).sum().float(), None


class _LearnedClip(torch.autograd.Function):
    """``clip(z, 0, threshold)``: with ``x = z / threshold``, backward ``dy/dz`` is 1 where ``0 < x < 1`` and
    ``dy/dthreshold`` where ``x > 1``. A graph of elementary operations takes six times as long."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor) -> Tensor:
        height = threshold.detach()
        x = z / height
        ctx.save_for_backward(x)
        return x.clamp(0, 1).mul_(height)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        (x,) = ctx.saved_tensors
        to_z = _pass_inside(gradient, x, 1.0)
        if not ctx.needs_input_grad[1]:
            return to_z, None
        return to_z, torch.ops.aten.threshold_backward(gradient, x, 1).sum().float()


def _pass_inside(gradient: Tensor, z: Tensor, ceiling: float | None) -> Tensor:
    """The gradient where ``0 < z < ceiling``, else 0, by the operators behind ReLU and its bounded kin: on a CPU a
    product with a mask of booleans takes several times as long."""
    if ceiling is None:
        return torch.ops.aten.threshold_backward(gradient, z, 0)
    return torch.ops.aten.hardtanh_backward(gradient, z, 0, ceiling)
