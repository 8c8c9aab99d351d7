"""The time loop of rate-coded graphs: integrate-and-fire neurons, the image presented at every step."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from isospike.graph import (
    Add,
    Affine,
    Concatenate,
    Convolution,
    Dense,
    Input,
    IntegrateAndFire,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.metrics import list_encoders, list_working_layers, measure_reach
from isospike.simulator.arithmetic import choose_rate_dtype, lay_out, per_channel, to_tensor
from isospike.simulator.faults import Fault, Losses
from isospike.simulator.integrate_and_fire import FiringRule, Potentials, make_rule
from isospike.simulator.interference import Interference, find_ends
from isospike.simulator.linear import make_joint, make_linear
from isospike.simulator.neurons import pool_counts
from isospike.simulator.recording import Recorder, Simulation, sum_magnitudes

Current = Callable[..., Tensor]


class RateNetwork:
    """A rate-coded graph made ready.

    Args:
        graph: with integrate-and-fire neurons.
        dtype: "float32" or "float64", and "int64" of an integer graph; "auto" is float32, or float64 where an integer
            graph needs it to be exact.
        device: where to run.
        delayed: whether spikes fired in a step arrive in the next one, layer by layer.
        drop: probability that a spike of an encoder gets lost.
        faults: what else goes wrong.

    Attributes:
        constant: the names of the nodes that depend on the pixels alone.
        rules: of each layer of neurons.
        currents: what each node without memory gives for what comes in.

    Raises:
        SimulationError: another type, or one in which an integer graph is not exact.
    """

    def __init__(
        self,
        graph: SpikingGraph,
        dtype: str,
        device: torch.device,
        delayed: bool = False,
        drop: float = 0.0,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.graph, self.device, self.delayed, self.drop, self.faults = graph, device, delayed, drop, faults
        # sums of faulty spikes may be larger than the bounds that float32 is chosen by
        exact = graph.is_integer and bool(faults) and dtype == "auto"
        self.dtype = choose_rate_dtype(graph, "float64" if exact else dtype, device)
        ends = find_ends(faults)
        self.rules: dict[str, FiringRule] = {}
        self.currents: dict[str, Current] = {}
        self.constant: set[str] = set()
        for node in graph:
            dimensions = len(graph.shapes[node.name]) + 1
            if isinstance(node, IntegrateAndFire):
                self.rules[node.name] = make_rule(node, dimensions, self.dtype, device, ends)
            elif all(name in self.constant for name in node.inputs):  # the Input too
                self.constant.add(node.name)
            if not isinstance(node, Input | IntegrateAndFire | MaxPool | Readout):
                self.currents[node.name] = _make_current(node, dimensions, self.dtype, device)
        self.offset = per_channel(to_tensor(graph.input.offset, self.dtype, device), 4)
        self.bias = to_tensor(graph.readout.bias, self.dtype if graph.is_integer else torch.float64, device)
        self.encoders = frozenset(list_encoders(graph))
        self.reach: dict[str, list[tuple[str, Tensor]]] = {}
        for reach in measure_reach(graph):
            synapses = to_tensor(reach.synapses, torch.float64, device)
            self.reach.setdefault(reach.source, []).append((reach.layer, synapses))

    def run(
        self,
        images: Tensor,
        steps: int,
        early_stop: bool,  # noqa: ARG002
        keep_counts: bool,
        generator: torch.Generator,
        first: int = 0,
    ) -> Simulation:
        """Simulate one batch, whose first image has the place ``first``: the graph's ``tau`` steps, if any, then
        ``steps``.

        Spikes and operations of the first ``tau`` steps are recorded with the first of those that count. No image ever
        settles, so there is nothing to stop early.
        """
        state = _State(self, images, generator, first)
        rehearsal = self._make_recorder(self.graph.tau, len(images))
        for step in range(self.graph.tau):
            self._advance(step, state, rehearsal)
        if self.graph.tau:
            state.restart(self)
        recorder = self._make_recorder(steps, len(images))
        settled = torch.zeros(len(images), dtype=torch.bool)  # rates certify nothing
        readout = self.graph.readout
        for step in range(steps):
            self._advance(step, state, recorder)
            recorder.record_answer(step, state.images, self._read(state.sums[readout.name].double(), step + 1), settled)
        for kind in ("positive", "negative", "sops"):
            for name, numbers in getattr(recorder, kind).items():
                numbers[0] += getattr(rehearsal, kind)[name].sum(0)
        return recorder.finish(state.read_counts() if keep_counts else {})

    def present(self, images: Tensor) -> dict[str, Tensor]:
        """What depends on the pixels alone, (batch, ...) by node: the same at every step."""
        signals: dict[str, Tensor] = {}
        for node in self.graph:
            if node.name not in self.constant:
                continue
            if isinstance(node, Input):
                signals[node.name] = lay_out(images.to(self.device, self.dtype) - self.offset)
            elif isinstance(node, MaxPool):
                signals[node.name] = pool_counts(signals[node.inputs[0]], node)
            elif not isinstance(node, Readout):
                signals[node.name] = self.currents[node.name](*(signals[name] for name in node.inputs))
        return signals

    def _read(self, potential: Tensor, steps: int) -> Tensor:
        """The logits after some steps: integers, in which the bias is already, or means over time."""
        readout = self.graph.readout
        if self.graph.is_integer:
            return potential
        return (potential / steps + self.bias) * readout.scale

    def _advance(self, step: int, state: "_State", recorder: Recorder) -> None:
        """One time step of every layer, in order."""
        signals = dict(state.pixels)
        if state.interference is not None:
            state.interference.begin_step()
        for node in self.graph:
            if isinstance(node, Readout):
                state.sums[node.name] += signals[node.inputs[0]]
                if self.graph.is_integer:  # there the bias is a current like any other
                    state.sums[node.name] += self.bias
                if state.interference is not None:
                    state.interference.clamp(state.sums[node.name])
            elif node.name in self.constant:
                continue
            elif isinstance(node, IntegrateAndFire):
                spikes = state.fire(node, self.rules[node.name], signals[node.inputs[0]])
                signals[node.name] = self._send(step, node, spikes, state, recorder)
            elif isinstance(node, MaxPool):
                state.sums[node.name] += signals[node.inputs[0]]
                due = pool_counts(state.sums[node.name], node) - state.emitted[node.name]
                spikes = due.clamp(-1, 1)
                state.emitted[node.name] += spikes
                signals[node.name] = self._send(step, node, spikes, state, recorder)
            else:
                signals[node.name] = self.currents[node.name](*(signals[name] for name in node.inputs))

    def _send(self, step: int, node: Node, spikes: Tensor, state: "_State", recorder: Recorder) -> Tensor:
        """Record the spikes and give those that arrive in this step."""
        rule = self.rules.get(node.name)
        signed = rule is None or rule.lower is not None or state.interference is not None
        magnitude = recorder.record_spikes(step, state.images, node.name, spikes, signed)
        if self.drop and node.name in self.encoders:
            spikes = state.losses.drop(spikes, state.images)
            magnitude = sum_magnitudes(spikes)
        if state.interference is not None:
            arriving, reached = state.interference.deliver(node, spikes, state.images)
            spikes = torch.zeros_like(spikes) if arriving is None else arriving
            magnitude = torch.zeros_like(magnitude) if reached is None else reached
        if self.delayed:
            sent, nothing = (spikes, magnitude), (torch.zeros_like(spikes), torch.zeros_like(magnitude))
            spikes, magnitude = state.in_flight.get(node.name, nothing)
            state.in_flight[node.name] = sent
        for layer, synapses in self.reach.get(node.name, ()):
            recorder.record_work(step, state.images, layer, magnitude, synapses)
        return spikes

    def _make_recorder(self, steps: int, batch: int) -> Recorder:
        layers = list_working_layers(self.graph)
        return Recorder(steps, batch, len(self.bias), [node.name for node in self.graph.spiking], layers)


class _State:
    """Potentials, counts and spikes in flight of one batch, and the pixels' currents."""

    def __init__(self, network: RateNetwork, images: Tensor, generator: torch.Generator, first: int) -> None:
        self.images = torch.arange(len(images))
        self.interference: Interference | None = None
        if network.faults:
            self.interference = Interference(network.graph, network.faults, first + self.images, network.device)
        self.pixels = network.present(images)
        self.spiking = [node.name for node in network.graph.spiking]
        self.losses = Losses(network.drop, len(images), generator)
        self.potentials: dict[str, Potentials] = {}
        self._clear(network)
        for name, rule in network.rules.items():
            self.potentials[name] = rule.begin(len(images), network.graph.shapes[name])

    def restart(self, network: RateNetwork) -> None:
        """Begin anew, with some neurons silenced."""
        self._clear(network)
        if self.interference is not None:
            self.interference.restart()
        for name, rule in network.rules.items():
            self.potentials[name] = rule.restart(self.potentials[name])

    def fire(self, node: IntegrateAndFire, rule: FiringRule, current: Tensor) -> Tensor:
        """The spikes that neurons send: those of dead and stuck ones are forced, silenced or not, and their own counts
        are of what they were forced to."""
        potentials = self.potentials[node.name]
        spikes = rule.fire(potentials, current)
        if self.interference is None:
            return potentials.hear(spikes)
        potentials.count += self.interference.fire(node, spikes) - spikes
        sent = self.interference.fire(node, potentials.hear(spikes))
        self.emitted[node.name] = self.emitted.get(node.name, 0) + sent
        return sent

    def read_counts(self) -> dict[str, Tensor]:
        """Net spikes by node, int64 (batch, ...): of neurons, as far as they are sent, and of max-pool trackers."""
        counts = {name: each.hear(each.count) for name, each in self.potentials.items()}
        counts.update(self.emitted)
        return {name: counts[name].to("cpu", torch.int64) for name in self.spiking if name in counts}

    def _clear(self, network: RateNetwork) -> None:
        self.sums: dict[str, Tensor] = {}
        self.emitted: dict[str, Tensor] = {}
        self.in_flight: dict[str, tuple[Tensor, Tensor]] = {}  # spikes, and their magnitudes over channels
        graph = network.graph

        def blank(name: str) -> Tensor:
            shape = (len(self.images), *graph.shapes[name])
            return lay_out(torch.zeros(shape, dtype=network.dtype, device=network.device))

        for node in graph:
            if isinstance(node, Readout) or (isinstance(node, MaxPool) and node.name not in network.constant):
                self.sums[node.name] = blank(node.inputs[0])
            if isinstance(node, MaxPool) and node.name not in network.constant:
                self.emitted[node.name] = blank(node.name)


def _make_current(node: Node, dimensions: int, dtype: torch.dtype, device: torch.device) -> Current:
    """What a node without memory gives at each step, for signals (batch, ...) of ``dimensions`` dimensions: linear
    nodes with their constant currents, and branches that meet."""

    def spread(array: np.ndarray) -> Tensor:
        return per_channel(to_tensor(array, dtype, device), dimensions)

    if isinstance(node, Add | Concatenate):
        joint = make_joint(node, dtype, device)
        return lambda *branches: joint(branches, [tuple(branch.shape[1:]) for branch in branches])
    if isinstance(node, Affine):
        gain = spread(node.gain)
        shift = spread(node.gain * 0 if node.bias is None else node.bias)
        return lambda x: torch.addcmul(shift, x, gain)
    linear = make_linear(node, dtype, device)
    if isinstance(node, Convolution | Dense) and node.bias is not None:
        bias = spread(node.bias)
        return lambda x: linear(x).add_(bias)
    return linear
