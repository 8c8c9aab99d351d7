"""The datasets isospike knows by name: where each is, and what its images look like."""

import difflib
from dataclasses import dataclass

from isospike.errors import DataError


@dataclass(frozen=True)
class Source:
    """One dataset: its place on the Hugging Face hub, its columns and its dimensions.

    ``hub`` is None for a dataset that needs no download. ``shape`` is (channels, height, width) in pixels;
    None where the images differ in size. ``test_split`` is the name that the hub gives to the test images.
    """

    hub: str | None
    config: str | None
    image_column: str
    label_column: str
    shape: tuple[int, int, int] | None
    classes: int
    test_split: str = "test"


SOURCES: dict[str, Source] = {
    "digits": Source(None, None, "image", "label", (1, 8, 8), 10),
    "mnist": Source("ylecun/mnist", None, "image", "label", (1, 28, 28), 10),
    "fashion-mnist": Source("zalando-datasets/fashion_mnist", None, "image", "label", (1, 28, 28), 10),
    "cifar10": Source("uoft-cs/cifar10", None, "img", "label", (3, 32, 32), 10),
    "cifar100": Source("uoft-cs/cifar100", None, "img", "fine_label", (3, 32, 32), 100),
    "imagenet": Source("ILSVRC/imagenet-1k", None, "image", "label", None, 1000, test_split="validation"),
}


def find_source(name: str) -> Source:
    """The source called ``name``.

    Raises:
        DataError: no dataset has this name.
    """
    if name in SOURCES:
        return SOURCES[name]
    nearest = difflib.get_close_matches(name.lower(), SOURCES, n=1, cutoff=0.5)
    remedy = f"did you mean {nearest[0]!r}?" if nearest else "choose one of them"
    raise DataError(f"dataset {name!r}: expected one of {', '.join(SOURCES)}; {remedy}")
