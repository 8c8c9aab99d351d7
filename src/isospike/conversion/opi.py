"""OPI: percentile thresholds, and the initial potential that is optimal for them."""

from dataclasses import dataclass

from torch import Tensor

from isospike.conversion.activation_statistics import draw_images, drop_levels, measure_percentiles
from isospike.conversion.rate_coding import Dynamics, RateConversion, prepare
from isospike.conversion.rounded_rates import round_rates
from isospike.graph import SpikingGraph


@dataclass(frozen=True)
class Opi:
    """Options of :func:`convert_opi`.

    Attributes:
        t_max: the most time steps that the graph may run.
        percentile: p of the thresholds, 0 to 100.
        norm: how many training images are measured.
        seed: draws them.
        integer_bits: 8 or 16: a graph of integers, with weights of so many bits (:func:`round_rates`); None: floats.
    """

    t_max: int = 128
    percentile: float = 99.9
    norm: int = 128
    seed: int = 0
    integer_bits: int | None = None


def convert_opi(ann: SpikingGraph, config: Opi, images: Tensor) -> SpikingGraph:
    """Neurons with percentile thresholds that are half charged at the beginning, ``V_0 = theta / 2``.

    Half a threshold makes the expected difference between the ANN's and the neuron's output zero, where a neuron that
    begins at 0 falls short by half a spike on average.

    Args:
        ann: from :func:`isospike.networks.capture`; ReLUs or level activations.
        config: options.
        images: training images such as the network takes, ``norm`` of which are drawn.

    Raises:
        ConversionError: no images, a percentile outside 0 to 100, a layer whose percentile is 0.

    Source: Bu et al., AAAI 2022 ("Optimized potential initialization for low-latency SNNs"). There the threshold is a
    clipping bound that is trained with the network; here it is measured, so that networks trained without one can be
    converted. With a trained bound the method is ``qcfs``.
    """
    ann = drop_levels(prepare(ann, config.t_max))
    drawn = draw_images(images, config.norm, config.seed, "opi")
    thresholds = measure_percentiles(ann, drawn, config.percentile)
    graph = RateConversion(ann, config.t_max, thresholds, Dynamics(initial=0.5)).run()
    return round_rates(graph, config.integer_bits)
