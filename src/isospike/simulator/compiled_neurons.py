"""Counting neurons in float64 in one pass over the memory, in compiled code."""

import math

import numpy as np
import torch
from torch import Tensor

from isospike.engine.native_module import choose_isa, is_available, require_native
from isospike.errors import SimulationError
from isospike.simulator.arithmetic import lay_out
from isospike.simulator.neurons import Thresholds
from isospike.simulator.recording import SpikeTotals


class CompiledNeurons:
    """The step of one layer: bit by bit what :func:`isospike.simulator.neurons.deserve_count` and
    :func:`isospike.simulator.neurons.fire` give in float64."""

    def __init__(self, thresholds: Thresholds, limit: int) -> None:
        """Get ready; see :func:`can_compile`.

        Raises:
            SimulationError: a table of thresholds; ``ISOSPIKE_ISA`` names an instruction set that is not there.
        """
        if thresholds.step is None:
            raise SimulationError("compiled neurons: expected a threshold and a step, got a table: use deserve_count")
        self._rule = (
            thresholds.threshold.flatten().numpy(),
            thresholds.step.flatten().numpy(),
            float(1 << (thresholds.fraction_bits or 0)),
            math.inf if thresholds.levels is None else float(thresholds.levels),
            float(limit),
        )
        self._isa = choose_isa()

    def step(self, membrane: Tensor, count: Tensor, current: Tensor | None) -> tuple[Tensor, Tensor, SpikeTotals]:
        """Add ``current`` to ``membrane``, fire, and add the spikes to ``count``; None stands for no current.

        Args:
            membrane: V, float64 (batch, channels, ...), with channels innermost in memory, changed in place.
            count: c, likewise.
            current: (batch, channels, ...).

        Returns:
            The spikes, (batch, channels, ...); whether all neurons have the counts that they deserve, bool (batch,);
            and what the spikes amount to.
        """
        spikes = torch.empty_like(membrane)
        magnitude = membrane.new_empty(len(membrane), *membrane.shape[2:])
        totals = torch.from_numpy(
            require_native().step_counting_neurons(
                _view_rows(membrane),
                _view_rows(count),
                _view_rows(spikes),
                magnitude.view(len(membrane), -1).numpy(),
                None if current is None else _view_rows(lay_out(current)),
                *self._rule,
                torch.get_num_threads(),
                self._isa,
            )
        )
        fired, net, missing = totals.unbind(1)
        return spikes, missing == 0, SpikeTotals(magnitude, (fired + net) / 2, (fired - net) / 2)


def can_compile(thresholds: Thresholds, device: torch.device) -> bool:
    """Whether there is compiled code for these neurons: in float64 on a CPU, without a table of thresholds."""
    plain = thresholds.step is not None and thresholds.dtype is torch.float64
    return plain and device.type == "cpu" and is_available()


def _view_rows(signal: Tensor) -> np.ndarray:
    """The same memory as (batch, positions, channels)."""
    return signal.movedim(1, -1).view(len(signal), -1, signal.shape[1]).numpy()
