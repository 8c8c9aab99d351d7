"""Random shifts, crops, flips, light and holes, on whole batches of uint8 images."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from isospike.errors import DataError


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied; the default leaves them alone.

    Arguments:
        shift: pixels of padding on each side, out of which a window is drawn: the image moves by up to this much.
        crop: side of that window in pixels; None keeps the image's own height and width.
        flip: mirror left and right, one image in two; "alternate" mirrors each image in every second epoch of a
            training, half of the images first in the odd ones. Source: Jordan, 2024, arXiv:2404.00498.
        brightness: add a number drawn from -brightness to +brightness, in units of the full range (255).
        contrast: multiply the distance to the image's mean by a number drawn from 1 - contrast to 1 + contrast.
        rotation: turn by an angle drawn from -rotation to +rotation, in degrees.
        scale: stretch each axis by a factor drawn from 1 - scale to 1 + scale.
        cutout: side in pixels of a square, centred on a random pixel, that is filled; 0 for none.
        fill: the pixel value of padding and holes, 0 to 255: one, or one for each channel. With a network that pads
            by the rounded mean, the rounded mean.

    Raises:
        DataError: a value out of its range.
    """

    shift: int = 0
    crop: int | None = None
    flip: Literal[False, True, "alternate"] = False
    brightness: float = 0.0
    contrast: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    cutout: int = 0
    fill: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        fills = self.fill if isinstance(self.fill, tuple) else (self.fill,)
        ranges = (
            ("shift", self.shift >= 0, self.shift, "0 or more pixels"),
            ("crop", self.crop is None or self.crop >= 1, self.crop, "1 or more pixels, or none"),
            ("brightness", 0 <= self.brightness <= 1, self.brightness, "0 to 1"),
            ("contrast", 0 <= self.contrast <= 1, self.contrast, "0 to 1"),
            ("rotation", 0 <= self.rotation <= 180, self.rotation, "0 to 180 degrees"),
            ("scale", 0 <= self.scale < 1, self.scale, "0 to below 1"),
            ("flip", self.flip in (False, True, "alternate"), self.flip, "true, false or alternate"),
            ("cutout", self.cutout >= 0, self.cutout, "0 or more pixels"),
            ("fill", bool(fills) and all(0 <= value <= 255 for value in fills), self.fill, "pixels from 0 to 255"),
        )
        for name, fits, value, expected in ranges:
            if not fits:
                raise DataError(f"augmentation.{name}: got {value}, expected {expected}")


def augment(images: Tensor, config: Augmentation, generator: torch.Generator, mirrored: Tensor | None = None) -> Tensor:
    """Vary each image of a batch on its own.

    In this order: rotation and scale (bilinear), shift and crop, flip, contrast and brightness (round half to even,
    clip), cutout. The result depends on the images, ``config`` and the state of ``generator`` alone, for one kind of
    device.

    Arguments:
        images: uint8 (batch, channel, height, width), on any device.
        config: what to vary.
        generator: where the random numbers come from, on the images' device or on the CPU.
        mirrored: bool (batch,), on the images' device: which images to flip, where ``config.flip`` is "alternate".

    Returns:
        uint8 (batch, channel, height, width), or (batch, channel, crop, crop).

    Raises:
        DataError: images of another type or shape, a crop larger than the image, as many fills as no image has, or no
            ``mirrored`` where flips alternate.
    """
    _check_images(images, config)
    fill = torch.as_tensor(config.fill, dtype=torch.uint8, device=images.device).reshape(1, -1, 1, 1)
    if config.rotation or config.scale:
        images = _warp(images, config, fill, generator)
    if config.shift or config.crop is not None:
        images = _draw_window(images, config, fill, generator)
    if config.flip:
        mirrored = _choose_flips(images, config, generator, mirrored)
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if config.brightness or config.contrast:
        images = _change_light(images, config, generator)
    if config.cutout:
        images = _cut_out(images, config.cutout, fill, generator)
    return images


