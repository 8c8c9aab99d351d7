"""A graph with damage to the numbers it stores: flipped bits of its weights, thresholds that have drifted."""

from dataclasses import replace

import numpy as np

from isospike.errors import GraphError
from isospike.graph.nodes import CountingNeuron, IntegrateAndFire, Node, Synapses, is_integer
from isospike.graph.packing import is_packable
from isospike.graph.spiking_graph import SpikingGraph

_LARGEST = 2.0**40
_WIDEST = 100.0
"""The most that a drift's exponent may deviate: at seven times as much a float64 would overflow."""


def count_weight_bits(weight: np.ndarray) -> int:
    """Bits that the file has for each of these integer weights: 2 where it packs them, else those of their type."""
    return 2 if is_packable(weight) else weight.dtype.itemsize * 8


def flip_weight_bits(graph: SpikingGraph, share: float, seed: int) -> SpikingGraph:
    """Invert ``round(share * bits)`` different bits of the stored weights.

    All bits of all weights are as likely: two for each weight that the file packs (two's complement, so -2 may come
    out), all bits of the integer for the others. A larger share of the same seed takes in the bits of a smaller one.

    Args:
        graph: converted, with integer weights.
        share: 0 to 1.
        seed: of the choice.

    Raises:
        GraphError: float weights, or no share.
    """
    _check_amount("flip_weight_bits", share, 1)
    for node in graph.synapses:
        if not is_integer(node.arrays["weight"]):
            raise GraphError(
                f"{node.name}: bits of integer weights flip, got floats: convert it with integer weights (all-integer, "
                "or integer_bits)"
            )
    widths = [count_weight_bits(node.arrays["weight"]) for node in graph.synapses]
    sizes = [node.arrays["weight"].size * width for node, width in zip(graph.synapses, widths, strict=True)]
    total = sum(sizes)
    chosen = np.random.default_rng(seed).permutation(total)[: round(share * total)]
    ends = np.cumsum(sizes)
    damaged: dict[str, Node] = {}
    for node, width, size, end in zip(graph.synapses, widths, sizes, ends, strict=True):
        bits = chosen[(chosen >= end - size) & (chosen < end)] - (end - size)
        if isinstance(node, Synapses):
            damaged[node.name] = replace(node, weight=_flip(node.weight, bits, width))
    return _exchange(graph, damaged)


def drift_thresholds(graph: SpikingGraph, deviation: float, seed: int) -> SpikingGraph:
    """Multiply all thresholds of a channel by ``exp(deviation * G)``, G standard normal, one draw for each channel.

    The first threshold and the step alike, so level n of a counting neuron moves from theta_n to that multiple of it;
    integers are rounded to the nearest (half to even), steps and the thresholds of integrate-and-fire neurons to at
    least 1. Initial potentials stay. A larger deviation of the same seed scales the same draws.

    Args:
        graph: converted.
        deviation: standard deviation of the logarithm, from 0 to 100: 0.1 is about 10 %.
        seed: of the draws.

    Raises:
        GraphError: a deviation below 0 or above 100.
    """
    _check_amount("drift_thresholds", deviation, _WIDEST)
    generator = np.random.default_rng(seed)
    drifted: dict[str, Node] = {}
    for node in graph.neurons:
        factor = np.exp(deviation * generator.standard_normal(len(node.threshold)))
        drifted[node.name] = _drift(node, factor)
    return _exchange(graph, drifted)


def _flip(weight: np.ndarray, bits: np.ndarray, width: int) -> np.ndarray:
    """The weights with these bits inverted: bit b of weight w, in C order, has the number ``w * width + b``."""
    fields = weight.reshape(-1).view(f"u{weight.dtype.itemsize}").copy()
    masks = np.left_shift(np.ones(len(bits), dtype=fields.dtype), (bits % width).astype(fields.dtype))
    np.bitwise_xor.at(fields, bits // width, masks)
    if width == 2:
        fields = ((fields & fields.dtype.type(3)) ^ fields.dtype.type(2)) - fields.dtype.type(2)
    return fields.view(weight.dtype).reshape(weight.shape)


def _drift(node: CountingNeuron | IntegrateAndFire, factor: np.ndarray) -> Node:
    if isinstance(node, CountingNeuron):
        if node.step is None:
            return replace(node, threshold=_multiply(node.threshold, factor[:, None]))
        step = _multiply(node.step, factor)
        step = np.maximum(step, 1) if is_integer(step) else step
        return replace(node, threshold=_multiply(node.threshold, factor), step=step)
    threshold = _multiply(node.threshold, factor)
    return replace(
        node,
        threshold=np.maximum(threshold, 1) if is_integer(threshold) else threshold,
        lower=None if node.lower is None else np.minimum(_multiply(node.lower, factor), node.initial),
        residual=None if node.residual is None else _multiply(node.residual, factor),
    )


def _multiply(values: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The product; of integers, rounded, and cut to +-2^40, which no membrane reaches."""
    product = values * factor
    if not is_integer(values):
        return product
    rounded: np.ndarray = np.rint(np.clip(product, -_LARGEST, _LARGEST)).astype(np.int64)
    return rounded


def _exchange(graph: SpikingGraph, nodes: dict[str, Node]) -> SpikingGraph:
    return replace(graph, nodes=tuple(nodes.get(node.name, node) for node in graph))


def _check_amount(name: str, amount: float, most: float) -> None:
    if not 0 <= amount <= most or amount == float("inf"):
        raise GraphError(f"{name}: expected a number from 0 to {most:g}, got {amount}")
