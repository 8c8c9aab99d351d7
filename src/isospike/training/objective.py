"""What a training makes small: cross-entropy with the labels, and with a teacher's answers."""

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from isospike.errors import TrainingError
from isospike.training.configuration import TrainingConfig


class Objective(nn.Module):
    """The network with its loss, image by image.

    Wrapping this, and not the network, leaves the network as it was afterwards.

    Args:
        model: gives logits (n, classes).
        config: label smoothing and distillation.
        highest_label: that may come.

    Source: distillation is Hinton et al., 2015: ``(1 - distil) * CE + distil * temperature^2 * KL(teacher, student)``,
    both softened by the temperature.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, highest_label: int) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.highest_label = highest_label

    def forward(self, images: Tensor, labels: Tensor, answers: Tensor | None = None) -> Tensor:
        """The losses (n,) of a slice of a batch; ``answers`` are the teacher's logits (n, classes).

        Raises:
            TrainingError: logits of another shape, or of too few classes.
        """
        logits = self.model(images)
        if logits.ndim != 2 or len(logits) != len(labels) or logits.shape[1] <= self.highest_label:
            raise TrainingError(
                f"train: the network gave {tuple(logits.shape)} for {len(labels)} images with labels up to "
                f"{self.highest_label}, expected ({len(labels)}, classes): give it a classifier of more classes"
            )
        smoothing, share = self.config.label_smoothing, self.config.distil
        loss = cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        if answers is not None:
            loss = (1 - share) * loss + share * self._compare(logits, answers)
        return loss

    def _compare(self, logits: Tensor, answers: Tensor) -> Tensor:
        if answers.shape != logits.shape:
            raise TrainingError(
                f"train: the teacher gave {tuple(answers.shape)}, expected {tuple(logits.shape)}: take one that was "
                "trained on the same classes"
            )
        heat = self.config.temperature
        student, teacher = log_softmax(logits.float() / heat, 1), log_softmax(answers.float() / heat, 1)
        return kl_div(student, teacher, reduction="none", log_target=True).sum(1) * heat**2


def ask_teacher(teacher: nn.Module | None, images: Tensor, accelerator: Accelerator) -> Tensor | None:
    """The teacher's logits for a batch, or None without one; no gradient reaches it."""
    if teacher is None:
        return None
    with torch.no_grad(), accelerator.autocast():
        answers: Tensor = teacher(images)
    return answers
