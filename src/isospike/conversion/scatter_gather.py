"""Scatter and gather: the whole count at once, one binary neuron per level."""

from dataclasses import dataclass

from isospike.conversion.base import CountingConversion
from isospike.graph import SpikingGraph


@dataclass(frozen=True)
class ScatterGather:
    """Options of :func:`convert_scatter_gather`.

    Attributes:
        t_max: the most time steps that the graph may run; one is enough.
    """

    t_max: int = 1


def convert_scatter_gather(ann: SpikingGraph, config: ScatterGather) -> SpikingGraph:
    """Counting neurons with m = N: a neuron of N levels stands for N binary neurons that share a membrane.

    The levels are spread in space instead of in time, so the network agrees after one time step.

    Args:
        ann: from :func:`isospike.networks.capture`; every activation bounded.
        config: options.

    Raises:
        ConversionError: an activation has no highest level; the message names it.

    Source: Zou et al., Frontiers in Neuroscience 2021 (doi:10.3389/fnins.2021.694170); thresholds are exact here.
    """
    return CountingConversion(ann, config.t_max, limit=None).run()
