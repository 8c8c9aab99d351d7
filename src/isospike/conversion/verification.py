"""Verification: the proof that a spiking network equals its quantised ANN."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isospike.conversion.methods import convert
from isospike.conversion.quantised_ann import Evaluation, QuantisedAnn
from isospike.errors import ConversionError
from isospike.graph import CountingNeuron, SpikingGraph, compare_graphs, count_membrane_bits
from isospike.graph.nodes import is_integer
from isospike.memory import keep_freed_memory
from isospike.networks import capture
from isospike.simulator import Simulation, simulate

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Verification:
    """What a comparison with the quantised ANN found.

    Attributes:
        images: images compared.
        neurons: counts compared per image, max-pool trackers included.
        mismatches: counts and logits that differ, over all images that settled.
        unsettled: images that had not settled by T_max; they are not compared.
        settled_by: the step by which every image had settled; None where some had not.
        membrane_bits: container of each membrane (8, 16, 24, 32, 64 bits); None where it is a float.
        fraction_bits: f of each layer's thresholds; None where they are floats.
        differing_layers: mismatches by layer, the layers without any left out; "readout" for logits.
        differing_tensors: layers whose stored tensors or settings differ from a fresh conversion.
    """

    images: int
    neurons: int
    mismatches: int
    unsettled: int
    settled_by: int | None
    membrane_bits: dict[str, int | None]
    fraction_bits: dict[str, int | None]
    differing_layers: dict[str, int] = field(default_factory=dict)
    differing_tensors: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether something was compared, and nothing differs."""
        return self.images > self.unsettled and self.mismatches == 0 and not self.differing_tensors


@keep_freed_memory()
def verify(
    graph: SpikingGraph,
    model: nn.Module | SpikingGraph,
    images: Tensor,
    method: str,
    *,
    engine: str = "auto",
    batch_size: int = 250,
    device: str = "cpu",
    on_batch: Callable[[int], None] | None = None,
    on_simulation: Callable[[int, Simulation], None] | None = None,
    **options: Any,
) -> Verification:
    """Prove that ``graph`` computes what the quantised ANN computes, or name the layers where it does not.

    Every image runs until it settles, T_max steps at most. Agreement certifies equality without looking at the ANN
    (docs/theorem.md); here the ANN is recomputed exactly all the same, every count and every logit compared, and every
    stored tensor compared with a fresh conversion (a flipped classifier sign changes no count).

    With float weights, counts are compared with the ANN's float64 evaluation and logits up to a relative 1e-9: there
    the certificate holds up to rounding.

    Args:
        graph: the spiking graph under test.
        model: the network it came from, or its capture.
        images: uint8 (batch, channel, height, width).
        method: the method's name, for the fresh conversion.
        engine: what runs the graph (see :func:`isospike.simulate`); the ANN is evaluated in PyTorch.
        batch_size: images compared together.
        device: "cpu" or "cuda".
        on_batch: called with the number of images done after each batch.
        on_simulation: called with the place of a batch's first image and what happened over all T_max steps.
        options: of the method; ``t_max`` is the graph's by default.

    Returns:
        The findings; :attr:`Verification.is_equal` is the verdict.

    Raises:
        ConversionError: ``graph`` and ``model`` are not of the same network.
        SimulationError: images of the wrong shape or type.
    """
    proof = Proof(graph, model, method, engine=engine, device=device, **options)
    for start in range(0, max(len(images), 1), batch_size):
        batch = images[start : start + batch_size]
        simulation = proof.check(batch)
        if on_simulation is not None:
            on_simulation(start, simulation)
        if on_batch is not None:
            on_batch(start + len(batch))
    return proof.conclude()


