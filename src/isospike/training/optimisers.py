"""The optimiser of a training, with weight decay where it belongs."""

import torch
from torch import nn

from isospike.training.configuration import TrainingConfig
from isospike.training.muon import Muon


def build_optimiser(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """A fused optimiser over the parameters that want a gradient.

    Weights of convolutions and dense layers decay; BatchNorm's parameters, biases and learned thresholds, which have
    at most one dimension or one element, do not. A parametrised weight decays as its full-precision original.

    "muon" moves the weights between the first and the last layer; these two, and all else, are AdamW's.
    """
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decaying = [parameter for parameter in wanted if parameter.ndim >= 2 and parameter.numel() > 1]
    others = _leave_out(wanted, decaying)
    if config.optimiser == "muon":
        inner = decaying[1:-1]
        groups = [
            {"params": parameters, "weight_decay": decay, "muon": muon}
            for parameters, decay, muon in (
                (inner, config.weight_decay, True),
                (_leave_out(decaying, inner), config.weight_decay, False),
                (others, 0.0, False),
            )
            if parameters
        ]
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        return Muon(groups, config.learning_rate, config.momentum, dtype)
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decaying, config.weight_decay), (others, 0.0))
        if parameters
    ]
    if config.optimiser == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov, fused=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999), fused=True)


def _leave_out(parameters: list[nn.Parameter], chosen: list[nn.Parameter]) -> list[nn.Parameter]:
    """The parameters that are not among the chosen, by identity."""
    known = {id(parameter) for parameter in chosen}
    return [parameter for parameter in parameters if id(parameter) not in known]
