"""Percentile threshold balancing."""

from dataclasses import dataclass

from torch import Tensor

from isospike.conversion.activation_statistics import draw_images, drop_levels, measure_percentiles
from isospike.conversion.rate_coding import RateConversion, prepare
from isospike.conversion.rounded_rates import round_rates
from isospike.graph import SpikingGraph


@dataclass(frozen=True)
class Percentile:
    """Options of :func:`convert_percentile`.

    Attributes:
        t_max: the most time steps that the graph may run (the paper's ``--time``).
        percentile: p, 0 to 100.
        norm: how many training images are measured.
        seed: draws them.
        integer_bits: 8 or 16: a graph of integers, with weights of so many bits (:func:`round_rates`); None: floats.
    """

    t_max: int = 128
    percentile: float = 99.7
    norm: int = 128
    seed: int = 0
    integer_bits: int | None = None


def convert_percentile(ann: SpikingGraph, config: Percentile, images: Tensor) -> SpikingGraph:
    """Neurons whose threshold is the p-th percentile of their layer's activations; they begin at 0.

    Activations are measured on the ANN, zeros included, all neurons of a layer and all images together. Level
    activations are measured as if their staircases were straight, up to their highest level.

    Args:
        ann: from :func:`isospike.networks.capture`; ReLUs or level activations.
        config: options.
        images: training images such as the network takes, ``norm`` of which are drawn.

    Raises:
        ConversionError: no images, a percentile outside 0 to 100, a layer whose percentile is 0.

    Source: Lu and Sengupta, Frontiers in Neuroscience 2020. There the images are one augmented batch; networks have no
    biases and average pooling before the ReLU, here both may be otherwise.
    """
    ann = drop_levels(prepare(ann, config.t_max))
    drawn = draw_images(images, config.norm, config.seed, "percentile")
    graph = RateConversion(ann, config.t_max, measure_percentiles(ann, drawn, config.percentile)).run()
    return round_rates(graph, config.integer_bits)
