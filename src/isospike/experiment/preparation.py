"""What a method is given of a captured network: levels where it needs them, and images to measure."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from isospike.conversion import METHODS, calibrate
from isospike.errors import ConversionError
from isospike.experiment.own_settings import Calibration
from isospike.experiment.sharing import Advance
from isospike.graph import Rectifier, SpikingGraph

LEVELS = 32


class Preparation:
    """One captured network, for as many methods as one likes; levels are calibrated once.

    Args:
        captured: the network as it came.
        calibration: how it gets its levels.
        draw: gives so many training images to calibrate on.
        measure: given a method's options, gives the training images from which the method draws those it measures.
        place: what errors call the network.
        device: "cpu" or "cuda".
        advance: given a stage and its total, gives a function to call with the number done.
    """

    def __init__(
        self,
        captured: SpikingGraph,
        calibration: Calibration,
        *,
        draw: Callable[[int], Tensor],
        measure: Callable[[dict[str, Any]], Tensor],
        place: str,
        device: str = "cpu",
        advance: Callable[[str, int], Advance] | None = None,
    ) -> None:
        self.captured, self.calibration, self.place, self.device = captured, calibration, place, device
        self.draw, self.measure = draw, measure
        self.advance = advance or (lambda stage, total: lambda done: None)  # noqa: ARG005
        self._levelled: dict[int, SpikingGraph] = {}

    def choose_levels(self, method: str) -> int | None:
        """How many levels the network's ReLUs get; None where they stay.

        Raises:
            ConversionError: levels for a network that has them already.
        """
        wanted = self.calibration.levels
        rectified = any(isinstance(node, Rectifier) for node in self.captured)
        if wanted is not None and not rectified:
            raise ConversionError(f"--levels: {self.place} has no ReLU to calibrate: leave --levels out")
        if not rectified or (wanted is None and METHODS[method].needs_images):
            return None
        return LEVELS if wanted is None else wanted

    def choose_ann(self, method: str) -> SpikingGraph:
        """The network that the method converts.

        Raises:
            ConversionError: levels for a network that has them already, or a calibration that fails.
        """
        levels = self.choose_levels(method)
        if levels is None:
            return self.captured
        if levels not in self._levelled:
            self._levelled[levels] = self._calibrate(levels)
        return self._levelled[levels]

    def choose_images(self, method: str, options: dict[str, Any]) -> Tensor | None:
        """Training images for a method that measures them; None for the others."""
        return self.measure(options) if METHODS[method].needs_images else None

    def _calibrate(self, levels: int) -> SpikingGraph:
        settings = self.calibration
        images = self.draw(settings.images)
        advance = self.advance("calibrate", sum(isinstance(node, Rectifier) for node in self.captured))
        return calibrate(
            self.captured,
            images,
            levels=levels,
            criterion=settings.criterion,
            percentile=settings.percentile,
            per=settings.per,
            correct_bias=settings.correct_bias,
            device=self.device,
            on_layer=lambda done, _: advance(done),
        )
