"""The engine is the simulator on what the methods make: every problem, the recipes' networks, the named networks."""

import pytest
import torch
from torch import nn

from isospike import engine
from isospike.conversion import convert
from isospike.experiment import list_recipes, load_recipe
from isospike.graph import Add, Convolution, SpikingGraph
from isospike.networks import Network, Quantisation, build_architecture
from isospike.simulator import simulate
from tests.problems import LOSSLESS, PROBLEMS, Problem
from tests.random_networks import random_images
from tests.simulator.test_native import assert_same

pytestmark = pytest.mark.skipif(not engine.is_available(), reason="isospike.engine was not compiled")

INTEGER = [
    (method, problem)
    for method in LOSSLESS
    for problem in PROBLEMS
    if convert(problem.ann, method, t_max=12).is_integer
]
RECIPES = [
    name
    for name in list_recipes()
    if load_recipe(name).quantise.weights == "ternary" and load_recipe(name).quantise.ends == "int8"
]


def calibrate(model: Network, shape: tuple[int, int, int]) -> Network:
    """BatchNorms that know their inputs, so that the network is awake."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = None
    with torch.no_grad():
        model.train()(random_images(shape, 8, seed=1))
    return model.eval()


def compare(graph: SpikingGraph, images: torch.Tensor, steps: int) -> None:
    one, other = (simulate(graph, images, steps, engine=name, keep_counts=True) for name in ("cpp", "torch"))
    assert_same(one, other)
    assert all(bool(one.positive[node.name].any()) for node in graph.neurons)


def test_no_list_is_empty() -> None:
    assert len(INTEGER) >= len(PROBLEMS)
    assert {"all-integer-cifar10", "all-integer-mnist", "digits"} <= set(RECIPES)


@pytest.mark.parametrize(("method", "problem"), INTEGER, ids=lambda each: getattr(each, "name", each))
def test_problems(method: str, problem: Problem) -> None:
    graph = convert(problem.ann, method, t_max=12)
    for steps in (1, 3, 12):
        one, other = (simulate(graph, problem.image, steps, engine=each, keep_counts=True) for each in ("cpp", "torch"))
        assert_same(one, other)


@pytest.mark.parametrize("name", RECIPES)
def test_networks_of_the_recipes(name: str) -> None:
    recipe = load_recipe(name)
    torch.manual_seed(0)
    model = calibrate(recipe.build(), recipe.in_shape)
    graph = convert(model, recipe.convert.method, t_max=recipe.convert.t_max)
    compare(graph, random_images(recipe.in_shape, 2), 5)


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v1"])
@pytest.mark.parametrize("weights", ["ternary", "int8"])
def test_named_networks(name: str, weights: str) -> None:
    """Residual sums with gains, and depthwise convolutions."""
    shape = (3, 16, 16) if name == "resnet8" else (3, 32, 32)
    torch.manual_seed(0)
    options = {} if name == "resnet8" else {"width": 0.125}
    quantisation = Quantisation(weights=weights, ends="int8", bound=3)
    model = calibrate(build_architecture(name, shape, 5, quantisation, **options), shape)
    graph = convert(model, "counting", t_max=12)
    assert graph.is_integer
    if name == "resnet8":
        assert any(isinstance(node, Add) for node in graph)
    else:
        assert any(isinstance(node, Convolution) and node.groups > 1 for node in graph)
    compare(graph, random_images(shape, 2), 6)
