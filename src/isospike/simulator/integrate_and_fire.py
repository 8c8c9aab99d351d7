"""The integrate-and-fire neuron with reset by subtraction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from isospike.graph import IntegrateAndFire
from isospike.simulator.arithmetic import lay_out, per_channel, to_tensor


@dataclass(eq=False)
class Potentials:
    """The state of a layer, (batch, channels, ...) each.

    Attributes:
        membrane: V.
        count: positive minus negative spikes so far, those of silenced neurons included.
        heard: 1, or 0 where a neuron is silenced; None where none is.
    """

    membrane: Tensor
    count: Tensor
    heard: Tensor | None = None

    def hear(self, spikes: Tensor) -> Tensor:
        """Those of a layer's spikes, or of their sums, that the next layers get."""
        return spikes if self.heard is None else spikes * self.heard


@dataclass(frozen=True, eq=False)
class FiringRule:
    """The potentials of an :class:`isospike.graph.IntegrateAndFire`, ready to compare with (batch, channels, ...);
    ``ends`` is what membranes are clamped to after each addition, None for nothing."""

    threshold: Tensor
    initial: Tensor
    lower: Tensor | None
    residual: Tensor | None
    ends: tuple[int, int] | None = None

    def begin(self, batch: int, shape: tuple[int, ...]) -> Potentials:
        """The state before the first step."""
        blank = lay_out(torch.zeros(batch, *shape, dtype=self.threshold.dtype, device=self.threshold.device))
        membrane = blank + self.initial
        return Potentials(membrane if self.ends is None else membrane.clamp_(*self.ends), blank)

    def fire(self, state: Potentials, current: Tensor) -> Tensor:
        """One step: ``V += I``, the spikes s, ``V -= s * threshold``. Silenced neurons go on, and their spikes are in
        s; :meth:`Potentials.hear` takes them out."""
        membrane = state.membrane.add_(current)
        if self.ends is not None:
            membrane.clamp_(*self.ends)
        # in one pass, where comparing to bool and converting takes several
        spikes = torch.ge(membrane, self.threshold, out=torch.empty_like(membrane))
        if self.lower is not None:
            spikes -= ((membrane < self.lower) & (state.count > 0)).to(membrane.dtype)
        membrane.addcmul_(spikes, self.threshold, value=-1)
        state.count += spikes
        return spikes

    def restart(self, state: Potentials) -> Potentials:
        """Begin anew, with those neurons silenced whose potential is not above the residual."""
        again = self.begin(len(state.membrane), tuple(state.membrane.shape[1:]))
        if self.residual is not None:
            again.heard = (state.membrane > self.residual).to(state.membrane.dtype)
        return again


def make_rule(
    node: IntegrateAndFire,
    dimensions: int,
    dtype: torch.dtype,
    device: torch.device,
    ends: tuple[int, int] | None = None,
) -> FiringRule:
    """``node`` made ready for membranes of ``dimensions`` dimensions, the batch included."""
    threshold, initial = (
        per_channel(to_tensor(array, dtype, device), dimensions) for array in (node.threshold, node.initial)
    )
    lower, residual = (
        None if array is None else per_channel(to_tensor(array, dtype, device), dimensions)
        for array in (node.lower, node.residual)
    )
    return FiringRule(threshold, initial, lower, residual, ends)
