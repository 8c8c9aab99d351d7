"""From an encoded image of any size to a square of pixels."""

import io
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from isospike.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP")
"""What is decoded: PIL knows formats, such as EPS, that it hands to other programs."""
_TRIES = 10
_NARROWEST, _WIDEST = 3 / 4, 4 / 3


@dataclass(frozen=True)
class Framing:
    """How an image becomes ``size`` x ``size`` pixels.

    The shorter side is resized to ``resize`` (bilinear, with antialiasing), and the centre is cut out. While training,
    with ``smallest_area``, instead a window is drawn whose area is that share of the image's or more, and whose sides
    are as 3:4 to 4:3, and resized.

    Attributes:
        size: side of the result, in pixels.
        resize: the shorter side before cropping, at least ``size``.
        smallest_area: above 0, up to 1; None for the centre in training too.

    Raises:
        DataError: a value out of its range.

    Source: the window is that of Szegedy et al., CVPR 2015, as ``torchvision.transforms.RandomResizedCrop`` draws it.
    """

    size: int
    resize: int
    smallest_area: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.resize:
            raise DataError(f"data.resize: expected at least data.crop = {self.size} pixels, got {self.resize}")
        if self.smallest_area is not None and not 0 < self.smallest_area <= 1:
            raise DataError(f"data.smallest_area: expected a share above 0, up to 1, got {self.smallest_area}")

    def hold_still(self) -> "Framing":
        """The same without anything drawn."""
        return replace(self, smallest_area=None)

    def decode(self, encoded: bytes | str, place: str, draws: np.random.Generator | None) -> np.ndarray:
        """Decode and frame one image.

        Args:
            encoded: JPEG, PNG or WebP; or the path of such a file.
            place: names the dataset in errors.
            draws: where windows come from; None for the centre.

        Returns:
            uint8 (3, size, size).

        Raises:
            DataError: the image does not decode.
        """
        name = f"{place}: {encoded}" if isinstance(encoded, str) else f"{place}: an image of {len(encoded)} bytes"
        try:
            content = Path(encoded).read_bytes() if isinstance(encoded, str) else encoded
            image = Image.open(io.BytesIO(content), formats=FORMATS).convert("RGB")
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{name} does not decode, expected JPEG, PNG or WebP: copy the files anew") from error
        if draws is not None and self.smallest_area is not None:
            box = _draw_window(image.width, image.height, self.smallest_area, draws)
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, box)
        else:
            image = _cut_centre(image, self.size, self.resize)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _cut_centre(image: Image.Image, size: int, resize: int) -> Image.Image:
    scale = resize / min(image.size)
    width, height = (max(resize, round(length * scale)) for length in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _draw_window(
    width: int, height: int, smallest_area: float, draws: np.random.Generator
) -> tuple[float, float, float, float]:
    for _ in range(_TRIES):
        area = draws.uniform(smallest_area, 1) * width * height
        ratio = math.exp(draws.uniform(math.log(_NARROWEST), math.log(_WIDEST)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = int(draws.integers(width - wide + 1)), int(draws.integers(height - high + 1))
            return left, top, left + wide, top + high
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side
