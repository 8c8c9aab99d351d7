"""Calibration: level activations for a network that nobody will retrain, from a few hundred images without labels."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from isospike.conversion.histograms import Histogram
from isospike.errors import ConversionError
from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Node,
    Rectifier,
    SpikingGraph,
)
from isospike.networks import CapturedNetwork, capture

CRITERIA = ("percentile", "mean-square-error")
EXTENTS = ("layer", "channel")
_MOST_LEVELS = 1 << 16


def calibrate(
    model: nn.Module | SpikingGraph,
    images: Tensor,
    *,
    levels: int = 32,
    criterion: str = "percentile",
    percentile: float = 99.9,
    per: str = "layer",
    correct_bias: bool = False,
    pixels: tuple[Sequence[float], Sequence[float]] | None = None,
    batch_size: int = 32,
    device: str = "cpu",
    on_layer: Callable[[int, int], None] | None = None,
) -> SpikingGraph:
    """Give every ReLU of a trained network a staircase: ``q * clip(floor(z / q + 1/2), 0, N)``, ``q = theta / N``.

    Layer after layer, in the order of computation: the activations of the images are measured in the network whose
    earlier layers have their staircases already, and theta is chosen from them. With ``correct_bias`` the mean that a
    staircase takes away from (or adds to) each channel, compared with the network as it came, is then given back to
    the bias, or BatchNorm's beta, before it. Images pass in batches, and only histograms of activations are kept.

    Args:
        model: a trained classifier with ReLU or ReLU6, or its capture. Level activations that it has already stay.
        images: such as the network takes, (batch, channel, height, width): uint8, or float where its Input says
            ``floats``. A few hundred, of the training set; no labels.
        levels: N, the number of levels.
        criterion: "percentile": theta is that percentile of the layer's activations, zeros included;
            "mean-square-error": of 200 thresholds up to the highest activation, the one whose staircase is nearest.
        percentile: above 0, up to 100 (the highest activation, which is taken where the percentile is 0 as well).
        per: "layer" (one theta) or "channel" (one for each; a channel that is silent on all images gets its layer's).
        correct_bias: whether means are corrected.
        pixels: mean and deviation of a module that takes normalised float images (see :func:`isospike.capture`).
        batch_size: images at a time.
        device: "cpu" or "cuda".
        on_layer: called with the number of layers done and to do.

    Returns:
        A captured graph with level activations, which every method takes.

    Raises:
        ConversionError: options out of range, images that do not fit, a network without a ReLU.

    Source: threshold balancing by percentile, Rueckauer et al., 2017, and Lu and Sengupta, 2020; thresholds by
    mean-square error and bias correction, Li et al., ICML 2021, sections 4.2 and 4.3, who compare with the original
    network's activations, where here a staircase is compared with what enters it. The half step is QCFS's.
    """
    _check_options(levels, criterion, percentile, per, batch_size)
    if not len(images):
        raise ConversionError("calibrate: expected images to measure activations on, got none: give a few hundred")
    if isinstance(model, SpikingGraph) and pixels is not None:
        raise ConversionError("pixels: expected none beside a captured graph, which holds its own: leave pixels out")
    example = images[:1].expand(2, *images.shape[1:])
    ann = model if isinstance(model, SpikingGraph) else capture(model, example, pixels=pixels)
    rectifiers = [node for node in ann if isinstance(node, Rectifier)]
    if not rectifiers:
        raise ConversionError("calibrate: expected a network with ReLU, got one without: it can be converted as it is")
    batches = images.split(batch_size)
    means = _measure_means(ann, batches, [node.name for node in rectifiers], device) if correct_bias else {}
    network = CapturedNetwork(ann, device=device)
    changed: dict[str, Node] = {}
    for done, node in enumerate(rectifiers, start=1):
        histogram = _measure_histogram(network, batches, node, levels, per)
        theta = histogram.find_percentile(percentile) if criterion == "percentile" else histogram.fit_threshold(levels)
        theta = torch.where(theta > 0, theta, histogram.highest)  # active, but more rarely than the percentile sees
        changed[node.name] = _make_activation(node, theta.numpy(), levels, per)
        network.replace(changed[node.name])
        if correct_bias:
            corrected = _correct_bias(ann, changed, network, batches, node, means[node.name])
            if corrected is not None:
                changed[corrected.name] = corrected
                network.replace(corrected)
        if on_layer is not None:
            on_layer(done, len(rectifiers))
    return SpikingGraph(tuple(changed.get(node.name, node) for node in ann))


def _check_options(levels: int, criterion: str, percentile: float, per: str, batch_size: int) -> None:
    checks = (
        ("levels", 1 <= levels <= _MOST_LEVELS, levels, f"1 to {_MOST_LEVELS}"),
        ("criterion", criterion in CRITERIA, criterion, f"one of {', '.join(CRITERIA)}"),
        ("percentile", 0 < percentile <= 100, percentile, "above 0, at most 100"),
        ("per", per in EXTENTS, per, f"one of {', '.join(EXTENTS)}"),
        ("batch_size", batch_size >= 1, batch_size, "1 image or more"),
    )
    for name, fits, value, expected in checks:
        if not fits:
            raise ConversionError(f"calibrate: {name}: expected {expected}, got {value!r}")


def _measure_histogram(
    network: CapturedNetwork, batches: Sequence[Tensor], node: Rectifier, levels: int, per: str
) -> Histogram:
    """The activations of one layer over all images, a row for each channel or one for all."""
    channels = network.ann.shapes[node.name][0]
    histogram = Histogram(channels if per == "channel" else 1, max(4096, 64 * levels))
    for batch in batches:
        signal = network.measure(batch, (node.name,))[node.name]
        rows = signal.transpose(0, 1).flatten(1) if per == "channel" else signal.reshape(1, -1)
        if not bool(torch.isfinite(rows).all()):
            raise ConversionError(f"{node.name}: an activation is NaN or infinite: train or load the network anew")
        histogram.add(rows)
    return histogram


def _make_activation(node: Rectifier, theta: np.ndarray, levels: int, per: str) -> Activation:
    """Silent channels take the largest threshold of their layer."""
    largest = float(theta.max()) or node.ceiling or 1.0
    ratios = np.where(theta > 0, theta, largest) / largest if per == "channel" else None
    return Activation(node.name, node.inputs, Fraction(largest) / levels, levels, ratios)


def _measure_means(
    ann: SpikingGraph, batches: Sequence[Tensor], names: Sequence[str], device: str
) -> dict[str, Tensor]:
    """The mean of each node of ``ann`` per channel, float64, over images and positions."""
    return _sum_means(CapturedNetwork(ann, device=device), batches, names)


def _sum_means(network: CapturedNetwork, batches: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    totals: dict[str, Tensor] = {}
    for batch in batches:
        for name, mean in network.measure(batch, names, _average).items():
            weighted = mean * len(batch)
            totals[name] = totals[name] + weighted if name in totals else weighted
    images = sum(len(batch) for batch in batches)
    return {name: total / images for name, total in totals.items()}


def _average(signal: Tensor) -> Tensor:
    return signal.double().transpose(0, 1).flatten(1).mean(1).cpu()


def _correct_bias(
    ann: SpikingGraph,
    changed: dict[str, Node],
    network: CapturedNetwork,
    batches: Sequence[Tensor],
    node: Rectifier,
    wanted: Tensor,
) -> Node | None:
    """The node before ``node`` with its bias (or beta) shifted by the mean that is missing; None if there is none."""
    source = _find_bias(ann, node)
    if source is None:
        return None
    source = changed.get(source.name, source)
    missing = (wanted - _sum_means(network, batches, (node.name,))[node.name]).numpy()
    if isinstance(source, BatchNorm):
        return replace(source, beta=source.beta + missing)
    if isinstance(source, Convolution | Dense):
        return replace(source, bias=missing if source.bias is None else source.bias + missing)
    return None


def _find_bias(ann: SpikingGraph, node: Node) -> Node | None:
    """The nearest node before ``node`` whose bias reaches it unchanged and reaches nothing else."""
    users = {each.name: sum(other.inputs.count(each.name) for other in ann) for each in ann}
    waiting = [ann[name] for name in node.inputs]
    while waiting:
        source = waiting.pop(0)
        if users[source.name] > 1:
            continue
        if isinstance(source, BatchNorm | Convolution | Dense):
            return source
        if isinstance(source, Add) or (isinstance(source, AveragePool) and source.padding == (0, 0)):
            waiting += [ann[name] for name in source.inputs]
    return None
