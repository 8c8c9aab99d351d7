"""How many steps an answer takes: as measured, with early exit, and at worst."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np

from isospike.errors import GraphError
from isospike.graph import CountingNeuron, Input, MaxPool, SpikingGraph
from isospike.graph.intervals import Interval, add_interval, bound_potential

PERCENTS = (50, 90, 99, 100)
_LARGEST = 2**53


@dataclass(frozen=True)
class Settling:
    """When images settled.

    Attributes:
        images: in all.
        histogram: how many settled at each step, the first being step 1.
    """

    images: int
    histogram: tuple[int, ...]

    @property
    def unsettled(self) -> int:
        """Images that had not settled by the last step."""
        return self.images - sum(self.histogram)

    @property
    def mean_steps(self) -> float:
        """Mean steps with early exit: an image stops in the step in which it settles, or after the last one."""
        settled = sum(step * number for step, number in enumerate(self.histogram, start=1))
        return (settled + len(self.histogram) * self.unsettled) / self.images

    def find_step(self, percent: int) -> int | None:
        """The first step by which at least so many percent of the images had settled; None if they never had."""
        total = 0
        for step, number in enumerate(self.histogram, start=1):
            total += number
            if total * 100 >= percent * self.images:
                return step
        return None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "steps": len(self.histogram),
            "images": self.images,
            "histogram": list(self.histogram),
            "unsettled": self.unsettled,
            "mean_steps_early_exit": self.mean_steps,
            "steps_until_settled": {str(percent): self.find_step(percent) for percent in PERCENTS},
        }


def summarise_settling(settled: Sequence[int], images: int) -> Settling:
    """When images settled, from how many had after each step.

    Args:
        settled: images that had settled after step 1, 2, ...; it never falls.
        images: in all.
    """
    return Settling(images, tuple(int(now) - int(before) for before, now in zip((0, *settled), settled, strict=False)))


def bound_latency(graph: SpikingGraph) -> int | None:
    """The step by which every image has settled, whatever its pixels, with spikes passing all layers within the step.

    When what a layer receives is final, its counts have at most n_max / m steps to go, n_max being the largest count
    that its membranes' bounds allow and m its most spikes a step. So, with t_in = 1 for the pixels,

        t_layer = max over inputs of t_in, + max(ceil(n_max / m), 1) - 1

    A run of fewer steps may leave images unsettled; most settle far earlier (:class:`Settling`).

    Returns:
        The step; None where it is beyond 2^53, or the graph is rate-coded, whose rates never settle.

    Raises:
        GraphError: the graph is a captured ANN.
    """
    if not graph.is_converted:
        raise GraphError("bound_latency: expected a spiking graph, got a captured ANN: convert it first")
    if graph.is_rate_coded:
        return None
    intervals: dict[str, Interval] = {}
    ready: dict[str, float] = {}
    for node in graph:
        before = max((ready[name] for name in node.inputs), default=1)
        if isinstance(node, Input):
            offset = node.offset.astype(np.float64)
            low, high = np.minimum(-offset, 0.0), np.maximum(255.0 - offset, 0.0)
            intervals[node.name] = Interval(low, high, np.maximum(abs(low), abs(high)))
        elif isinstance(node, CountingNeuron):
            most = _find_most(node, bound_potential(node, intervals[node.inputs[0]]))
            intervals[node.name] = Interval(np.zeros_like(most), most, most)
        else:
            add_interval(node, intervals, graph.shapes, graph.t_max or 1)
        limit = node.limit if isinstance(node, CountingNeuron | MaxPool) else None
        bound = intervals[node.name]
        reach = max(float(bound.high.max()), -float(bound.low.min()))
        climb = 0.0 if limit is None else np.ceil(reach / limit)
        ready[node.name] = before + max(climb, 1) - 1
    last = max(ready.values())
    return int(last) if last < _LARGEST else None


def _find_most(node: CountingNeuron, membrane: Interval) -> np.ndarray:
    """The largest count that each channel's membrane can deserve, float64 (channels,)."""
    most = np.zeros(len(membrane.high))
    for channel, high in enumerate(membrane.high.tolist()):
        if not high < _LARGEST:
            most[channel] = np.inf if node.levels is None else node.levels
        elif node.step is None:
            most[channel] = np.searchsorted(node.threshold[channel], high, side="right")
        else:
            scaled = high * 2.0 ** (node.fraction_bits or 0)
            most[channel] = floor((scaled - node.threshold[channel]) / node.step[channel]) + 1
    return np.clip(most, 0, node.levels)