class Proof:
    """A verification in progress, which takes images batch by batch, and can be left and taken up again.

    Args:
        graph, model, method, engine, device, options: as of :func:`verify`.

    Raises:
        ConversionError: ``graph`` and ``model`` are not of the same network.
    """

    def __init__(
        self,
        graph: SpikingGraph,
        model: nn.Module | SpikingGraph,
        method: str,
        *,
        engine: str = "auto",
        device: str = "cpu",
        **options: Any,
    ) -> None:
        if graph.is_rate_coded:
            raise ConversionError("verify: a rate-coded graph does not equal its ANN: measure_loss says how near it is")
        ann = model if isinstance(model, SpikingGraph) else capture(model)
        fresh = convert(ann, method, **{"t_max": graph.t_max, **options})
        _check_same_network(graph, fresh)
        self._graph, self._engine, self._device = graph, engine, device
        self._differing_tensors = compare_graphs(graph, fresh)
        self._reference = QuantisedAnn(ann, device)
        self._tally = _Tally(graph)

    def check(self, images: Tensor) -> Simulation:
        """Compare one batch, and give what happened over all T_max steps.

        Args:
            images: uint8 (batch, channel, height, width).

        Raises:
            SimulationError: images of the wrong shape or type.
        """
        simulation = simulate(
            self._graph, images, engine=self._engine, keep_counts=True, batch_size=len(images), device=self._device
        )
        self._tally.add(simulation, self._reference.evaluate(images))
        return simulation

    def write_down(self) -> list[int]:
        """What was found so far, in whole numbers."""
        return self._tally.write_down()

    def take_up(self, numbers: Sequence[int]) -> None:
        """Go on after what another proof of the same graph and network wrote down.

        Raises:
            ValueError: not as many numbers as this graph's.
        """
        self._tally.take_up(numbers)

    def conclude(self) -> Verification:
        """The findings so far."""
        return self._tally.conclude(self._graph, self._differing_tensors)


def _check_same_network(graph: SpikingGraph, fresh: SpikingGraph) -> None:
    kinds, expected = ({node.name: (type(node), each.shapes[node.name]) for node in each} for each in (graph, fresh))
    for name in {**kinds, **expected}:
        if kinds.get(name) != expected.get(name):
            raise ConversionError(
                f"{name}: the spiking graph and the model are not of the same network: convert it anew"
            )


class _Tally:
    def __init__(self, graph: SpikingGraph) -> None:
        self.images = self.neurons = self.unsettled = self.last = 0
        self.differing = {node.name: 0 for node in graph.spiking}
        self.differing[graph.readout.name] = 0
        self.whole_logits = is_integer(graph.readout.bias)
        self.readout = graph.readout.name

    def add(self, simulation: Simulation, expected: Evaluation) -> None:
        settled = simulation.settled[-1]
        self.images += len(settled)
        self.unsettled += int((~settled).sum())
        self.neurons = sum(count[0].numel() for count in expected.counts.values())
        steps = (~simulation.settled).sum(0) + 1
        self.last = max(self.last, int(steps.max()))
        for name, counts in expected.counts.items():
            self.differing[name] += int((simulation.counts[name][settled] != counts[settled]).sum())
        logits, wanted = simulation.logits[-1][settled], expected.logits[settled]
        if self.whole_logits:
            wrong = logits != wanted
        else:
            wrong = ~torch.isclose(logits, wanted, rtol=_ROUNDING, atol=_ROUNDING)
        self.differing[self.readout] += int(wrong.sum())

    def write_down(self) -> list[int]:
        """All that this tally knows."""
        return [self.images, self.neurons, self.unsettled, self.last, *self.differing.values()]

    def take_up(self, numbers: Sequence[int]) -> None:
        """Begin with another one's numbers."""
        images, neurons, unsettled, last, *differing = numbers
        self.differing = dict(zip(self.differing, differing, strict=True))
        self.images, self.neurons, self.unsettled, self.last = images, neurons, unsettled, last

    def conclude(self, graph: SpikingGraph, differing_tensors: list[str]) -> Verification:
        return Verification(
            images=self.images,
            neurons=self.neurons,
            mismatches=sum(self.differing.values()),
            unsettled=self.unsettled,
            settled_by=None if self.unsettled else self.last,
            membrane_bits=count_membrane_bits(graph),
            fraction_bits={node.name: node.fraction_bits for node in graph.neurons if isinstance(node, CountingNeuron)},
            differing_layers={name: number for name, number in self.differing.items() if number},
            differing_tensors=differing_tensors,
        )
