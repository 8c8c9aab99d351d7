"""What can go wrong in a spiking network while it runs; damage to stored numbers is in isospike.graph."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from isospike.errors import SimulationError
from isospike.simulator.checks import check_share, check_whole, is_whole, show

_MOST_BITS = 63
_SHARE = "a probability or a share"


@dataclass(frozen=True)
class Losses:
    """Spikes that get lost, each with the same probability and on its own.

    Numbers are drawn for the whole batch at each step, so that images that have stopped early change nothing for the
    others.

    Attributes:
        probability: of losing a spike.
        batch: images that began together.
        generator: on the CPU.
    """

    probability: float
    batch: int
    generator: torch.Generator

    def drop(self, spikes: Tensor, images: Tensor) -> Tensor:
        """The spikes (running images, ...) that arrive; ``images`` are their places in the batch.

        A neuron that fires several spikes in a step may lose some of them: one draw for each.
        """
        size = spikes.abs()
        lost = torch.zeros_like(size)
        for spike in range(int(size.max())):
            draws = torch.rand(self.batch, *spikes.shape[1:], generator=self.generator)[images].to(spikes.device)
            lost += ((draws < self.probability) & (size > spike)).to(lost.dtype)
        return spikes - lost * spikes.sign()


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong in :func:`isospike.simulate`.

    What is drawn is a function of the seed, the image's place, the step, the neuron and the spike
    (:mod:`isospike.simulator.draws`), so the batch size changes nothing; and of how many faults of its kind come before
    it in the list, so that two of one kind and seed draw apart.
    """

    @property
    def is_harmless(self) -> bool:
        """Whether it does nothing at all."""
        return False


@dataclass(frozen=True)
class SpikeFault(Fault):
    """A fault that befalls each spike on its way with the same probability, on its own.

    Attributes:
        probability: 0 to 1.
        seed: of the draws.
        nodes: the names of the neurons and max-pool trackers whose spikes it befalls; None for all.

    Raises:
        SimulationError: no probability, a seed that is no whole number, no names.
    """

    probability: float
    seed: int = 0
    nodes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_share(name, self.probability, _SHARE)
        check_whole(f"{name}: seed", self.seed)
        named = isinstance(self.nodes, Collection) and all(isinstance(each, str) for each in self.nodes)
        if self.nodes is not None and (isinstance(self.nodes, str) or not named):
            raise SimulationError(
                f"{name}: expected nodes=('conv1.neuron',), names, or None for all, got nodes={show(self.nodes)}"
            )

    @property
    def is_harmless(self) -> bool:
        """Whether it does nothing at all."""
        return self.probability == 0


@dataclass(frozen=True)
class DroppedSpikes(SpikeFault):
    """Spikes that are fired and never arrive."""


@dataclass(frozen=True)
class DuplicatedSpikes(SpikeFault):
    """Spikes that arrive twice in their step."""


@dataclass(frozen=True)
class DelayedSpikes(SpikeFault):
    """Spikes that arrive ``steps`` time steps late; those of the last steps never do.

    Attributes:
        steps: 1 or more.
    """

    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_whole(self.steps) or self.steps < 1:
            raise SimulationError(
                f"DelayedSpikes: expected a delay of at least 1 step, as a whole number, got {show(self.steps)}"
            )


@dataclass(frozen=True)
class NeuronFault(Fault):
    """A fault of ``round(share * neurons)`` neurons of each layer, the same ones for every image and step. Max-pool
    trackers are no neurons.

    Attributes:
        share: 0 to 1.
        seed: of the choice; a larger share takes in the neurons of a smaller one.

    Raises:
        SimulationError: no share, a seed that is no whole number.
    """

    share: float
    seed: int = 0

    def __post_init__(self) -> None:
        check_share(type(self).__name__, self.share, _SHARE)
        check_whole(f"{type(self).__name__}: seed", self.seed)

    @property
    def is_harmless(self) -> bool:
        """Whether it does nothing at all."""
        return self.share == 0


@dataclass(frozen=True)
class DeadNeurons(NeuronFault):
    """Neurons that never fire. They go on integrating, so one that deserves a count never agrees."""


@dataclass(frozen=True)
class StuckNeurons(NeuronFault):
    """Neurons that fire +1 at every step, whatever their membrane; no image settles. Where one is dead too, the
    fault that comes later in the list has its way."""


@dataclass(frozen=True)
class SaturatedMembranes(Fault):
    """Membranes, the classifier's too, that hold ``bits`` bits in two's complement: after each addition of a step's
    current they are clamped to ``-2^(bits-1) .. 2^(bits-1) - 1``. Sums within a step are not. The classifier's bias is
    part of its current in a rate-coded graph, and added to what is read in a counting one.

    Attributes:
        bits: 2 to 63.

    Raises:
        SimulationError: fewer or more.
    """

    bits: int

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 2 <= self.bits <= _MOST_BITS:
            raise SimulationError(
                f"SaturatedMembranes: expected 2 to {_MOST_BITS} bits, as a whole number, got {show(self.bits)}"
            )

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest and the highest potential."""
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
