"""Random modules, and whether a captured graph computes what its module computes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isospike.graph import SpikingGraph
from isospike.networks import LevelActivation, capture, evaluate_capture

TOLERANCE = 1e-5


class Forward(nn.Module):
    """A module whose forward is any function of its parts and the images."""

    def __init__(self, function: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def randomise_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random BatchNorm parameters and statistics, one gamma in four negative; random biases and thresholds."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            size = module.num_features
            module.running_mean = torch.randn(size) * 0.2
            module.running_var = 0.5 + torch.rand(size)
            if module.affine:
                module.weight.data = (0.5 + torch.rand(size)) * torch.where(torch.rand(size) < 0.25, -1.0, 1.0)
                module.bias.data = torch.randn(size) * 0.3 + 0.2
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, LevelActivation) and isinstance(module.threshold, nn.Parameter):
            module.threshold.data *= 0.5 + torch.rand(())
    return model


def measure_difference(model: nn.Module, graph: SpikingGraph, images: Tensor) -> float:
    """The largest difference of any logit, relative to the largest logit; float32."""
    was = model.training
    with torch.inference_mode():
        expected = model.eval()(images)
    model.train(was)
    found = evaluate_capture(graph, images)
    assert found.shape == expected.shape
    assert bool((expected != expected[:1]).any()), "the module gives every image the same logits: nothing is tested"
    return float((found - expected).abs().max() / expected.abs().max())


def assert_captured(model: nn.Module, shape: tuple[int, ...] = (3, 8, 8), number: int = 5) -> SpikingGraph:
    """Capture on 2 images, compare on others."""
    torch.manual_seed(1)
    graph = capture(model, torch.randn(2, *shape))
    assert measure_difference(model, graph, torch.randn(number, *shape)) < TOLERANCE
    return graph
