"""The readable time loop in PyTorch: the oracle."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from isospike.errors import SimulationError
from isospike.graph import (
    Add,
    Concatenate,
    Convolution,
    CountingNeuron,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
    bound_membranes,
)
from isospike.graph.nodes import is_integer
from isospike.memory import keep_freed_memory
from isospike.metrics import list_encoders, list_working_layers, measure_reach
from isospike.simulator.arithmetic import choose_dtype, lay_out, per_channel, to_tensor
from isospike.simulator.checks import check_device, check_propagation, check_share, check_whole, is_whole, show
from isospike.simulator.compiled_neurons import CompiledNeurons, can_compile
from isospike.simulator.faults import Fault, Losses
from isospike.simulator.interference import Interference, check_faults, loosen
from isospike.simulator.linear import make_joint, make_linear
from isospike.simulator.native import prepare_engine, run_engine
from isospike.simulator.neurons import deserve_count, fire, make_thresholds, pool_counts
from isospike.simulator.rate_loop import RateNetwork
from isospike.simulator.recording import Recorder, Simulation, SpikeTotals, add_spikes_up, join, sum_magnitudes

_SPARE_BITS = 16


def simulate(
    graph: SpikingGraph,
    images: Tensor,
    steps: int | None = None,
    *,
    engine: str = "auto",
    dtype: str = "auto",
    batch_size: int = 256,
    early_stop: bool = True,
    propagation: str = "within-step",
    keep_counts: bool = False,
    encoder_drop: float = 0.0,
    faults: Sequence[Fault] = (),
    seed: int = 0,
    device: str = "cpu",
    on_batch: Callable[[int], None] | None = None,
) -> Simulation:
    """Run a spiking network over time.

    ``V_t = V_{t-1} + A(s_t)``, ``n_t`` the count that V_t deserves, ``s_t = clip(n_t - c_{t-1}, -m, m)``,
    ``c_t = c_{t-1} + s_t``. The image is presented once, at the first step. An image has *settled* when every neuron
    and every max-pool tracker has the count that it deserves and no spike is in flight; its counts are then those of
    the quantised ANN (docs/theorem.md), and it stops early.

    Args:
        graph: a converted graph.
        images: uint8 (batch, channel, height, width).
        steps: time steps, at most the graph's T_max, which is the default.
        engine: "cpp" (the integer engine), "torch" (this time loop), or "auto": the engine on the CPU for integer
            graphs and options that it serves, with the same results.
        dtype: of "torch": "auto", "float32", "float64" or "int64" (see :func:`choose_dtype`).
        batch_size: images simulated together.
        early_stop: whether settled images are left out of later steps; it changes no result, but for
            rounding where weights are floats.
        propagation: "within-step" (spikes pass through all layers within the step) or "layer-per-step".
        keep_counts: whether the counts at the end are kept.
        encoder_drop: probability that a spike of an encoder (:func:`isospike.metrics.list_encoders`) is lost on its
            way: fired, but never received. With any lost, the counts after it are no longer the quantised ANN's.
        faults: what goes wrong (:mod:`isospike.simulator.faults`), with seeds of their own; they run in PyTorch. With
            any of them, "settled" only says that nothing will change any more.
        seed: of the spikes that are lost; with the batch size it determines them.
        device: where to run, "cpu" or "cuda".
        on_batch: called with the number of images done after each batch.

    Returns:
        What happened, on the CPU.

    Raises:
        SimulationError: images of the wrong shape or type, no images, more steps than T_max, unknown options.
        DeviceError: a device that is not there.
    """
    steps = _check_steps(graph, steps)
    _check_images(graph, images)
    delayed = check_propagation(propagation)
    batch_size, seed = check_whole("batch_size", batch_size, 1), check_whole("seed", seed)
    check_share("noise.encoder_drop", encoder_drop, "a probability")
    faults, place = check_faults(graph, faults), check_device(device)
    options = {"dtype": dtype, "device": str(place), "propagation": propagation, "encoder_drop": encoder_drop}
    options["faults"] = faults
    if native := prepare_engine(engine, graph, steps, **options):
        return run_engine(native, images, batch_size, keep_counts, on_batch)
    kind = RateNetwork if graph.is_rate_coded else _Network
    if faults:  # bounds of fewer steps are tighter, and may allow a faster type
        graph = replace(graph, t_max=steps)
    network = kind(graph, dtype, place, delayed, encoder_drop, faults)
    parts, done = [], 0
    with keep_freed_memory(), torch.inference_mode():
        for batch in images.split(batch_size):
            generator = torch.Generator().manual_seed(seed + done)
            parts.append(network.run(batch, steps, early_stop, keep_counts, generator, done))
            done += len(batch)
            if on_batch is not None:
                on_batch(done)
    return join(parts)


class _Network:
    """A graph made ready: weights and thresholds as tensors."""

    def __init__(
        self,
        graph: SpikingGraph,
        dtype: str,
        device: torch.device,
        delayed: bool,
        drop: float,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.graph, self.device, self.delayed, self.drop, self.faults = graph, device, delayed, drop, faults
        self.dtype = choose_dtype(loosen(graph, faults) if faults else graph, dtype, device)
        membranes = bound_membranes(graph)
        self.linear = {}
        self.joints = {}
        self.thresholds = {}
        self.compiled: dict[str, CompiledNeurons] = {}
        for node in graph:
            if isinstance(node, CountingNeuron):
                dimensions = len(graph.shapes[node.name]) + 1
                bits = membranes[node.name].bits if node.fraction_bits is not None else 0
                bits += _SPARE_BITS if faults else 0
                self.thresholds[node.name] = make_thresholds(node, dimensions, self.dtype, bits, device)
                if self.dtype is torch.float64 and not faults and can_compile(self.thresholds[node.name], device):
                    self.compiled[node.name] = CompiledNeurons(self.thresholds[node.name], node.limit or 1)
            elif isinstance(node, Add | Concatenate):
                self.joints[node.name] = make_joint(node, self.dtype, device)
            elif not isinstance(node, Input | Readout | MaxPool):
                self.linear[node.name] = make_linear(node, self.dtype, device)
        self.offset = per_channel(to_tensor(graph.input.offset, self.dtype, device), 4)
        self.bias = to_tensor(graph.readout.bias, self.dtype, device)
        self.encoders = frozenset(list_encoders(graph))
        self.reach: dict[str, list[tuple[str, Tensor]]] = {}
        for reach in measure_reach(graph):
            synapses = to_tensor(reach.synapses, torch.float64, device)
            self.reach.setdefault(reach.source, []).append((reach.layer, synapses))

    def run(
        self,
        images: Tensor,
        steps: int,
        early_stop: bool,
        keep_counts: bool,
        generator: torch.Generator,
        first: int = 0,
    ) -> Simulation:
        """Simulate one batch, whose first image has the place ``first`` among all."""
        spiking = [node.name for node in self.graph.spiking]
        layers = list_working_layers(self.graph)
        recorder = Recorder(steps, len(images), len(self.bias), spiking, layers)
        state = _State(self.graph, len(images), self.dtype, self.device, keep_counts)
        state.losses = Losses(self.drop, len(images), generator)
        if self.faults:
            state.interfere(Interference(self.graph, self.faults, first + state.images, self.device))
        pixels: Tensor | None = images.to(self.device).to(self.dtype) - self.offset
        for step in range(steps):
            settled, logits = self._advance(step, pixels, state, recorder)
            pixels = None  # the image is presented once
            recorder.record_answer(step, state.images, logits, settled)
            if early_stop and bool(settled.any()):
                state.keep(~settled)
                if not len(state.images):
                    break
        state.keep(torch.zeros(len(state.images), dtype=torch.bool, device=self.device))
        return recorder.finish(state.final_counts)

    def _advance(self, step: int, pixels: Tensor | None, state: "_State", recorder: Recorder) -> tuple[Tensor, Tensor]:
        """One time step: whether each image has settled, and its logits. A signal of None is all zeros."""
        signals: dict[str, Tensor | None] = {}
        settled = torch.ones(len(state.images), dtype=torch.bool, device=self.device)
        logits = torch.empty(0)
        if state.interference is not None:
            state.interference.begin_step()
        for node in self.graph:
            incoming = signals[node.inputs[0]] if node.inputs else pixels
            if isinstance(node, Input):
                signals[node.name] = incoming
            elif isinstance(node, CountingNeuron | MaxPool):
                if incoming is None and node.name in state.quiet:
                    signals[node.name] = self._send(step, node, None, state, recorder)
                    continue
                spikes, agrees, totals = self._fire(node, incoming, state)
                settled &= agrees
                state.note_quiet(node, agrees)
                fires = (totals.positive != 0) | (totals.negative != 0)
                recorder.record_totals(step, state.images, node.name, totals)
                sent = (spikes, totals.magnitude) if bool(fires.any()) else None
                signals[node.name] = self._send(step, node, sent, state, recorder)
                if self.delayed:
                    settled &= ~fires
                    flying = state.work_in_flight.get(node.name)  # a fault may have held them back until now
                    if flying is not None:
                        settled &= ~flying.reshape(len(flying), -1).any(1)
                settled &= state.find_calm(node)
            elif isinstance(node, Readout):
                state.add(node, incoming)
                logits = self._read(state.sums[node.name], node)
            elif isinstance(node, Add | Concatenate):
                signals[node.name] = self._join(node, [signals[name] for name in node.inputs])
            else:
                signals[node.name] = None if incoming is None else self._transmit(node, incoming)
        return settled, logits

    def _transmit(self, node: Node, incoming: Tensor) -> Tensor:
        """A linear node; a convolution only of the images whose spikes come in: layers fall silent one by one."""
        busy = _flatten(incoming).any(1) if isinstance(node, Convolution) else None
        if busy is None or bool(busy.all()):
            return self.linear[node.name](incoming)
        result = lay_out(incoming.new_zeros(len(incoming), *self.graph.shapes[node.name]))
        if bool(busy.any()):
            result[busy] = self.linear[node.name](incoming[busy])
        return result

    def _join(self, node: Node, incoming: list[Tensor | None]) -> Tensor | None:
        """Branches that meet; None where none of them brings anything."""
        if all(signal is None for signal in incoming):
            return None
        return self.joints[node.name](incoming, [self.graph.shapes[name] for name in node.inputs])

    def _integrate(self, node: CountingNeuron | MaxPool, incoming: Tensor | None, state: "_State") -> Tensor:
        """Add the current (or the spikes to be pooled) and give the count that is deserved."""
        if incoming is None and node.name in state.deserved:
            return state.deserved[node.name]
        state.add(node, incoming)
        if isinstance(node, MaxPool):
            deserved = pool_counts(state.sums[node.name], node)
        else:
            deserved = deserve_count(state.sums[node.name], self.thresholds[node.name])
        if state.interference is None:
            state.deserved[node.name] = deserved
        return deserved

    def _fire(
        self, node: CountingNeuron | MaxPool, incoming: Tensor | None, state: "_State"
    ) -> tuple[Tensor, Tensor, SpikeTotals]:
        """The spikes of a step, (batch, ...); whether all neurons have the counts that they deserve, bool (batch,); and
        what the spikes amount to."""
        count = state.counts[node.name]
        if node.name in self.compiled:
            return self.compiled[node.name].step(state.sums[node.name], count, incoming)
        deserved = self._integrate(node, incoming, state)
        spikes = fire(deserved, count, node.limit or 1)
        if state.interference is not None:
            spikes = state.interference.fire(node, spikes)
        count += spikes
        return spikes, _flatten(count == deserved).all(1), add_spikes_up(spikes)

    def _send(
        self, step: int, node: Node, fired: tuple[Tensor, Tensor] | None, state: "_State", recorder: Recorder
    ) -> Tensor | None:
        """Of spikes with their magnitudes, None for none, give those that arrive in this step; record their work."""
        sent, magnitude = fired or (None, None)
        if sent is not None and self.drop and node.name in self.encoders:
            sent = state.losses.drop(sent, state.images)
            magnitude = sum_magnitudes(sent)
        if state.interference is not None:
            sent, magnitude = state.interference.deliver(node, sent, state.images)
        if self.delayed:
            sent, magnitude = state.hold(node.name, sent, magnitude)
        if sent is None or magnitude is None:
            return None
        for layer, synapses in self.reach.get(node.name, ()):
            recorder.record_work(step, state.images, layer, magnitude, synapses)
        return sent

    def _read(self, membrane: Tensor, node: Readout) -> Tensor:
        logits = membrane + self.bias
        return logits if is_integer(node.bias) else logits * node.scale


class _State:
    """Membranes (or pooled inputs), counts, and spikes in flight (and their magnitudes, summed over channels) of the
    images that are still running."""

    def __init__(
        self, graph: SpikingGraph, batch: int, dtype: torch.dtype, device: torch.device, keep_counts: bool
    ) -> None:
        self.images = torch.arange(batch)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}
        self.deserved: dict[str, Tensor] = {}  # of the last current, which stays so until another one comes
        self.quiet: set[str] = set()  # nodes that need a current to fire again
        self.in_flight: dict[str, Tensor] = {}
        self.work_in_flight: dict[str, Tensor] = {}
        self.final_counts: dict[str, Tensor] = {}
        self.pools = {node.name for node in graph if isinstance(node, MaxPool)}
        self.losses = Losses(0.0, batch, torch.Generator())
        self.interference: Interference | None = None
        self.calm = torch.ones((), dtype=torch.bool, device=device)
        for node in graph:
            if isinstance(node, CountingNeuron | MaxPool | Readout):
                shape = graph.shapes[node.inputs[0]]
                self.sums[node.name] = lay_out(torch.zeros(batch, *shape, dtype=dtype, device=device))
            if isinstance(node, CountingNeuron) and node.start is not None:
                self.sums[node.name] += to_tensor(node.start, dtype, device)
        for node in graph.spiking:
            shape = graph.shapes[node.name]
            self.counts[node.name] = lay_out(torch.zeros(batch, *shape, dtype=dtype, device=device))
            if keep_counts:
                self.final_counts[node.name] = torch.zeros(batch, *shape, dtype=torch.int64)

    def interfere(self, interference: Interference) -> None:
        """Let faults loose; potentials before the first step are within their bits too."""
        self.interference = interference
        for name in self.sums.keys() - self.pools:
            interference.clamp(self.sums[name])

    def add(self, node: Node, current: Tensor | None) -> None:
        """Add the current of a step to a membrane, or the spikes to be pooled."""
        if current is None:
            return
        self.sums[node.name] += current
        if self.interference is not None and node.name not in self.pools:
            self.interference.clamp(self.sums[node.name])

    def note_quiet(self, node: Node, agrees: Tensor) -> None:
        """Note whether all neurons of a node have the counts that they deserve, (running images,) bool; where faults
        are, that says nothing of the next step."""
        if self.interference is None and bool(agrees.all()):
            self.quiet.add(node.name)
        else:
            self.quiet.discard(node.name)

    def hold(self, name: str, sent: Tensor | None, magnitude: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Keep what a node sends, with its magnitude, for the next step, and give what was kept for this one."""
        arriving = self.in_flight.pop(name, None), self.work_in_flight.pop(name, None)
        if sent is not None and magnitude is not None:
            self.in_flight[name], self.work_in_flight[name] = sent, magnitude
        return arriving

    def find_calm(self, node: Node) -> Tensor:
        """Whether no fault will still make something of a node's spikes, bool (running images,) or for all."""
        if self.interference is None:
            return self.calm
        if self.interference.stuck:
            return ~self.calm
        pending = self.interference.find_pending(node)
        return self.calm if pending is None else ~pending

    def keep(self, running: Tensor) -> None:
        """Go on with some images only; note the counts of those that stop."""
        stopped = ~running
        for name, final in self.final_counts.items():
            final[self.images[stopped.cpu()]] = self.counts[name][stopped].to("cpu", torch.int64)
        for group in (self.sums, self.counts, self.deserved, self.in_flight, self.work_in_flight):
            for name, tensor in group.items():
                group[name] = tensor[running]
        if self.interference is not None:
            self.interference.keep(running)
        self.images = self.images[running.cpu()]


