"""What a training is: its length, its optimiser, its learning rate at each step."""

import math
from dataclasses import dataclass
from typing import Literal

from isospike.errors import TrainingError

OPTIMISERS = ("adamw", "sgd", "muon")
SCHEDULES = ("one-cycle", "cosine", "constant")
PRECISIONS = ("float32", "bf16")

FIRST_DIVISOR = 25.0
LAST_DIVISOR = 1e4


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of one training.

    Arguments:
        epochs: passes over the training images.
        batch_size: images per step, over all processes together; an incomplete last batch is dropped.
        learning_rate: its highest value.
        weight_decay: decoupled in "adamw", added to the gradient in "sgd"; only on weights of two or more dimensions,
            never on BatchNorm, biases or learned thresholds.
        optimiser: "adamw", "sgd" with Nesterov momentum, or "muon" (of the weights between the first and the last
            layer; "adamw" moves the rest).
        momentum: the momentum of "sgd" and "muon", the first beta of "adamw".
        schedule: "one-cycle" (cosine from learning_rate / 25 up, then down to a ten-thousandth of that), "cosine"
            (linear from 0 up, then cosine down to 0), or "constant" (linear from 0 up, then level).
        warmup: fraction of all steps that the way up takes, 0 to below 1.
        label_smoothing: share of the target spread over all classes, 0 to below 1.
        precision: "float32", or "bf16" where autocast allows it (weights stay float32).
        channels_last: keep images and 4-d weights with the channels innermost in memory.
        seed: of the order of images and of their augmentation.
        gradient_clip: largest norm of the whole gradient; None leaves it.
        compiled: run the network and its loss through ``torch.compile``, which needs a C++ compiler and some minutes
            first.
        accumulation: slices that each process takes its part of a batch in, one after another, to use less memory;
            the step is the same but for BatchNorm, which sees a slice at a time.
        levels_from: share of all steps before activations get their levels; they are clipped ReLUs until then.
        weights_from: share of all steps before weights are quantised.
        weights_until: share of all steps from which they are quantised wholly; from ``weights_from`` to there each is a
            mixture of the float weight and the quantised one, more and more of the latter. None for ``weights_from``,
            at once.
        small_side: side in pixels that images have in the first part of a training, which then costs less; None for the
            side they come with.
        small_until: share of all steps before which they are small.
        prune_images: probability that a pass over the images leaves out one whose loss is below the mean; the loss of
            those that stay counts 1 / (1 - prune_images) times what others' do. 0 for whole passes.
        prune_from: share of all epochs before which every pass is whole.
        prune_until: share of all epochs from which every pass is whole again.
        average: decay per step of an exponential moving average of the weights, which the training ends with; 0 for
            none. BatchNorm's statistics are then measured anew.
        distil: share of the loss that compares with a teacher's answers; the rest compares with the labels.
        temperature: what logits are divided by where they are compared with a teacher's.

    Raises:
        TrainingError: a value out of its range.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimiser: Literal["adamw", "sgd", "muon"] = "adamw"
    momentum: float = 0.9
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warmup: float = 0.2
    label_smoothing: float = 0.0
    precision: Literal["float32", "bf16"] = "float32"
    channels_last: bool = False
    seed: int = 0
    gradient_clip: float | None = None
    compiled: bool = False
    accumulation: int = 1
    levels_from: float = 0.0
    weights_from: float = 0.0
    weights_until: float | None = None
    small_side: int | None = None
    small_until: float = 0.0
    prune_images: float = 0.0
    prune_from: float = 0.2
    prune_until: float = 0.875
    average: float = 0.0
    distil: float = 0.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        clip = self.gradient_clip
        checks = (
            ("epochs", self.epochs >= 1, "1 or more"),
            ("batch_size", self.batch_size >= 1, "1 or more images"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "a positive number"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
            ("optimiser", self.optimiser in OPTIMISERS, f"one of {', '.join(OPTIMISERS)}"),
            ("momentum", 0 <= self.momentum < 1, "0 to below 1"),
            ("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("warmup", 0 <= self.warmup < 1, "a fraction, 0 to below 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "0 to below 1"),
            ("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            ("seed", 0 <= self.seed < 2**63, "0 to 2^63 - 1"),
            ("accumulation", self.accumulation >= 1, "1 or more slices"),
            ("levels_from", 0 <= self.levels_from < 1, "a fraction, 0 to below 1"),
            ("weights_from", 0 <= self.weights_from < 1, "a fraction, 0 to below 1"),
            (
                "weights_until",
                self.weights_until is None or self.weights_from <= self.weights_until <= 1,
                f"a share from weights_from ({self.weights_from}) to 1, or none",
            ),
            ("small_side", self.small_side is None or self.small_side >= 1, "1 or more pixels, or none"),
            ("small_until", 0 <= self.small_until < 1, "a fraction, 0 to below 1"),
            ("small_until", self.small_side is None or self.small_until > 0, "a share above 0, for train.small_side"),
            ("prune_images", 0 <= self.prune_images < 1, "a probability, 0 to below 1"),
            ("prune_from", 0 <= self.prune_from < 1, "a fraction, 0 to below 1"),
            (
                "prune_until",
                self.prune_from <= self.prune_until <= 1,
                f"a share from prune_from ({self.prune_from}) to 1",
            ),
            ("average", 0 <= self.average < 1, "a decay, 0 to below 1"),
            ("distil", 0 <= self.distil <= 1, "a share, 0 to 1"),
            ("temperature", 0 < self.temperature < math.inf, "a positive number"),
            ("gradient_clip", clip is None or 0 < clip < math.inf, "a positive number, or none"),
        )
        for name, fits, expected in checks:
            if not fits:
                raise TrainingError(f"train.{name}: got {getattr(self, name)!r}, expected {expected}")


def schedule_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """The learning rate of one step: a function of the step alone, so that a resumed training continues exactly.

    Arguments:
        step: 0 to steps - 1, counted over all epochs.
        steps: number of steps of the whole training.

    Returns:
        A learning rate, at most ``config.learning_rate``.

    Source: "one-cycle" is Smith and Topin, 2018, in the form of ``torch.optim.lr_scheduler.OneCycleLR`` with its
    default divisors, without its cycle of momentum. "cosine" is Loshchilov and Hutter, ICLR 2017, eq. 5, without
    restarts.
    """
    top = config.learning_rate
    if config.schedule == "one-cycle":
        low, last = top / FIRST_DIVISOR, top / FIRST_DIVISOR / LAST_DIVISOR
        peak = max(config.warmup * steps - 1, 0.0)
        if step <= peak and peak > 0:
            return _swing(low, top, step / peak)
        return _swing(top, last, (step - peak) / max(steps - 1 - peak, 1))
    rising = round(config.warmup * steps)
    if step < rising:
        return top * (step + 1) / rising
    if config.schedule == "cosine":
        return _swing(top, 0.0, (step - rising) / (steps - rising))
    return top


def _swing(start: float, end: float, fraction: float) -> float:
    """Half a cosine wave from ``start`` to ``end``."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