def crop_centre(images: Tensor, size: int) -> Tensor:
    """The middle ``size`` x ``size`` pixels (a view), up and left of the centre where they cannot be in the middle.

    Arguments:
        images: (..., height, width).

    Raises:
        DataError: the images are smaller.
    """
    height, width = images.shape[-2:]
    if not 1 <= size <= min(height, width):
        raise DataError(f"crop: got {size}, expected 1 to {min(height, width)} for images of {height}x{width} pixels")
    top, left = (height - size) // 2, (width - size) // 2
    return images[..., top : top + size, left : left + size]


def _check_images(images: Tensor, config: Augmentation) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise DataError(
            f"augment: got {images.dtype} of shape {tuple(images.shape)}, expected torch.uint8 "
            "(batch, channel, height, width): augment before scaling"
        )
    _, channels, height, width = images.shape
    if config.crop is not None and config.crop > min(height, width):
        raise DataError(
            f"augmentation.crop: got {config.crop}, expected at most {min(height, width)} for images of "
            f"{height}x{width} pixels"
        )
    if isinstance(config.fill, tuple) and len(config.fill) not in (1, channels):
        raise DataError(f"augmentation.fill: got {len(config.fill)} values, expected 1 or {channels}, one a channel")


def _draw(count: int, low: int, high: int, images: Tensor, generator: torch.Generator) -> Tensor:
    """``count`` integers, low <= i < high, on the images' device."""
    return torch.randint(low, high, (count,), generator=generator, device=generator.device).to(images.device)


def _choose_flips(images: Tensor, config: Augmentation, generator: torch.Generator, given: Tensor | None) -> Tensor:
    if config.flip is True:
        return _draw(len(images), 0, 2, images, generator).bool()
    if given is None:
        raise DataError(
            "augmentation.flip: got 'alternate' for images that are not known from epoch to epoch, as in a stream: set "
            "it to true"
        )
    return given


def _draw_window(images: Tensor, config: Augmentation, fill: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    if config.shift:
        # Padding takes one value for all channels, so the fill is taken off before it and put back after it; uint8
        # wraps around both times.
        images = pad(images - fill, (config.shift,) * 4) + fill
    rows, columns = (height, width) if config.crop is None else (config.crop, config.crop)
    windows = images.unfold(2, rows, 1).unfold(3, columns, 1)  # (batch, channel, top, left, rows, columns), a view
    top = _draw(count, 0, windows.shape[2], images, generator)
    left = _draw(count, 0, windows.shape[3], images, generator)
    return windows[torch.arange(count, device=images.device), :, top, left]


def _warp(images: Tensor, config: Augmentation, fill: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    draws = 2 * torch.rand((3, count), generator=generator, device=generator.device).to(images.device) - 1
    angle = torch.deg2rad(config.rotation * draws[0])
    rows, columns = 1 + config.scale * draws[1], 1 + config.scale * draws[2]
    turn = torch.zeros(count, 2, 3, device=images.device)  # from places in the result to places in the image
    turn[:, 0, 0], turn[:, 0, 1] = angle.cos() / columns, angle.sin() * height / width / columns
    turn[:, 1, 0], turn[:, 1, 1] = -angle.sin() * width / height / rows, angle.cos() / rows
    grid = affine_grid(turn, list(images.shape), align_corners=False)
    # outside there is zero, so the fill is taken off before and put back after
    warped = grid_sample(images.float() - fill, grid, align_corners=False)
    return warped.add_(fill).round_().clamp_(0, 255).to(torch.uint8)


def _change_light(images: Tensor, config: Augmentation, generator: torch.Generator) -> Tensor:
    draws = torch.rand((2, len(images), 1, 1, 1), generator=generator, device=generator.device).to(images.device)
    gain, offset = 1 + config.contrast * (2 * draws[0] - 1), 255 * config.brightness * (2 * draws[1] - 1)
    pixels = images.float()
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return pixels.sub_(mean).mul_(gain).add_(mean + offset).round_().clamp_(0, 255).to(torch.uint8)


def _cut_out(images: Tensor, size: int, fill: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    inside = []
    for length in (height, width):
        start = _draw(count, 0, length, images, generator) - size // 2
        distance = torch.arange(length, device=images.device) - start[:, None]
        inside.append((distance >= 0) & (distance < size))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(hole, fill, images)
