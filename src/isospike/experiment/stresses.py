"""What a network can be put under, by name: noise on pixels, damaged numbers, misbehaving spikes and neurons."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from isospike.data import add_gaussian_noise, add_input_noise, add_salt_and_pepper
from isospike.errors import SimulationError
from isospike.graph import SpikingGraph
from isospike.graph.damage import drift_thresholds, flip_weight_bits
from isospike.metrics import list_encoders
from isospike.simulator import (
    DeadNeurons,
    DelayedSpikes,
    DroppedSpikes,
    DuplicatedSpikes,
    Fault,
    SaturatedMembranes,
    StuckNeurons,
)


@dataclass(frozen=True, eq=False)
class Scene:
    """What is simulated: a graph, images uint8 (n, channel, height, width), and what goes wrong on the way."""

    graph: SpikingGraph
    images: Tensor
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Stress:
    """One kind of trouble.

    Attributes:
        name: for the command line.
        title: for people.
        unit: of a severity.
        severities: that are tried by default, mildest first.
        apply: a scene, a severity and a seed to the scene in trouble.
        harmless: the severity that changes nothing; None where there is none.
        seeded: whether anything is drawn.
    """

    name: str
    title: str
    unit: str
    severities: tuple[float, ...]
    apply: Callable[[Scene, float, int], Scene]
    harmless: float | None = 0
    seeded: bool = True

    def order(self, severities: tuple[float, ...]) -> tuple[float, ...]:
        """Severities, mildest first, each once."""
        return tuple(sorted(set(severities), reverse=self.harmless is None))


def _on_pixels(add: Callable[[Tensor, float, int], Tensor]) -> Callable[[Scene, float, int], Scene]:
    return lambda scene, severity, seed: replace(scene, images=add(scene.images, severity, seed))


def _on_graph(damage: Callable[[SpikingGraph, float, int], SpikingGraph]) -> Callable[[Scene, float, int], Scene]:
    return lambda scene, severity, seed: replace(scene, graph=damage(scene.graph, severity, seed))


def _on_run(make: Callable[[float, int], Fault]) -> Callable[[Scene, float, int], Scene]:
    return lambda scene, severity, seed: replace(scene, faults=(*scene.faults, make(severity, seed)))


def _drop_from_encoder(scene: Scene, severity: float, seed: int) -> Scene:
    encoders = tuple(list_encoders(scene.graph))
    if not encoders:
        raise SimulationError("encoder-drop: expected an encoder, got a graph without neurons")
    return replace(scene, faults=(*scene.faults, DroppedSpikes(severity, seed, encoders)))


def _saturate(severity: float, _seed: int) -> Fault:
    if severity != int(severity):
        raise SimulationError(f"saturation: expected whole numbers of bits, got {severity:g}")
    return SaturatedMembranes(int(severity))


_PIXELS = "standard deviation, as a share of the pixel range"
STRESSES: dict[str, Stress] = {
    stress.name: stress
    for stress in (
        Stress("uniform-noise", "pixels times 1 + R (U - 0.5)", "R", (0.5, 1, 2, 4), _on_pixels(add_input_noise)),
        Stress(
            "gaussian-noise",
            "Gaussian noise on pixels",
            _PIXELS,
            (0.05, 0.1, 0.2, 0.3, 0.5),
            _on_pixels(add_gaussian_noise),
        ),
        Stress(
            "salt-and-pepper",
            "pixels turned black or white",
            "probability",
            (0.01, 0.05, 0.1, 0.2, 0.4),
            _on_pixels(add_salt_and_pepper),
        ),
        Stress(
            "bit-flips",
            "flipped bits of stored weights",
            "share of the bits",
            (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
            _on_graph(flip_weight_bits),
        ),
        Stress(
            "threshold-drift",
            "thresholds that drift, channel by channel",
            "standard deviation of the logarithm",
            (0.01, 0.05, 0.1, 0.2, 0.5),
            _on_graph(drift_thresholds),
        ),
        Stress("encoder-drop", "lost spikes of the encoder", "probability", (0.1, 0.2, 0.4, 0.8), _drop_from_encoder),
        Stress("drop", "lost spikes", "probability", (0.01, 0.05, 0.1, 0.2), _on_run(DroppedSpikes)),
        Stress("duplicate", "doubled spikes", "probability", (0.01, 0.05, 0.1, 0.2), _on_run(DuplicatedSpikes)),
        Stress("delay", "spikes one step late", "probability", (0.1, 0.5, 1), _on_run(DelayedSpikes)),
        Stress("dead", "neurons that never fire", "share of each layer", (0.01, 0.05, 0.2), _on_run(DeadNeurons)),
        Stress(
            "stuck",
            "neurons that fire at every step",
            "share of each layer",
            (0.001, 0.01, 0.03),
            _on_run(StuckNeurons),
        ),
        Stress(
            "saturation",
            "membranes that saturate",
            "bits",
            (24, 20, 18, 16, 14, 12),
            _on_run(_saturate),
            harmless=None,
            seeded=False,
        ),
    )
}
