"""Images of many sizes, read while they are needed: each once, whoever reads."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from isospike.data import Framing, ImageStream, open_stream
from isospike.errors import DataError

from .folders import encode, write_image_folder, write_parquet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folder(tmp_path_factory.mktemp("imagenet"))


def open_pair(folder: Path, classes: int = 3, workers: int | None = 0) -> tuple[ImageStream, ImageStream]:
    still = Framing(24, 28)
    return open_stream("imagenet", folder, classes=classes, train=Framing(28, 28), test=still, workers=workers)


def collect(stream: ImageStream, processes: int = 1, size: int = 5, epoch: int | None = None) -> tuple[Tensor, Tensor]:
    parts = [
        batch
        for rank in range(processes)
        for batch in stream.read(size, rank=rank, processes=processes, epoch=epoch, seed=3)
    ]
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def as_bag(images: Tensor, labels: Tensor) -> list[tuple[bytes, int]]:
    pairs = zip(images, labels.tolist(), strict=True)
    return sorted((image.numpy().tobytes(), label) for image, label in pairs)


def test_a_folder_in_imagenets_layout(folder: Path) -> None:
    train, test = open_pair(folder)
    assert (len(train), len(test), train.classes) == (36, 12, 3)
    assert (train.shape, test.shape) == ((3, 28, 28), (3, 24, 24))
    images, labels = collect(train)
    assert images.dtype == torch.uint8
    assert labels.tolist() == sorted(labels.tolist()) == [0] * 12 + [1] * 12 + [2] * 12
    brightest = images.double().mean((2, 3)).argmax(1)
    assert torch.equal(brightest, labels)  # each class has a colour of its own


def test_batches_are_full_but_for_the_last(folder: Path) -> None:
    sizes = [len(batch) for batch in open_pair(folder)[0].read(7)]
    assert sizes == [7, 7, 7, 7, 7, 1]


@pytest.mark.parametrize(("processes", "workers"), [(1, 2), (2, 0), (3, 2), (5, 0)])
@pytest.mark.parametrize("epoch", [None, 4])
def test_each_image_once_whoever_reads(folder: Path, processes: int, workers: int, epoch: int | None) -> None:
    alone = as_bag(*collect(open_pair(folder)[0]))
    shared = as_bag(*collect(open_pair(folder, workers=workers)[0], processes, epoch=epoch))
    assert shared == alone


def test_an_epoch_is_shuffled_and_can_be_repeated(folder: Path) -> None:
    train = open_pair(folder)[0]
    first, again, other = (collect(train, epoch=epoch)[1].tolist() for epoch in (1, 1, 2))
    assert first == again != other
    assert sorted(first) == sorted(other)
    assert first != sorted(first)


def test_parquet_gives_the_images_of_the_folder(folder: Path, tmp_path: Path) -> None:
    for split, place in (("train", "train"), ("validation", "val")):
        files = sorted((folder / place).rglob("*.JPEG"))
        names = sorted({file.parent.name for file in files})
        labels = [names.index(file.parent.name) for file in files]
        half = len(files) // 2
        for number, part in enumerate((slice(0, half), slice(half, None))):
            encoded = [file.read_bytes() for file in files[part]]
            write_parquet(tmp_path / f"{split}-0000{number}-of-00002.parquet", encoded, labels[part], classes=3)
    for ours, theirs in zip(open_pair(tmp_path), open_pair(folder), strict=True):
        assert len(ours) == len(theirs)
        assert as_bag(*collect(ours, 2)) == as_bag(*collect(theirs))
        assert len(ours.first(5)) == len(collect(ours.first(5))[1]) == 5
    assert as_bag(*collect(open_pair(tmp_path)[0], epoch=1)) == as_bag(*collect(open_pair(folder)[0]))


def test_a_few_images_are_of_all_classes(folder: Path) -> None:
    train, test = open_pair(folder)
    assert collect(test.first(6))[1].tolist() == [0, 0, 1, 1, 2, 2]
    assert test.first(100) is test
    drawn = train.draw(20, seed=1)
    assert len(drawn) == 20
    assert set(drawn.labels.tolist()) == {0, 1, 2}
    assert torch.equal(open_pair(folder, workers=2)[0].draw(20, seed=1).images, drawn.images)
    assert as_bag(train.hold().images, train.hold().labels) == as_bag(*collect(train))
    assert not torch.equal(train.draw(20, seed=2).images, drawn.images)


def test_the_centre_of_the_resized_image() -> None:
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 20:60] = 200  # the middle square
    found = Framing(20, 20).decode(encode(pixels), "here", None)
    assert found.shape == (3, 20, 20)
    assert (found[:, :, 1:-1] == 200).all()
    wider = Framing(20, 40).decode(encode(pixels), "here", None)
    assert (wider == 200).all()
    tall = Framing(10, 10).decode(encode(pixels.transpose(1, 0, 2)), "here", None)
    assert (tall[:, 1:-1] == 200).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_other_modes_become_rgb(mode: str) -> None:
    stream = io.BytesIO()
    Image.new(mode, (30, 40)).save(stream, "JPEG" if mode == "CMYK" else "PNG")
    assert Framing(16, 20).decode(stream.getvalue(), "here", None).shape == (3, 16, 16)


def test_training_windows_differ_and_are_repeatable() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    framing = Framing(16, 18, smallest_area=0.1)
    first, again = (framing.decode(encode(pixels), "here", np.random.default_rng(1)) for _ in range(2))
    other = framing.decode(encode(pixels), "here", np.random.default_rng(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (3, 16, 16)
    sliver = np.zeros((3, 90, 3), dtype=np.uint8)  # no window of the right shape fits
    assert framing.decode(encode(sliver), "here", np.random.default_rng(1)).shape == (3, 16, 16)
    assert np.array_equal(framing.hold_still().decode(encode(pixels), "here", np.random.default_rng(1)),
                          Framing(16, 18).decode(encode(pixels), "here", None))  # fmt: skip


def test_noise_on_a_stream(folder: Path) -> None:
    test = open_pair(folder)[1]
    noisy = test.add_noise(0.5, 3)
    plain, _ = collect(test)
    changed, labels = collect(noisy)
    assert (changed != plain).float().mean() > 0.5
    assert torch.equal(changed, collect(noisy)[0])
    assert torch.equal(labels, collect(test)[1])
    assert test.add_noise(0, 3).noise is None


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_does_not_decode_is_named_in_one_line(tmp_path: Path, workers: int) -> None:
    folder = write_image_folder(tmp_path / "broken", train=2, test=1)
    broken = next((folder / "train").rglob("*.JPEG"))
    broken.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=broken.name) as caught:
        collect(open_pair(folder, workers=workers)[0])
    assert "\n" not in str(caught.value)


def test_folders_of_another_layout(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=r"has 3 classes .* expected 1000: set data.classes=3"):
        open_pair(folder, classes=1000)
    with pytest.raises(DataError, match="no such folder"):
        open_pair(tmp_path / "nowhere")
    with pytest.raises(DataError, match="none for the split 'train'"):
        open_pair(tmp_path)
    alone = write_image_folder(tmp_path / "alone", train=1, test=1)
    (alone / "val").rename(alone / "other")
    with pytest.raises(DataError, match="no val or validation or test"):
        open_pair(alone)
    more = write_image_folder(tmp_path / "more", train=1, test=1)
    (more / "val" / "n9").mkdir()
    with pytest.raises(DataError, match="n9: a class without training images"):
        open_pair(more)
    empty = write_image_folder(tmp_path / "empty", train=0, test=1)
    with pytest.raises(DataError, match="found no images"):
        open_pair(empty)


def test_labels_that_are_no_class(tmp_path: Path) -> None:
    image = encode(np.zeros((30, 30, 3), dtype=np.uint8))
    for split in ("train", "validation"):
        write_parquet(tmp_path / f"{split}-00000-of-00001.parquet", [image] * 2, [0, 7], classes=None)
    with pytest.raises(DataError, match=r"label is 7, expected 0 to 2: set data\.classes"):
        collect(open_pair(tmp_path)[0])


def test_framings_that_cannot_be() -> None:
    with pytest.raises(DataError, match=r"data\.resize: expected at least data\.crop = 224"):
        Framing(224, 200)
    with pytest.raises(DataError, match=r"data\.smallest_area"):
        Framing(224, 256, smallest_area=0)


def test_the_first_images_are_the_same_in_every_epoch(folder: Path, tmp_path: Path) -> None:
    files = sorted((folder / "train").rglob("*.JPEG"))
    for split in ("train", "validation"):
        encoded = [file.read_bytes() for file in files]
        write_parquet(tmp_path / f"{split}-00000-of-00001.parquet", encoded, [0] * len(files), classes=3)
    train = open_pair(tmp_path)[0].first(7)
    still, one, two = (as_bag(*collect(train, epoch=epoch)) for epoch in (None, 1, 2))
    assert len(still) == 7 and still == one == two
    assert not torch.equal(collect(train, epoch=1)[0], collect(train, epoch=2)[0])


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_parquet_file_that_is_cut_short_or_spoilt(folder: Path, tmp_path: Path, kept: float) -> None:
    files = sorted((folder / "train").rglob("*.JPEG"))
    for split in ("train", "validation"):
        encoded = [file.read_bytes() for file in files]
        write_parquet(tmp_path / f"{split}-00000-of-00001.parquet", encoded, [0] * len(files), classes=3)
    spoilt = tmp_path / "train-00000-of-00001.parquet"
    content = spoilt.read_bytes()
    if kept < 0.9:
        spoilt.write_bytes(content[: int(len(content) * kept)])
    else:  # the end is whole, so that only reading finds out
        spoilt.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    with pytest.raises(DataError, match="copy"):
        collect(open_pair(tmp_path)[0])


def test_only_the_formats_that_are_named_are_decoded() -> None:
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    assert Framing(16, 20).decode(encode(pixels, "WEBP"), "here", None).shape == (3, 16, 16)
    with pytest.raises(DataError, match="expected JPEG, PNG or WebP"):
        Framing(16, 20).decode(encode(pixels, "BMP"), "here", None)
