"""Thresholds from what the activations of a network are on a few images."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from isospike.errors import ConversionError
from isospike.graph import Activation, Node, Rectifier, SpikingGraph
from isospike.networks import CapturedNetwork

_BATCH = 32
_GRID = 100


def draw_images(images: Tensor, number: int, seed: int, method: str) -> Tensor:
    """``number`` of ``images``, or all where there are fewer, drawn by ``seed``.

    Raises:
        ConversionError: no images, or a number below 1.
    """
    if not len(images):
        raise ConversionError(f"{method}: expected training images to measure activations on, got none: give images=")
    if number < 1:
        raise ConversionError(f"{method}: expected to measure on 1 image or more, got norm = {number}")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:number]]


def drop_levels(ann: SpikingGraph) -> SpikingGraph:
    """The same network with its staircases made straight: ReLUs with the staircase's ceiling, if it has one. Staircases
    with steps of their own for each channel stay."""

    def straighten(node: Node) -> Node:
        if not isinstance(node, Activation) or node.ratios is not None:
            return node
        ceiling = None if node.levels is None else float(node.step * node.levels)
        return Rectifier(node.name, node.inputs, ceiling)

    return SpikingGraph(tuple(straighten(node) for node in ann))


def measure_percentiles(ann: SpikingGraph, images: Tensor, percentile: float) -> dict[str, float]:
    """The percentile of each activation over all its neurons and images, zeros included; linear between neighbours.

    Only the highest values are kept, so that a percentile near 100 of a large network needs little memory.

    Args:
        ann: a captured ANN.
        images: such as the network takes.
        percentile: 0 (the lowest) to 100 (the highest value).

    Raises:
        ConversionError: a percentile outside 0 to 100.
    """
    if not 0 <= percentile <= 100:
        raise ConversionError(f"percentile: expected a number from 0 to 100, got {percentile}")
    tops: dict[str, Tensor] = {}
    totals = {name: len(images) * int(np.prod(ann.shapes[name])) for name in _names(ann)}
    for signals in _measure(ann, images):
        for name, values in signals.items():
            place = percentile / 100 * (totals[name] - 1)
            wanted = totals[name] - int(place)
            known = torch.cat([tops[name], values.flatten()]) if name in tops else values.flatten()
            tops[name] = torch.topk(known, min(wanted, len(known))).values
    found = {}
    for name, top in tops.items():
        place = percentile / 100 * (totals[name] - 1)
        low = float(top[-1])
        high = float(top[-2]) if len(top) > 1 else low
        found[name] = low + (high - low) * (place - int(place))
    return found


def fit_thresholds(ann: SpikingGraph, images: Tensor, steps: int, per_channel: bool) -> dict[str, float | np.ndarray]:
    """Of a grid up to the highest activation, the threshold whose ``steps`` levels leave the least square error.

    ``error(theta) = mean((x - theta / T * clip(floor(x T / theta + 1/2), 0, T))^2)`` over theta = 0.01, 0.02 .. 1 times
    the highest x. A channel that is silent on all images takes its layer's largest threshold.

    Args:
        ann: a captured ANN.
        images: such as the network takes.
        steps: T.
        per_channel: a threshold for each channel, else one for each layer.
    """
    highest: dict[str, Tensor] = {}
    for signals in _measure(ann, images):
        for name, values in signals.items():
            top = values.transpose(0, 1).flatten(1).amax(1).double()
            highest[name] = torch.maximum(highest[name], top) if name in highest else top
    if not per_channel:
        highest = {name: top.max().reshape(1) for name, top in highest.items()}
    errors = {name: torch.zeros(_GRID, len(top), dtype=torch.float64) for name, top in highest.items()}
    for signals in _measure(ann, images):
        for name, values in signals.items():
            flat = values.transpose(0, 1).flatten(1) if per_channel else values.reshape(1, -1)
            for place in range(_GRID):
                quantum = ((place + 1) / _GRID / steps * highest[name]).clamp(min=1e-30).to(flat.dtype)[:, None]
                count = flat.div(quantum).add_(0.5).floor_().clamp_(0, steps)
                errors[name][place] += count.mul_(quantum).sub_(flat).square_().sum(1).double()
    fitted: dict[str, float | np.ndarray] = {}
    for name, top in highest.items():
        best = (errors[name].argmin(0) + 1) / _GRID * top
        best = torch.where(best > 0, best, best.max())
        fitted[name] = best.numpy() if per_channel else float(best)
    return fitted


def measure_means(ann: SpikingGraph, images: Tensor) -> dict[str, np.ndarray]:
    """The mean of each activation per channel, over images and positions, float64."""
    sums: dict[str, Tensor] = {}
    for signals in _measure(ann, images):
        for name, values in signals.items():
            total = mean_per_channel(values) * len(values)
            sums[name] = sums[name] + total if name in sums else total
    return {name: (total / len(images)).numpy() for name, total in sums.items()}


def mean_per_channel(values: Tensor) -> Tensor:
    """(batch, channels, ...) to (channels,), float64."""
    return values.double().transpose(0, 1).flatten(1).mean(1)


def _names(ann: SpikingGraph) -> list[str]:
    return [node.name for node in ann if isinstance(node, Activation | Rectifier)]


def _measure(ann: SpikingGraph, images: Tensor) -> Iterator[dict[str, Tensor]]:
    """The activations of each batch by name, float32."""
    network, names = CapturedNetwork(ann), _names(ann)
    for batch in images.split(_BATCH):
        yield network.measure(batch, names)
