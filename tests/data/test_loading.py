import hashlib
import struct
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from torch import Tensor

from isospike.data import SOURCES, load
from isospike.errors import DataError

from .folders import draw_digits, encode, write_mnist, write_parquet

REAL = Path(__file__).parents[2] / ".." / "shared" / "data"


def test_digits_are_those_of_scikit_learn_in_a_fixed_split() -> None:
    from sklearn.datasets import load_digits

    digits = load("digits")
    assert (digits.name, digits.classes, digits.shape) == ("digits", 10, (1, 8, 8))
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert torch.equal(digits.train.images, load("digits").train.images)

    def sort(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
        return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))

    bunch = load_digits()
    ours = torch.cat([digits.train.images, digits.test.images])[:, 0].numpy()
    labels = torch.cat([digits.train.labels, digits.test.labels]).numpy()
    assert sort(ours, labels) == sort(np.rint(bunch.images * 255 / 16).astype(np.uint8), bunch.target)


def test_a_folder_gives_the_pixels_and_labels_it_was_made_of(tmp_path: Path) -> None:
    pixels, labels = write_mnist(tmp_path)
    mnist = load("mnist", tmp_path)
    assert torch.equal(torch.cat([mnist.train.images, mnist.test.images])[:, 0], torch.from_numpy(pixels))
    assert torch.cat([mnist.train.labels, mnist.test.labels]).tolist() == labels
    assert len(mnist.train) == 8


def test_colours_keep_their_channels_and_splits_are_found_in_subfolders(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    encoded: list[bytes | None] = [encode(image) for image in pixels]
    write_parquet(
        tmp_path / "plain_text" / "train-00000-of-00002.parquet", encoded[:1], [99], ("img", "fine_label"), 100
    )
    write_parquet(
        tmp_path / "plain_text" / "train-00001-of-00002.parquet", encoded[1:2], [0], ("img", "fine_label"), 100
    )
    write_parquet(tmp_path / "plain_text" / "test-00000-of-00001.parquet", encoded[2:], [7], ("img", "fine_label"), 100)
    cifar = load("cifar100", tmp_path)
    assert torch.equal(cifar.train.images, torch.from_numpy(pixels[:2]).permute(0, 3, 1, 2))
    assert (cifar.train.labels.tolist(), cifar.test.labels.tolist()) == ([99, 0], [7])


@pytest.mark.parametrize("columns", [("img", "labels"), ("image", "fine_label"), ("img", "label")])
def test_other_usual_column_names_are_accepted(tmp_path: Path, columns: tuple[str, str]) -> None:
    for split in ("train", "test"):
        write_parquet(tmp_path / f"{split}.parquet", [encode(draw_digits(1)[0])], [3], columns)
    assert load("mnist", tmp_path).train.labels.tolist() == [3]


def test_an_unknown_name_lists_the_names_and_the_nearest() -> None:
    with pytest.raises(DataError, match=r"dataset 'Cifar-10': expected one of digits, mnist.*mean 'cifar10'\?"):
        load("Cifar-10")


def test_imagenet_says_that_it_streams() -> None:
    with pytest.raises(DataError, match="'imagenet': its images are of many sizes"):
        load("imagenet")


def test_digits_take_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected none"):
        load("digits", tmp_path)


def test_a_missing_folder_and_one_without_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        load("mnist", tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no data")
    with pytest.raises(DataError, match="found 0 parquet files, none for the split 'train'"):
        load("mnist", tmp_path)
    write_parquet(tmp_path / "train.parquet", [encode(draw_digits(1)[0])], [3])
    with pytest.raises(DataError, match="found 1 parquet files, none for the split 'test'"):
        load("mnist", tmp_path)


def write_both(folder: Path, image: bytes | None, label: int | None, **options: object) -> None:
    good: list[bytes | None] = [encode(draw_digits(1)[0])]
    write_parquet(folder / "train.parquet", [*good, image], [1, label], **options)  # type: ignore[arg-type]
    write_parquet(folder / "test.parquet", good, [1], **options)  # type: ignore[arg-type]


def test_wrong_columns(tmp_path: Path) -> None:
    write_both(tmp_path, encode(draw_digits(1)[0]), 1, columns=("picture", "label"))
    with pytest.raises(DataError, match="got the columns picture, label; expected one called image or img"):
        load("mnist", tmp_path)


def test_an_image_of_another_shape(tmp_path: Path) -> None:
    write_both(tmp_path, encode(np.zeros((20, 30, 3), np.uint8)), 1)
    with pytest.raises(DataError, match="train: image 1 is 20x30 RGB, expected 28x28 L"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("image", [b"not an image", b"", None, encode(draw_digits(1)[0])[:200]])
def test_undecodable_bytes(tmp_path: Path, image: bytes | None) -> None:
    write_both(tmp_path, image, 1)
    with pytest.raises(DataError, match=r"train: image 1 .* does not decode"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("label", [10, -1])
def test_labels_out_of_range(tmp_path: Path, label: int) -> None:
    write_both(tmp_path, encode(draw_digits(1)[0]), label, classes=None)
    with pytest.raises(DataError, match=f"image 1 has the label {label}, expected 0 to 9"):
        load("mnist", tmp_path)


def test_missing_labels(tmp_path: Path) -> None:
    write_both(tmp_path, encode(draw_digits(1)[0]), None)
    with pytest.raises(DataError, match="with 1 missing, expected integers"):
        load("mnist", tmp_path)


def test_another_number_of_classes_is_another_dataset(tmp_path: Path) -> None:
    write_both(tmp_path, encode(draw_digits(1)[0]), 1, classes=20)
    with pytest.raises(DataError, match=r"'label' has 20 classes \(0, ...\), expected 10"):
        load("mnist", tmp_path)


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    file = tmp_path / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match="a parquet file cannot be read"):
        load("mnist", tmp_path)


def test_without_a_network_the_hub_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(
        DataError, match=r"^dataset 'fashion-mnist': zalando-datasets/fashion_mnist .*--data DIR"
    ) as caught:
        load("fashion-mnist")
    assert "\n" not in str(caught.value)


def test_an_unreachable_hub_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(DataError, match="--data DIR"):
        load("mnist")
    assert not datasets.config.HF_HUB_OFFLINE


def test_the_hub_gives_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = draw_digits(3)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)})
    rows = {"image": [{"bytes": encode(image), "path": None} for image in pixels], "label": [4, 5, 6]}

    def give(place: str, config: str | None, split: str) -> datasets.Dataset:
        assert (place, config) == (SOURCES["mnist"].hub, None)
        return datasets.Dataset.from_dict(rows, features=features).select(range(2 if split == "train" else 3))

    monkeypatch.setattr("isospike.data.hub._reach", lambda _: True)
    monkeypatch.setattr(datasets, "load_dataset", give)
    mnist = load("mnist")
    assert (len(mnist.train), mnist.test.labels.tolist()) == (2, [4, 5, 6])
    assert torch.equal(mnist.test.images[:, 0], torch.from_numpy(pixels))


