"""What a training is fed with: whose turn it is to be flipped."""

import torch

from isospike.data import ImageSet
from isospike.training.feeding import make_feed
from isospike.training.processes import start_accelerator


def test_each_image_is_flipped_in_every_second_epoch_half_of_them_first() -> None:
    numbers = torch.arange(200, dtype=torch.uint8)
    data = ImageSet(numbers.view(200, 1, 1, 1), torch.zeros(200, dtype=torch.int64))
    feed = make_feed(data, 20, 0, start_accelerator("cpu", "float32"))
    turns = []
    for epoch in range(4):
        flags = torch.zeros(200, dtype=torch.bool)
        for batch in feed.read(epoch):
            assert batch.mirrored is not None
            flags[batch.images.images.flatten().long()] = batch.mirrored
        turns.append(flags)
    assert 70 < int(turns[0].sum()) < 130
    assert torch.equal(turns[1], ~turns[0])
    assert torch.equal(turns[2], turns[0])
    assert torch.equal(turns[3], turns[1])
