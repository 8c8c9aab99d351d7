"""Small images in the first part of a training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.hooks import RemovableHandle

from isospike.errors import TrainingError
from isospike.training.configuration import TrainingConfig


class Reduction:
    """Makes the images of the first steps smaller, and the network fit for them.

    A convolution takes images of any size. Where a feature map is flattened for a dense layer, the map of a small image
    is stretched to the size that the map of a whole one has, each value repeated, so that the dense layer's weights
    keep their places.

    Args:
        model: takes images (n, channel, height, width); maps are stretched in front of its ``nn.Flatten``.
        config: its ``small_side`` and ``small_until``.

    Source: progressive resizing (Howard et al., fast.ai's DAWNBench entries, 2018).
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self.model, self.config = model, config
        self.sizes: dict[nn.Module, tuple[int, int]] = {}
        self.handles: list[RemovableHandle] = []
        self.prepared = False

    def apply(self, images: Tensor, progress: float) -> Tensor:
        """The images of a step as the network is to see them.

        Arguments:
            images: uint8 (n, channel, height, width).
            progress: steps done / all steps, 0 to 1.

        Raises:
            TrainingError: images that are not larger than ``small_side``, or a network that does not take small ones.
        """
        side = self.config.small_side
        if side is None or progress >= self.config.small_until:
            self.close()
            return images
        if not self.prepared:
            self._prepare(images[:1], side)
        return _shrink(images, side)

    def close(self) -> None:
        """Leave the network as it was."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.prepared = False

    def _prepare(self, image: Tensor, side: int) -> None:
        """Note the sizes of the maps of a whole image, and try a small one."""
        if min(image.shape[-2:]) <= side:
            raise TrainingError(
                f"train.small_side: got {side} for images of {image.shape[-2]}x{image.shape[-1]} pixels, expected "
                "less: lower it or leave it out"
            )
        flattens = [module for module in self.model.modules() if isinstance(module, nn.Flatten)]
        with _watch(self.model):
            for module in flattens:
                self.handles.append(module.register_forward_pre_hook(self._note))
            self.model(image)
            self.close()
            self.handles = [module.register_forward_pre_hook(self._stretch) for module in flattens]
            try:
                self.model(_shrink(image, side))
            except RuntimeError as error:
                self.close()
                raise TrainingError(
                    f"train.small_side: the network does not take images of {side}x{side} pixels ({error}): flatten by "
                    "nn.Flatten, or leave it out"
                ) from error
        self.prepared = True

    def _note(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].ndim == 4:
            self.sizes[module] = (inputs[0].shape[-2], inputs[0].shape[-1])

    def _stretch(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        size = self.sizes.get(module)
        if size is None or inputs[0].shape[-2:] == size:
            return inputs
        return (interpolate(inputs[0], size=size, mode="nearest"),)


def _shrink(images: Tensor, side: int) -> Tensor:
    small = interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)
    return small.round_().clamp_(0, 255).to(torch.uint8)


@contextmanager
def _watch(model: nn.Module) -> Iterator[None]:
    """Evaluate without a trace: no gradients, no running statistics."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