def hash_idx(tensor: Tensor) -> str:
    """The MD5 of the original file of these images or labels: magic number, dimensions, bytes."""
    header = struct.pack(f">{1 + tensor.ndim}I", 0x0800 + tensor.ndim, *tensor.shape)
    return hashlib.md5(header + tensor.to(torch.uint8).numpy().tobytes()).hexdigest()


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="the real MNIST is not in ../shared/data")
def test_real_mnist_is_the_original_bit_for_bit() -> None:
    mnist = load("mnist", REAL / "mnist")
    assert hash_idx(mnist.train.images[:, 0]) == "6bbc9ace898e44ae57da46a324031adb"
    assert hash_idx(mnist.train.labels) == "a25bea736e30d166cdddb491f175f624"
    assert hash_idx(mnist.test.images[:, 0]) == "2646ac647ad5339dbf082846283269ea"
    assert hash_idx(mnist.test.labels) == "27ae3e4e09519cfbb04c329615203637"


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="the real CIFAR-10 is not in ../shared/data")
def test_real_cifar10_is_whole() -> None:
    cifar = load("cifar10", REAL / "cifar10")
    assert cifar.shape == (3, 32, 32)
    assert cifar.train.labels.bincount().tolist() == [5000] * 10
    assert cifar.test.labels.bincount().tolist() == [1000] * 10
    mean = cifar.train.images.double().mean(dim=(0, 2, 3)) / 255
    assert torch.allclose(mean, torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64), atol=5e-5)
