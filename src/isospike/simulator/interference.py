"""Faults at work on one batch: which neurons misfire, and what of a step's spikes arrives when."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from isospike.errors import SimulationError
from isospike.graph import CountingNeuron, IntegrateAndFire, MaxPool, Node, SpikingGraph
from isospike.simulator.checks import show
from isospike.simulator.draws import draw_uniform, make_key
from isospike.simulator.faults import (
    DeadNeurons,
    DelayedSpikes,
    DroppedSpikes,
    DuplicatedSpikes,
    Fault,
    NeuronFault,
    SaturatedMembranes,
    SpikeFault,
    StuckNeurons,
)
from isospike.simulator.recording import sum_magnitudes

_KINDS = (DroppedSpikes, DuplicatedSpikes, DelayedSpikes)
_OTHERS = (DeadNeurons, StuckNeurons, SaturatedMembranes)
_NEURON_STREAM = 101


def check_faults(graph: SpikingGraph, faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """The faults that do something.

    Raises:
        SimulationError: what is no list of faults, a fault of spikes that nobody fires, or of integers in a graph of
            floats.
    """
    if isinstance(faults, str) or not isinstance(faults, Sequence):
        raise SimulationError(f"faults: expected a list, such as [DroppedSpikes(0.1)], got {show(faults)}")
    for fault in faults:
        if not isinstance(fault, (*_KINDS, *_OTHERS)):
            kinds = ", ".join(kind.__name__ for kind in (*_KINDS, *_OTHERS))
            raise SimulationError(f"faults: expected some of {kinds} (isospike.simulator), got {show(fault)}")
    spiking = [node.name for node in graph.spiking]
    for fault in faults:
        if isinstance(fault, SpikeFault) and fault.nodes is not None and not set(spiking).issuperset(fault.nodes):
            name = next(name for name in fault.nodes if name not in spiking)
            raise SimulationError(
                f"{type(fault).__name__}: {name!r} fires no spikes: expected some of {', '.join(spiking)}"
            )
        if isinstance(fault, SaturatedMembranes) and not graph.is_integer:
            raise SimulationError(
                f"SaturatedMembranes: {fault.bits} bits hold integers, but this graph has floats: convert it with "
                "integer weights (all-integer, or integer_bits)"
            )
    return tuple(fault for fault in faults if not fault.is_harmless)


def find_ends(faults: Sequence[Fault]) -> tuple[int, int] | None:
    """What membranes are clamped to; None for nothing."""
    ends = [fault.ends for fault in faults if isinstance(fault, SaturatedMembranes)]
    return (max(low for low, _ in ends), min(high for _, high in ends)) if ends else None


def loosen(graph: SpikingGraph, faults: Sequence[Fault]) -> SpikingGraph:
    """The graph with neurons that may fire whatever arrives of their spikes under these faults, so that its bounds hold
    for sums of them: lost negative spikes leave counts above their highest level, doubled ones above one a step."""
    times = 2 ** sum(isinstance(fault, DuplicatedSpikes) for fault in faults)

    def free(node: Node) -> Node:
        if isinstance(node, CountingNeuron) and node.step is not None:
            return replace(node, levels=None, limit=node.limit * times)
        if isinstance(node, CountingNeuron):  # a table needs its levels; what it holds does not matter here
            one = np.ones_like(node.threshold[:, 0])
            return replace(node, threshold=one, step=one, levels=None, limit=node.limit * times)
        if isinstance(node, MaxPool) and node.limit is not None:
            return replace(node, limit=node.limit * times)
        return node

    return replace(graph, nodes=tuple(free(node) for node in graph))


def choose_neurons(share: float, seed: int, layer: int, shape: tuple[int, ...], number: int = 0) -> Tensor:
    """``round(share * neurons)`` of the neurons of a layer, bool of its shape; others for each ``number``."""
    size = int(torch.Size(shape).numel())
    draws = draw_uniform(make_key(_NEURON_STREAM, seed, layer, *_set_apart(number)), torch.arange(size))
    chosen = torch.zeros(size, dtype=torch.bool)
    chosen[draws.argsort(stable=True)[: round(share * size)]] = True
    return chosen.view(shape)


def _set_apart(number: int) -> tuple[int, ...]:
    """What the key of the first fault of a kind (number 0), the second and so on ends in: nothing for the first."""
    return (number,) if number else ()


class Interference:
    """The faults at work on one batch. Call :meth:`begin_step` before each step.

    Args:
        graph: what runs.
        faults: from :func:`check_faults`.
        images: the places of the batch's images among all, int64 (batch,).
        device: where it runs.
    """

    def __init__(self, graph: SpikingGraph, faults: Sequence[Fault], images: Tensor, device: torch.device) -> None:
        self.ends = find_ends(faults)
        self.images = images.to(device)
        self.step = -1
        self.order = {node.name: place for place, node in enumerate(graph.spiking)}
        self.spike_faults: list[tuple[SpikeFault, int]] = []
        self.forced: dict[str, list[tuple[Tensor, int]]] = {}
        self.late: dict[tuple[str, int], list[Tensor | None]] = {}
        self.stuck = False
        for place, fault in enumerate(faults):
            number = sum(type(other) is type(fault) for other in faults[:place])
            if isinstance(fault, SpikeFault):
                self.spike_faults.append((fault, number))
            elif isinstance(fault, NeuronFault):
                value = 0 if isinstance(fault, DeadNeurons) else 1
                for node in graph.neurons:
                    layer, shape = self.order[node.name], graph.shapes[node.name]
                    chosen = choose_neurons(fault.share, fault.seed, layer, shape, number)
                    self.forced.setdefault(node.name, []).append((chosen.to(device), value))
                    self.stuck = self.stuck or (value == 1 and bool(chosen.any()))

    def begin_step(self) -> None:
        """The next time step, the steps before those that count included."""
        self.step += 1

    def restart(self) -> None:
        """Forget what is on its way."""
        self.late.clear()

    def clamp(self, membrane: Tensor) -> None:
        """Keep potentials within their bits, in place."""
        if self.ends is not None:
            membrane.clamp_(*self.ends)

    def fire(self, node: Node, spikes: Tensor) -> Tensor:
        """The spikes (running images, ...) that a layer fires, with its dead and stuck neurons."""
        if not isinstance(node, CountingNeuron | IntegrateAndFire):
            return spikes
        for chosen, value in self.forced.get(node.name, ()):
            spikes = torch.where(chosen, spikes.new_tensor(value), spikes)
        return spikes

    def deliver(self, node: Node, spikes: Tensor | None, running: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What arrives in this step of the spikes (running images, channels, ...) fired in it and before.

        Args:
            node: that fired them.
            spikes: None where there are none.
            running: the places of the running images in the batch.

        Returns:
            The sum of the spikes that arrive, and their magnitudes summed over channels, float64 (running images, ...):
            a late +1 and a -1 in time, of one neuron, come to nothing but are two spikes. None for nothing.
        """
        met: Tensor | None = None
        for place, (fault, number) in enumerate(self.spike_faults):
            if fault.nodes is not None and node.name not in fault.nodes:
                continue
            hit = None if spikes is None else self._choose(fault, number, node, spikes, running)
            if isinstance(fault, DelayedSpikes):
                spikes, more = self._postpone(fault, (node.name, place), spikes, hit)
                if more is not None:
                    met = more if met is None else met + more
            elif spikes is not None and hit is not None:
                spikes = spikes - hit if isinstance(fault, DroppedSpikes) else spikes + hit
        if spikes is None:
            return None, None
        return spikes, sum_magnitudes(spikes) if met is None else sum_magnitudes(spikes) + met

    def find_pending(self, node: Node) -> Tensor | None:
        """Whether spikes of a node are still on their way, bool (running images,); None for no image."""
        pending = None
        for (name, _), waiting in self.late.items():
            for spikes in waiting:
                if name == node.name and spikes is not None:
                    here = spikes.flatten(1).any(1)
                    pending = here if pending is None else pending | here
        return pending

    def keep(self, running: Tensor) -> None:
        """Go on with some of the running images only."""
        for waiting in self.late.values():
            waiting[:] = [None if spikes is None else spikes[running] for spikes in waiting]

    def _choose(self, fault: SpikeFault, number: int, node: Node, spikes: Tensor, running: Tensor) -> Tensor:
        """The spikes that the fault befalls, signed, of the shape of ``spikes``: one draw for each spike. ``number``
        faults of its kind come before it."""
        flat = spikes.flatten(1)
        hit = torch.zeros_like(flat)
        rows, neurons = flat.nonzero(as_tuple=True)
        images = self.images[running.to(flat.device)]
        kind = next(place for place, each in enumerate(_KINDS) if isinstance(fault, each))
        key = make_key(kind, fault.seed, self.order[node.name], self.step, *_set_apart(number))
        copy = 0
        while len(rows):
            draws = draw_uniform(key, images[rows], neurons, torch.full_like(rows, copy))
            struck = (draws < fault.probability).to(hit.dtype)
            hit[rows, neurons] += struck * flat[rows, neurons].sign()
            copy += 1
            more = flat[rows, neurons].abs() > copy
            rows, neurons = rows[more], neurons[more]
        return hit.view_as(spikes)

    def _postpone(
        self, fault: DelayedSpikes, place: tuple[str, int], spikes: Tensor | None, hit: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """The spikes that are in time and those whose delay is over, as one sum; and what their magnitudes, summed over
        channels, have more than the sum's, None for nothing."""
        waiting = self.late.setdefault(place, [None] * fault.steps)
        due = waiting.pop(0)
        waiting.append(hit if hit is not None and bool(hit.any()) else None)
        if spikes is not None and hit is not None:
            spikes = spikes - hit
        if due is None or spikes is None:
            return (spikes if due is None else due), None
        both = spikes + due
        return both, sum_magnitudes(spikes) + sum_magnitudes(due) - sum_magnitudes(both)
