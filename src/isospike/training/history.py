"""What each epoch of a training came to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch.

    Arguments:
        epoch: its number, 1 to ``epochs``.
        epochs: how many there are.
        loss: mean over its steps, in nats: cross-entropy with label smoothing, and with ``train.distil`` that share of
            the distance to the teacher's answers.
        learning_rate: of its last step.
        seconds: wall time.
        images_per_second: over all processes together.
    """

    epoch: int
    epochs: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float
