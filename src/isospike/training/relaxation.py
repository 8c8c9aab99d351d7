"""Warm-up of quantisation: a training may begin without levels and with float weights."""

from torch import nn

from isospike.networks import LevelActivation, QuantisedWeight
from isospike.training.configuration import TrainingConfig


class Relaxation:
    """Switches the levels of a network on, and its quantised weights, or mixes these in, each at its share of the
    training.

    Args:
        model: any network; one without levels or quantised weights is left alone.
        config: its ``levels_from``, ``weights_from`` and ``weights_until``.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        parts = list(model.modules())
        self.levels = [part for part in parts if isinstance(part, LevelActivation)]
        self.weights = [part for part in parts if isinstance(part, QuantisedWeight)]
        self.config = config

    def apply(self, progress: float) -> None:
        """Relax what is not due yet.

        Arguments:
            progress: steps done / all steps, 0 to 1; a function of the step alone, so that a resumed training goes on
                exactly.
        """
        for activation in self.levels:
            activation.relaxed = progress < self.config.levels_from
        share = self._mix(progress)
        for weight in self.weights:
            weight.share = share

    def _mix(self, progress: float) -> float:
        begin, until = self.config.weights_from, self.config.weights_until
        if until is None or progress >= until:
            return float(progress >= begin)
        return max(progress - begin, 0.0) / (until - begin)
