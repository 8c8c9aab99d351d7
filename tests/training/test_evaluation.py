import pytest
import torch
from torch import Tensor, nn

from isospike.data import ImageSet
from isospike.errors import TrainingError
from isospike.training import evaluate

from .nets import build_net, take_digits


class FirstPixel(nn.Module):
    """Says the class that the first pixel is."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot(images[:, 0, 0, 0].long(), 10).float()


def count_images(n: int, wrong: int) -> ImageSet:
    labels = torch.arange(n) % 10
    images = labels.to(torch.uint8)[:, None, None, None].repeat(1, 1, 2, 2)
    images[:wrong] = (images[:wrong] + 1) % 10
    return ImageSet(images, labels)


@pytest.mark.parametrize("batch_size", [1, 7, 23, 500])
def test_accuracy_is_exact_for_any_batch_size(batch_size: int) -> None:
    done: list[tuple[int, int]] = []
    accuracy = evaluate(
        FirstPixel(), count_images(23, wrong=4), batch_size=batch_size, on_batch=lambda *seen: done.append(seen)
    )
    assert accuracy == 19 / 23
    assert done[-1] == (23, 23)
    assert len(done) == -(-23 // batch_size)


def test_modes_and_statistics_are_left_as_they_were() -> None:
    net = build_net()
    net.train()
    net[2].eval()
    modes, state = [module.training for module in net.modules()], {k: v.clone() for k, v in net.state_dict().items()}
    evaluate(net, take_digits())
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_what_cannot_be_evaluated() -> None:
    with pytest.raises(TrainingError, match="got 0 images in batches of 500"):
        evaluate(FirstPixel(), count_images(0, wrong=0))
    with pytest.raises(TrainingError, match="got 5 images in batches of 0"):
        evaluate(FirstPixel(), count_images(5, wrong=0), batch_size=0)
    with pytest.raises(TrainingError, match=r"gave \(5, 1, 2, 2\) for 5 images, expected \(5, classes\)"):
        evaluate(nn.Identity(), count_images(5, wrong=0))
