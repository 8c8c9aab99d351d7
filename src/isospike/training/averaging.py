"""The moving average of the weights that a training may end with."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn


def start_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of the network that follows its parameters: ``w' = decay * w' + (1 - decay) * w`` a step.

    The first update copies. Buffers are copied each time: some are constants, such as the pixels' offset, and
    BatchNorm's statistics are measured in the end.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=False)


def finish_average(model: nn.Module, average: AveragedModel, batches: Iterable[Tensor]) -> None:
    """Put the averaged weights into the network, and measure BatchNorm's statistics with them.

    Averaged weights, quantised, are other weights than those that the running statistics were measured with.

    Arguments:
        model: changed in place; left in training mode.
        average: of this network.
        batches: images as they come in training.
    """
    model.load_state_dict(average.module.state_dict())
    model.train()
    with torch.no_grad():
        update_bn(batches, model)
