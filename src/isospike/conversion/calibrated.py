"""Calibration: thresholds of least square error, and biases corrected from mean activations."""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from isospike.conversion.activation_statistics import (
    draw_images,
    drop_levels,
    fit_thresholds,
    mean_per_channel,
    measure_means,
)
from isospike.conversion.rate_coding import Dynamics, RateConversion, prepare
from isospike.conversion.rounded_rates import round_rates
from isospike.errors import ConversionError
from isospike.graph import Affine, Convolution, Dense, Node, SpikingGraph
from isospike.simulator import trace_spikes


@dataclass(frozen=True)
class Calibrated:
    """Options of :func:`convert_calibrated`.

    Attributes:
        t_max: the most time steps that the graph may run.
        target_steps: T, the number of steps that the conversion is calibrated for.
        norm: how many training images are measured.
        seed: draws them.
        per_channel: a threshold for each channel instead of one for each layer.
        correct_bias: whether biases are corrected.
        integer_bits: 8 or 16: a graph of integers, with weights of so many bits (:func:`round_rates`); None: floats.
    """

    t_max: int = 128
    target_steps: int = 32
    norm: int = 64
    seed: int = 0
    per_channel: bool = False
    correct_bias: bool = True
    integer_bits: int | None = None


def convert_calibrated(ann: SpikingGraph, config: Calibrated, images: Tensor) -> SpikingGraph:
    """Neurons with the threshold that leaves the least square error after T steps, and corrected biases.

    Layer by layer, from the first: the spikes of T steps are simulated on the calibration images, and each channel's
    bias is raised by the difference between the ANN's mean activation and the neurons' mean output. Neurons begin at
    half a threshold, which adds up to what the authors' shift of ``theta / 2T`` per step does.

    Args:
        ann: from :func:`isospike.networks.capture`; ReLUs or level activations (their staircases made straight).
        config: options.
        images: training images such as the network takes, ``norm`` of which are drawn.

    Raises:
        ConversionError: no images, ``target_steps`` below 1, a layer that is silent on all of them.

    Source: Li et al., ICML 2021 ("A free lunch from ANN"), the light pipeline: thresholds by minimum mean-square error
    and bias correction; neither their calibration of potentials nor that of weights.
    """
    if config.target_steps < 1:
        raise ConversionError(f"calibrated: expected target_steps of 1 or more, got {config.target_steps}")
    ann = drop_levels(prepare(ann, config.t_max))
    drawn = draw_images(images, config.norm, config.seed, "calibrated")
    thresholds = fit_thresholds(ann, drawn, config.target_steps, config.per_channel)
    conversion = RateConversion(ann, config.t_max, thresholds, Dynamics(initial=0.5))
    graph = conversion.run()
    if not config.correct_bias:
        return round_rates(graph, config.integer_bits)
    worth = {node.name: conversion.worth[node.inputs[0]] for node in graph.neurons}
    graph = _correct_biases(graph, drawn, config.target_steps, measure_means(ann, drawn), thresholds, worth)
    return round_rates(graph, config.integer_bits)


def _correct_biases(
    graph: SpikingGraph,
    images: Tensor,
    steps: int,
    means: dict[str, np.ndarray],
    thresholds: dict[str, float | np.ndarray],
    worth: dict[str, np.ndarray],
) -> SpikingGraph:
    """Raise each layer's constant current by what its mean output lacks, with the layers before it corrected."""
    trains: dict[str, Tensor] = {}
    for name in [node.name for node in graph.neurons]:
        spikes = trace_spikes(graph, images, steps, name, trains)
        rate = mean_per_channel(spikes.flatten(0, 1).float())
        lacking = means[name] - rate.numpy() * thresholds[name]
        graph = _add_current(graph, name, lacking / worth[name])
        trains[name] = trace_spikes(graph, images, steps, name, trains)
    return graph


def _add_current(graph: SpikingGraph, name: str, current: np.ndarray) -> SpikingGraph:
    """Give the neurons ``name`` a constant current: in the bias of the synapses before them, or in an Affine."""
    neuron = graph[name]
    (source,) = neuron.inputs
    before = graph[source]
    alone = sum(source in node.inputs for node in graph) == 1
    nodes: list[Node] = []
    for node in graph:
        if node is before and alone and isinstance(before, Convolution | Dense | Affine):
            nodes.append(replace(before, bias=current if before.bias is None else before.bias + current))
        elif node is neuron and not (alone and isinstance(before, Convolution | Dense | Affine)):
            shift = Affine(f"{name}.current", (source,), np.ones_like(current), current)
            nodes += [shift, replace(neuron, inputs=(shift.name,))]
        else:
            nodes.append(node)
    return SpikingGraph(tuple(nodes), graph.t_max)
