"""Counting: the lossless counting neuron for any captured network with level activations."""

from dataclasses import dataclass

from isospike.conversion.base import CountingConversion
from isospike.graph import SpikingGraph


@dataclass(frozen=True)
class Counting:
    """Options of :func:`convert_counting`.

    Attributes:
        t_max: the most time steps that the graph may run.
        limit: m, the most spikes of a neuron in a step; None for as many as there are levels.
    """

    t_max: int = 64
    limit: int | None = 1


def convert_counting(ann: SpikingGraph, config: Counting) -> SpikingGraph:
    """Counting neurons for residual sums, concatenations, pooling anywhere, BatchNorm before or after synapses.

    An image that has settled has the quantised ANN's counts and logits: exactly with integer weights, where the gains
    of branches that meet are rounded to integers and that network *is* the quantised ANN; up to the rounding of float64
    with float weights (docs/theorem.md). A neuron where branches meet integrates ``V = sum_i G_i u_i``; the spikes of
    an identity shortcut are its current themselves.

    Args:
        ann: from :func:`isospike.networks.capture`, its images raw pixels.
        config: options.

    Raises:
        ConversionError: a ReLU (calibrate the network to levels first), float images, an activation without levels
            where ``limit`` is None, or a max pool of currents with no activation behind it.

    Source: the neuron is that of the negative-spike, all-integer and scatter-gather works (Zou et al., 2023, 2024 and
    2021; docs/methods.md); sums with gains, and the certificate, are ours.
    """
    return CountingConversion(ann, config.t_max, config.limit).run()
