"""What a run of the engine leaves behind."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class EngineRecord:
    """A network over time; the same numbers as :class:`isospike.simulator.Simulation`, as NumPy arrays.

    Attributes:
        logits: the graph's integer logits ``V + bias`` after each step, int32 (time, batch, classes).
        positive: spikes fired by each neuron layer and emitted by each max-pool tracker, int64 (time, batch).
        negative: negative spikes, likewise, as positive numbers.
        sops: synaptic operations of each layer after the encoder, the classifier included, int64 (time, batch).
        settled: whether every neuron agrees with its membrane, bool (time, batch).
        counts: the spike counts at the end, int32 (batch, ...) by node; empty unless they were asked for.
    """

    logits: np.ndarray
    positive: dict[str, np.ndarray]
    negative: dict[str, np.ndarray]
    sops: dict[str, np.ndarray]
    settled: np.ndarray
    counts: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def predictions(self) -> np.ndarray:
        """The class with the largest logit, int64 (time, batch)."""
        return self.logits.argmax(-1)


def join_records(parts: list[EngineRecord]) -> EngineRecord:
    """Records of consecutive batches as one."""
    if len(parts) == 1:
        return parts[0]

    def along(name: str, axis: int) -> dict[str, np.ndarray]:
        first: dict[str, np.ndarray] = getattr(parts[0], name)
        return {key: np.concatenate([getattr(part, name)[key] for part in parts], axis) for key in first}

    return EngineRecord(
        np.concatenate([part.logits for part in parts], 1),
        along("positive", 1),
        along("negative", 1),
        along("sops", 1),
        np.concatenate([part.settled for part in parts], 1),
        along("counts", 0),
    )
