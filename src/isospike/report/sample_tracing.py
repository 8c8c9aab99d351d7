"""One sample image through a network, seen neuron by neuron."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from isospike.graph import CountingNeuron, IntegrateAndFire, SpikingGraph
from isospike.report.sample import LayerTrace, MembraneTrace, Sample, SpikeTrain
from isospike.simulator.watching import watch

RASTER_ROWS = 24


def trace_sample(
    graph: SpikingGraph,
    image: Tensor,
    label: int,
    *,
    steps: int,
    place: int,
    command: str,
    digest: str,
    propagation: str = "within-step",
    conditions: dict[str, Any] | None = None,
) -> Sample:
    """Run one image twice: once to see who fires, once to note the chosen neurons.

    Args:
        graph: a converted graph.
        image: uint8 (channel, height, width).
        label: its class.
        steps: time steps.
        place: of the image among the test images.
        command: that is noted with the trace.
        digest: SHA-256 of the graph's file.
        propagation: as for :func:`isospike.simulate`.
        conditions: that are noted with the trace.

    Raises:
        SimulationError: an image that the graph does not take, more steps than T_max.
    """
    batch = image[None]
    activity = _Activity(graph)
    watch(graph, batch, steps, activity.look, propagation=propagation)
    chosen = {name: _choose(activity, name) for name in activity.total}
    notes = _Notes(graph, chosen)
    run = watch(graph, batch, steps, notes.look, propagation=propagation)
    settled = run.settled[:, 0].nonzero()
    return Sample(
        command=command,
        graph=digest,
        image=place,
        label=label,
        predictions=tuple(run.predictions[:, 0].tolist()),
        settled=int(settled[0]) + 1 if len(settled) else None,
        tau=graph.tau,
        picture=base64.b64encode(_draw_png(image)).decode(),
        layers=tuple(
            _compose_layer(graph, name, activity, notes, run.positive[name] + run.negative[name]) for name in chosen
        ),
        conditions=conditions or {},
    )


class _Activity:
    """Spikes of each neuron over the whole run, (neurons,) by layer: all, and negative ones."""

    def __init__(self, graph: SpikingGraph) -> None:
        sizes = {node.name: int(np.prod(graph.shapes[node.name])) for node in graph.neurons}
        self.total = {name: torch.zeros(size, dtype=torch.int64) for name, size in sizes.items()}
        self.negative = {name: torch.zeros(size, dtype=torch.int64) for name, size in sizes.items()}
        self._before = {name: torch.zeros(size, dtype=torch.int64) for name, size in sizes.items()}

    def look(self, _step: int, _membranes: dict[str, Tensor], counts: dict[str, Tensor]) -> None:
        """Add a step."""
        for name, total in self.total.items():
            now = counts[name].flatten().to(torch.int64)
            spikes = now - self._before[name]
            total += spikes.abs()
            self.negative[name] += (-spikes).clamp(min=0)
            self._before[name] = now


class _Notes:
    """Potentials and counts of the chosen neurons, step by step."""

    def __init__(self, graph: SpikingGraph, chosen: dict[str, list[int]]) -> None:
        self.graph, self.chosen = graph, chosen
        self.membranes: dict[str, list[list[float]]] = {name: [] for name in chosen}
        self.counts: dict[str, list[list[int]]] = {name: [] for name in chosen}

    def look(self, _step: int, membranes: dict[str, Tensor], counts: dict[str, Tensor]) -> None:
        """Note a step."""
        for name, places in self.chosen.items():
            self.membranes[name].append(membranes[name].flatten()[places].tolist())
            self.counts[name].append(counts[name].flatten()[places].to(torch.int64).tolist())


def _choose(activity: _Activity, name: str) -> list[int]:
    """The neurons that fired most; then one of middling activity, and the one that took most spikes back."""
    total, negative = activity.total[name], activity.negative[name]
    order = torch.sort(total, descending=True, stable=True).indices
    most = order[:RASTER_ROWS].tolist()
    fired = int((total > 0).sum())
    back = int(negative.argmax()) if bool(negative.any()) else None
    middling = int(order[fired // 2]) if fired else None
    return [*most, *(place for place in (back, middling) if place is not None and place not in most)]


def _choose_traced(activity: _Activity, name: str, places: Sequence[int]) -> list[int]:
    """Of the noted neurons those whose potential is shown."""
    total, negative = activity.total[name], activity.negative[name]
    wanted = [places[0]]
    back = max(places, key=lambda place: (int(negative[place]), -place))
    if int(negative[back]):
        wanted.append(back)
    fired = int((total > 0).sum())
    if fired:
        wanted.append(int(torch.sort(total, descending=True, stable=True).indices[fired // 2]))
    return list(dict.fromkeys(wanted))


def _compose_layer(graph: SpikingGraph, name: str, activity: _Activity, notes: _Notes, spikes: Tensor) -> LayerTrace:
    places = notes.chosen[name]
    shape = graph.shapes[name]
    counts = np.array(notes.counts[name])
    trains = np.diff(counts, axis=0, prepend=0)
    membranes = np.array(notes.membranes[name])
    fired = int((activity.total[name] > 0).sum())
    raster = tuple(
        SpikeTrain(_locate(place, shape), tuple(trains[:, row].tolist()))
        for row, place in enumerate(places[:RASTER_ROWS])
        if activity.total[name][place]
    )
    traces = tuple(
        _compose_trace(graph, name, place, membranes[:, places.index(place)], counts[:, places.index(place)])
        for place in _choose_traced(activity, name, places)
    )
    total = tuple(spikes[:, 0].tolist())
    return LayerTrace(name, len(activity.total[name]), fired, total, raster, traces)


def _compose_trace(
    graph: SpikingGraph, name: str, place: int, membrane: np.ndarray, counts: np.ndarray
) -> MembraneTrace:
    """Thresholds are those in force when the step's current comes in: of the count before the step."""
    node = graph[name]
    where = _locate(place, graph.shapes[name])
    before = [0, *counts[:-1].tolist()]
    ends = [_find_thresholds(node, where[0], count) for count in before]
    return MembraneTrace(
        where,
        tuple(membrane.tolist()),
        tuple(counts.tolist()),
        tuple(rise for rise, _ in ends),
        tuple(fall for _, fall in ends),
    )


def _find_thresholds(node: Any, channel: int, count: int) -> tuple[float | None, float | None]:
    """Above which a neuron with this count fires, and below which it takes a spike back, in units of its membrane."""
    if isinstance(node, IntegrateAndFire):
        lower = None if node.lower is None or count <= 0 else float(node.lower[channel])
        return float(node.threshold[channel]), lower
    if not isinstance(node, CountingNeuron):
        return None, None
    rise = None if node.levels is not None and count >= node.levels else _find_level(node, channel, count + 1)
    return rise, _find_level(node, channel, count) if count > 0 else None


def _find_level(node: CountingNeuron, channel: int, level: int) -> float | None:
    """theta_n: the least potential that deserves this count."""
    scale = 2.0 ** -(node.fraction_bits or 0)
    if node.step is None:
        table = node.threshold[channel]
        return float(table[level - 1]) * scale if level <= len(table) else None
    return (float(node.threshold[channel]) + (level - 1) * float(node.step[channel])) * scale


def _locate(place: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(place, shape))


def _draw_png(image: Tensor) -> bytes:
    """An image of one or three channels, or the first channel of another number."""
    pixels = image.numpy()
    pixels = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="png")
    return stream.getvalue()
