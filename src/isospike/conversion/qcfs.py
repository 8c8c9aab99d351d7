"""QCFS: integrate-and-fire neurons with the thresholds that the network has learned."""

from dataclasses import dataclass

from isospike.conversion.rate_coding import Dynamics, RateConversion, prepare, read_bounds
from isospike.conversion.rounded_rates import round_rates
from isospike.graph import SpikingGraph


@dataclass(frozen=True)
class Qcfs:
    """Options of :func:`convert_qcfs`.

    Attributes:
        t_max: the most time steps that the graph may run.
        integer_bits: 8 or 16: a graph of integers, with weights of so many bits (:func:`round_rates`); None: floats.
    """

    t_max: int = 128
    integer_bits: int | None = None


def convert_qcfs(ann: SpikingGraph, config: Qcfs) -> SpikingGraph:
    """Neurons with the height of the level activation as their threshold, half charged at the beginning.

    ``V_0 = theta / 2``: with a constant current z, the mean output after T steps is
    ``theta / T * clip(floor(z T / theta + 1/2), 0, T)``, the level activation with T levels; so after ``levels`` steps
    a first layer equals the ANN's. Later layers do not: spikes that come unevenly are not taken back.

    Args:
        ann: from :func:`isospike.networks.capture`; level activations with a highest level.
        config: options.

    Raises:
        ConversionError: a ReLU, or an activation without a highest level.

    Source: Bu et al., ICLR 2022 ("Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency SNNs"), eq. 16.
    """
    ann = prepare(ann, config.t_max)
    graph = RateConversion(ann, config.t_max, read_bounds(ann, "qcfs"), Dynamics(initial=0.5)).run()
    return round_rates(graph, config.integer_bits)