def _flatten(signal: Tensor) -> Tensor:
    """(batch, channels, ...) to (batch, all), channels innermost, as they lie in memory."""
    return signal.movedim(1, -1).flatten(1)


def _check_steps(graph: SpikingGraph, steps: int | None) -> int:
    if graph.t_max is None:
        raise SimulationError("simulate: expected a spiking graph, got a captured ANN: convert it first")
    steps = graph.t_max if steps is None else steps
    if not is_whole(steps) or not 1 <= steps <= graph.t_max:
        raise SimulationError(
            f"steps: expected 1 to T_max = {graph.t_max}, got {show(steps)}: membranes are only bounded up to T_max; "
            "convert with a larger t_max"
        )
    return int(steps)


def _check_images(graph: SpikingGraph, images: Tensor) -> None:
    expected = graph.input.shape
    kind = "float" if graph.input.floats else "uint8"
    if not isinstance(images, Tensor):
        raise SimulationError(
            f"images: expected a tensor of {kind} (batch, {', '.join(map(str, expected))}), got a "
            f"{type(images).__name__}: use torch.from_numpy"
        )
    fits = images.is_floating_point() if graph.input.floats else images.dtype is torch.uint8
    if not fits or images.dim() != 4 or tuple(images.shape[1:]) != expected or not len(images):
        raise SimulationError(
            f"images: expected {kind} (batch, {', '.join(map(str, expected))}) with at least one image, got "
            f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
        )
