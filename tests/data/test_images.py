import pytest
import torch

from isospike.data import Dataset, ImageSet
from isospike.errors import DataError


def count_up(n: int) -> ImageSet:
    """Images whose pixels all have the value of their label."""
    labels = torch.arange(n)
    return ImageSet(labels.to(torch.uint8)[:, None, None, None].expand(n, 2, 3, 4).contiguous(), labels)


def test_an_image_set_knows_its_length_and_shape() -> None:
    images = count_up(5)
    assert (len(images), images.shape, len(images.first(2)), len(images.first(9))) == (5, (2, 3, 4), 2, 5)
    assert images.to("cpu").labels.tolist() == [0, 1, 2, 3, 4]


def test_a_split_shares_nothing_loses_nothing_and_repeats_itself() -> None:
    rest, held = count_up(20).split(6, seed=3)
    assert (len(rest), len(held)) == (14, 6)
    assert sorted([*rest.labels.tolist(), *held.labels.tolist()]) == list(range(20))
    assert torch.equal(held.images[:, 0, 0, 0].long(), held.labels)
    assert torch.equal(held.labels, count_up(20).split(6, seed=3)[1].labels)
    assert not torch.equal(held.labels, count_up(20).split(6, seed=4)[1].labels)


@pytest.mark.parametrize("held_out", [-1, 21])
def test_a_split_of_more_than_there_is(held_out: int) -> None:
    with pytest.raises(DataError, match="expected 0 to 20"):
        count_up(20).split(held_out, seed=0)


def test_pixels_must_be_raw() -> None:
    with pytest.raises(DataError, match=r"got torch.float32 of shape \(1, 1, 2, 2\), expected torch.uint8"):
        ImageSet(torch.zeros(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(DataError, match=r"expected torch.int64 of shape \(2,\)"):
        ImageSet(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(DataError, match="expected 0 or more"):
        count_up(2).first(-1)


def test_both_sets_of_a_dataset_have_one_shape() -> None:
    other = ImageSet(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    assert Dataset("a", count_up(3), count_up(1), 3).shape == (2, 3, 4)
    with pytest.raises(DataError, match="expected one shape"):
        Dataset("a", count_up(3), other, 3)
