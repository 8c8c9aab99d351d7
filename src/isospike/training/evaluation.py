"""How many images a network classifies correctly."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from isospike.data import Images
from isospike.errors import TrainingError
from isospike.training.processes import gather_sum, start_accelerator
from isospike.training.shares import count_share, share_images


def evaluate(
    model: nn.Module,
    data: Images,
    *,
    batch_size: int = 500,
    device: str = "cpu",
    on_batch: Callable[[int, int], None] | None = None,
) -> float:
    """The accuracy of a network as PyTorch computes it, in the precision of its weights.

    Launched by ``torchrun``, each process takes a share of the batches. The batches are the same ones for any number
    of processes and the correct answers are counted in integers, so the accuracy is the same too.

    Arguments:
        model: takes uint8 images (n, channel, height, width) and returns logits (n, classes). It is moved to
            ``device``, evaluated in eval mode, and left in the modes it came in.
        data: at least one image.
        batch_size: images at a time.
        device: "cpu" or "cuda".
        on_batch: called with the number of images done and to do, of this process.

    Returns:
        Correctly classified images / all images, 0 to 1; the lowest class wins a tie.

    Raises:
        TrainingError: no images, a batch size below 1, or an output that is not one logit a class and image.
        DeviceError: the device or the other processes are not there.
    """
    if len(data) == 0 or batch_size < 1:
        raise TrainingError(f"evaluate: got {len(data)} images in batches of {batch_size}, expected 1 or more of both")
    accelerator = start_accelerator(device)
    model.to(accelerator.device)
    share, done = count_share(data, batch_size, accelerator), 0
    correct = torch.zeros((), dtype=torch.int64, device=accelerator.device)
    with _keep_modes(model), torch.inference_mode():
        model.eval()
        for _, batch in share_images(data, batch_size, accelerator):
            labels = batch.labels.to(accelerator.device, non_blocking=True)
            logits = model(batch.images.to(accelerator.device, non_blocking=True))
            _check_logits(logits, len(labels))
            correct += (logits.argmax(dim=1) == labels).sum()
            done += len(batch)
            if on_batch is not None:
                on_batch(done, share)
    seen = torch.tensor(done, device=accelerator.device)
    return int(gather_sum(accelerator, correct)) / int(gather_sum(accelerator, seen))


def _check_logits(logits: Tensor, images: int) -> None:
    if logits.ndim != 2 or len(logits) != images:
        raise TrainingError(
            f"evaluate: the network gave {tuple(logits.shape)} for {images} images, expected ({images}, classes): "
            "give it a classifier"
        )


@contextmanager
def _keep_modes(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
