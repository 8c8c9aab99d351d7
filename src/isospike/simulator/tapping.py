"""NeuroBench's counts, from the signals at the synapses and at the neurons of the PyTorch time loop."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isospike.graph import Node, SpikingGraph
from isospike.graph.nodes import Synapses
from isospike.metrics import NeuroBench, measure_connection_sparsity, measure_footprint
from isospike.simulator.checks import check_device, check_propagation, check_share, check_whole
from isospike.simulator.linear import make_linear
from isospike.simulator.rate_loop import RateNetwork
from isospike.simulator.time_loop import _check_images, _check_steps, _Network


def measure_neurobench(
    graph: SpikingGraph,
    images: Tensor,
    steps: int | None = None,
    *,
    propagation: str = "within-step",
    encoder_drop: float = 0.0,
    seed: int = 0,
    batch_size: int = 50,
    device: str = "cpu",
) -> NeuroBench:
    """Simulate images in PyTorch and count as NeuroBench does: at each layer and step, non-zero inputs times non-zero
    weights. Currents of pixels that a rate-coded graph is given at every step count at every step.

    Whether operations are accumulates is decided for each image by itself, as NeuroBench does with batches of one image
    (it looks at the whole batch): so no image's counts depend on the others.

    Args:
        graph: a converted graph.
        images: such as the network takes.
        steps: time steps, at most the graph's T_max, which is the default.
        propagation, encoder_drop, seed, batch_size, device: as of :func:`isospike.simulate`.

    Raises:
        SimulationError: images of the wrong shape or type, more steps than T_max, unknown options.
        DeviceError: a device that is not there.
    """
    steps = _check_steps(graph, steps)
    _check_images(graph, images)
    batch_size, seed = check_whole("batch_size", batch_size, 1), check_whole("seed", seed)
    check_share("noise.encoder_drop", encoder_drop, "a probability")
    tap = _Tap(graph, steps)
    kind = _TappedRates if graph.is_rate_coded else _TappedCounts
    network = kind(graph, "auto", check_device(device), check_propagation(propagation), encoder_drop)
    network.attach(tap)
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            generator = torch.Generator().manual_seed(seed + start)
            network.run(images[start : start + batch_size], steps, True, False, generator)
        return tap.conclude(len(images))


class _Tap:
    """Sums over images and steps: non-zero inputs of each layer, by position, and non-zero outputs of neurons."""

    def __init__(self, graph: SpikingGraph, steps: int) -> None:
        self.graph, self.steps = graph, steps + graph.tau
        self.inputs: dict[tuple[str, bool], Tensor] = {}
        self.neurons = {node.name for node in graph.neurons}
        self.spikes = 0
        self.constant: set[str] = set()

    def wrap(self, name: str, current: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The same function, its inputs counted."""

        def counted(signal: Tensor) -> Tensor:
            if signal.numel():
                unit = ((signal.abs() <= 1) & (signal == signal.round())).flatten(1).all(1)
                for kind, some in ((True, unit), (False, ~unit)):
                    if bool(some.any()):
                        self._add_inputs((name, kind), signal[some])
            return current(signal)

        return counted

    def _add_inputs(self, place: tuple[str, bool], signal: Tensor) -> None:
        present = (signal != 0).sum(0, dtype=torch.int64).to("cpu", torch.float64)
        known = self.inputs.get(place)
        self.inputs[place] = present if known is None else known + present

    def add_spikes(self, node: Node, spikes: Tensor) -> None:
        """Count the outputs of a layer of neurons that are not zero."""
        if node.name in self.neurons:
            self.spikes += int(spikes.count_nonzero())

    def conclude(self, images: int) -> NeuroBench:
        """Means per image."""
        totals = {True: 0.0, False: 0.0}
        for (name, unit), present in self.inputs.items():
            times = self.steps if name in self.constant else 1
            totals[unit] += times * self._count(name, present, (self.graph[name].arrays["weight"] != 0))
        dense = 0.0
        for node in self.graph.synapses:
            weight = node.arrays["weight"]
            ones = torch.ones(self.graph.shapes[node.inputs[0]], dtype=torch.float64)
            dense += self.steps * self._count(node.name, ones, np.ones(weight.shape))
        neurons = sum(int(np.prod(self.graph.shapes[name])) for name in self.neurons)
        return NeuroBench(
            effective_acs=totals[True] / images,
            effective_macs=totals[False] / images,
            dense=dense,
            activation_sparsity=1 - self.spikes / max(neurons * self.steps * images, 1),
            connection_sparsity=measure_connection_sparsity(self.graph),
            footprint_bits=measure_footprint(self.graph).parameters,
            steps=self.steps,
            images=images,
        )

    def _count(self, name: str, inputs: Tensor, weight: np.ndarray) -> float:
        """How many of these weights (0 or 1) the inputs meet."""
        node = self.graph[name]
        if not isinstance(node, Synapses):
            return 0.0
        ones = replace(node, weight=weight.astype(np.float64), bias=None)
        return float(make_linear(ones, torch.float64, torch.device("cpu"))(inputs[None]).sum())


class _TappedCounts(_Network):
    tap: _Tap

    def attach(self, tap: _Tap) -> None:
        """Count from now on."""
        self.tap = tap
        for node in self.graph.synapses:
            self.linear[node.name] = tap.wrap(node.name, self.linear[node.name])

    def _send(
        self, step: int, node: Node, fired: tuple[Tensor, Tensor] | None, state: Any, recorder: Any
    ) -> Tensor | None:
        if fired is not None:
            self.tap.add_spikes(node, fired[0])
        return super()._send(step, node, fired, state, recorder)


class _TappedRates(RateNetwork):
    tap: _Tap

    def attach(self, tap: _Tap) -> None:
        """Count from now on."""
        self.tap = tap
        for node in self.graph.synapses:
            self.currents[node.name] = tap.wrap(node.name, self.currents[node.name])
            if node.name in self.constant:
                tap.constant.add(node.name)

    def _send(self, step: int, node: Node, spikes: Tensor, state: Any, recorder: Any) -> Tensor:
        self.tap.add_spikes(node, spikes)
        return super()._send(step, node, spikes, state, recorder)
