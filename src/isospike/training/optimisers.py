"""The optimiser of a training, with weight decay where it belongs."""

import torch
from torch import nn

from isospike.training.configuration import TrainingConfig


def build_optimiser(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """A fused optimiser over the parameters that want a gradient.

    Weights of convolutions and dense layers decay; BatchNorm's parameters, biases and learned thresholds, which have
    at most one dimension or one element, do not. A parametrised weight decays as its full-precision original.
    """
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decaying = [parameter for parameter in wanted if parameter.ndim >= 2 and parameter.numel() > 1]
    chosen = {id(parameter) for parameter in decaying}
    others = [parameter for parameter in wanted if id(parameter) not in chosen]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decaying, config.weight_decay), (others, 0.0))
        if parameters
    ]
    if config.optimiser == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov, fused=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999), fused=True)
