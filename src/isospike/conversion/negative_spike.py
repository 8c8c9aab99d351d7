"""Negative spikes: one spike of either sign per neuron and step."""

from dataclasses import dataclass

from isospike.conversion.base import CountingConversion
from isospike.graph import SpikingGraph


@dataclass(frozen=True)
class NegativeSpike:
    """Options of :func:`convert_negative_spike`.

    Attributes:
        t_max: the most time steps that the graph may run.
    """

    t_max: int = 64


def convert_negative_spike(ann: SpikingGraph, config: NegativeSpike) -> SpikingGraph:
    """Counting neurons with m = 1, on float or integer weights.

    A neuron fires +1 when its membrane has climbed one level and -1 when it has fallen back one, so that errors made by
    spikes that came too early are taken back. Thresholds are exact: integers where weights are, float64 elsewhere.

    Args:
        ann: from :func:`isospike.networks.capture`.
        config: options.

    Raises:
        ConversionError: the network does not fit the method.

    Source: Zou et al., Advanced Intelligent Systems 2023 (doi:10.1002/aisy.202300383); their code has float thresholds
    throughout and drops the case gamma < 0.
    """
    return CountingConversion(ann, config.t_max, limit=1).run()
