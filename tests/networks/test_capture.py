"""Capture of any module: small awkward ones, what comes in, and that the module is left as it was."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from isospike.graph import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Rectifier,
    SpikingGraph,
    compare_graphs,
    load_graph,
    save_graph,
)
from isospike.networks import (
    Classifier,
    Pixels,
    Quantisation,
    build_network,
    capture,
    evaluate_capture,
    median,
    qcfs,
    quantise_weight,
)
from tests.networks.comparison import TOLERANCE, Forward, assert_captured, measure_difference, randomise_statistics
from tests.random_networks import random_images, randomise


def _convolution(inside: int = 3, outside: int = 4, **options: object) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, **{"padding": 1, **options})  # type: ignore[arg-type]


def _kinds(graph: SpikingGraph) -> list[type[Node]]:
    return [type(node) for node in graph]


def _functional(m: nn.Module, x: Tensor) -> Tensor:
    x = functional.avg_pool2d(functional.relu(m.a(x)), 2)
    return m.c(functional.dropout(torch.flatten(functional.relu6(m.b(x)), 1), training=m.training))


def _three_branches(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    return (m.b(x).relu() + x + m.c(x)).mean((2, 3))


def _in_place_sum(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x).relu_()
    y = m.b(x)
    y += x
    y += m.c(x)
    return functional.relu_(y).mean([-1, -2])


def _shared(m: nn.Module, x: Tensor) -> Tensor:
    return m.pool(m.block(m.block(m.a(x)))).flatten(1)


def _view(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    x = x.view(x.size(0), -1).relu()
    return m.c(x.view(-1, 256).reshape(x.shape[0], 256))


def _dense_branches(m: nn.Module, x: Tensor) -> Tensor:
    one = m.a(x)
    two = m.b(torch.cat([x, one], 1))
    return m.c(torch.cat((one.flatten(1), two.mean((2, 3)), one.amax((-2, -1))), -1))


def _overwritten(m: nn.Module, x: Tensor) -> Tensor:
    y = m.a(x)
    same = y.detach()
    y.relu_()
    y.mul_(2.0)
    return m.c((same + y.clamp(0, 1)).flatten(1))  # same is y, and sees what happened to it


def _old_mean(m: nn.Module, x: Tensor) -> Tensor:
    return m.c(m.a(x).clamp(min=0).mean(3).mean(2))


def _squeezed(m: nn.Module, x: Tensor) -> Tensor:
    return m.pool(m.a(x)).squeeze(-1).squeeze(-1)


def _scaled(m: nn.Module, x: Tensor) -> Tensor:
    x = (x - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / torch.tensor([-0.5, 0.4, 0.3]).view(3, 1, 1)
    return 1 - m.c(m.a(x * 2 + 0.5).mul(-0.7).flatten(1)) / 3


def _differences(m: nn.Module, x: Tensor) -> Tensor:
    one, two = m.a(x).relu(), m.b(x).relu()
    met = torch.add(one - two, two, alpha=3) - torch.rsub(one, two, alpha=0.5)
    return m.c(torch.sub(met, one, alpha=-2).flatten(1))


def _dead_end(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    torch.sigmoid(m.b(x))  # nobody looks at it
    return m.c(x.flatten(1))


def _remembering(m: nn.Module, x: Tensor) -> Tensor:
    m.last = m.a(x)
    return m.c(m.last.flatten(1))  # type: ignore[arg-type]


def _noting(m: nn.Module, x: Tensor) -> Tensor:
    x = m.a(x)
    m.notes.append(x.detach().numpy())  # type: ignore[operator, union-attr]
    x.relu_()
    return m.c(x.flatten(1))


def _head(features: int, classes: int = 5) -> nn.Module:
    return nn.Linear(features, classes)


class _Tied(nn.Module):
    """One weight in two layers, and a block in a block in a block."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = _convolution(3, 3), _convolution(3, 3)
        self.two.weight = self.one.weight
        self.nested = nn.Sequential(nn.Sequential(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), nn.Identity()))

    def forward(self, x: Tensor) -> Tensor:
        return self.nested(self.two(self.nested(self.one(x)))).mean((2, 3))


AWKWARD: dict[str, Callable[[], nn.Module]] = {
    "functional": lambda: Forward(_functional, a=_convolution(), b=_convolution(4, 4), c=_head(64)),
    "three branches": lambda: Forward(_three_branches, a=_convolution(), b=_convolution(4, 4), c=_convolution(4, 4)),
    "in-place sum": lambda: Forward(_in_place_sum, a=_convolution(), b=_convolution(4, 4), c=_convolution(4, 4)),
    "shared block": lambda: Forward(
        _shared, a=_convolution(), block=nn.Sequential(_convolution(4, 4), nn.ReLU(True)), pool=nn.AdaptiveMaxPool2d(1)
    ),
    "view": lambda: Forward(_view, a=_convolution(), c=_head(256)),
    "depthwise": lambda: nn.Sequential(
        _convolution(3, 6, groups=3, stride=(2, 1), dilation=(1, 2)),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1),
        nn.Flatten(),
        _head(96),
    ),
    "concatenation": lambda: Forward(_dense_branches, a=_convolution(), b=_convolution(7, 2), c=_head(262)),
    "norm before": lambda: nn.Sequential(
        nn.BatchNorm2d(3),
        _convolution(),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(4, affine=False),
        _convolution(4, 2),
        nn.AvgPool2d(3, 2, 1),
        nn.Flatten(),
        nn.BatchNorm1d(32),
        nn.ReLU6(),
        nn.Dropout(),
        _head(32),
    ),
    "adaptive pool": lambda: nn.Sequential(
        _convolution(), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten(), _head(8)
    ),
    "same padding": lambda: nn.Sequential(
        nn.Conv2d(3, 4, (3, 5), padding="same", dilation=2),
        nn.Conv2d(4, 2, 3, padding="valid"),
        nn.Flatten(),
        _head(72),
    ),
    "overwritten": lambda: Forward(_overwritten, a=_convolution(), c=_head(256)),
    "mean twice": lambda: Forward(_old_mean, a=_convolution(), c=_head(4)),
    "squeeze": lambda: Forward(_squeezed, a=_convolution(), pool=nn.AdaptiveAvgPool2d(1)),
    "arithmetic": lambda: Forward(_scaled, a=_convolution(), c=_head(256)),
    "differences": lambda: Forward(_differences, a=_convolution(), b=_convolution(), c=_head(256)),
    "dead end": lambda: Forward(_dead_end, a=_convolution(), b=_convolution(4, 4), c=_head(256)),
    "assignment": lambda: Forward(_remembering, a=_convolution(), c=_head(256)),
    "tied": _Tied,
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(_convolution()), nn.Flatten(), _head(256)),
    "convolution last": lambda: nn.Sequential(_convolution(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "dense alone": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 7), nn.ReLU(), _head(7)),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_modules(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = assert_captured(randomise_statistics(AWKWARD[name]()))
    save_graph(graph, tmp_path / "ann.safetensors")
    assert compare_graphs(graph, load_graph(tmp_path / "ann.safetensors")) == []


def test_branches_that_meet_are_one_sum() -> None:
    for name in ("three branches", "in-place sum"):
        graph = assert_captured(AWKWARD[name]())
        (meeting,) = [node for node in graph if isinstance(node, Add)]
        assert len(meeting.inputs) == 3


def test_names_are_the_paths_of_modules() -> None:
    graph = assert_captured(AWKWARD["shared block"]())
    assert [node.name for node in graph] == [
        "input", "a", "block.0", "block.1", "block.0_2", "block.1_2", "pool", "flatten", "readout",
    ]  # fmt: skip
    assert _kinds(graph)[1:5] == [Convolution, Convolution, Rectifier, Convolution]
    assert np.array_equal(graph["block.0"].arrays["weight"], graph["block.0_2"].arrays["weight"])
    graph = assert_captured(AWKWARD["functional"]())
    assert [node.name for node in graph] == [
        "input", "a", "relu", "avg_pool2d", "b", "relu6", "flatten", "c", "readout",
    ]  # fmt: skip
    assert graph["relu6"].settings == {"ceiling": 6.0}
    assert graph["relu"].settings == {"ceiling": None}


def test_kinds_of_branches() -> None:
    graph = assert_captured(AWKWARD["concatenation"]())
    assert [type(graph[name]) for name in ("concatenate", "amax", "mean")] == [Concatenate, MaxPool, AveragePool]
    assert graph.shapes["concatenate"] == (7, 8, 8)
    assert graph.shapes["concatenate_2"] == (262,)
    assert graph["amax"].settings["kernel"] == (8, 8)
    assert sum(isinstance(node, Flatten) for node in graph) == 3


def test_what_nobody_looks_at_is_left_out() -> None:
    assert [node.name for node in assert_captured(AWKWARD["dead end"]())] == ["input", "a", "flatten", "c", "readout"]


def test_classifier_gives_its_bias_to_the_readout() -> None:
    model = AWKWARD["dense alone"]()
    graph = assert_captured(model)
    last = graph["3"]
    assert isinstance(last, Dense)
    assert last.bias is None
    assert graph.readout.bias.tolist() == model[3].bias.tolist()  # type: ignore[index]
    assert graph["1"].arrays["bias"].tolist() == model[1].bias.tolist()  # type: ignore[index]


def test_module_is_left_as_it_was() -> None:
    model = Forward(_remembering, a=_convolution(), c=_head(256))
    model.train()
    model.a.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [sorted(vars(module)) for module in model.modules()]
    capture(model, torch.zeros(2, 3, 8, 8))
    assert [module.training for module in model.modules()] == [True, False, True]
    assert [sorted(vars(module)) for module in model.modules()] == attributes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_torch_fx_takes_what_torch_export_refuses() -> None:
    model = Forward(_noting, a=_convolution(), c=_head(256))
    model.notes = []  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="numpy"):
        torch.export.export(model, (torch.zeros(2, 3, 8, 8),), strict=False)
    graph = capture(model, torch.zeros(2, 3, 8, 8))
    assert [node.name for node in graph] == ["input", "a", "relu", "flatten", "c", "readout"]
    assert model.notes == []
    assert measure_difference(model, graph, torch.randn(4, 3, 8, 8)) < TOLERANCE


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile itself
@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrapped_modules_are_captured_as_what_is_inside(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = AWKWARD["view"]()
    example = torch.zeros(2, 3, 8, 8)
    assert compare_graphs(capture(wrap(model), example), capture(model, example)) == []


def test_level_activations_and_quantised_weights_stay_exact() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        Pixels((3, 5, 7), 64),
        _convolution(),
        median(1, 2),
        _convolution(4, 4, bias=False),
        nn.BatchNorm2d(4),
        qcfs(3, 1.5),
        nn.Flatten(),
        Classifier(256, 5, "int8", lambda: Fraction(1, 2)),
    )
    quantise_weight(model[1], "int8")
    quantise_weight(model[3], "ternary")
    randomise_statistics(model)
    graph = capture(model, torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert _kinds(graph)[:7] == [Input, Convolution, Activation, Convolution, BatchNorm, Activation, Flatten]
    assert graph["0"].settings == {"shape": (3, 8, 8), "divisor": 64, "floats": False}
    assert graph["0"].arrays["offset"].tolist() == [3, 5, 7]
    assert graph["2"].settings == {"step": Fraction(1, 2), "levels": 4}
    assert graph["5"].settings == {"step": model[5].read_step(), "levels": 3}  # type: ignore[operator]
    assert all(graph[name].arrays["weight"].dtype == np.int8 for name in ("1", "3", "7"))
    assert measure_difference(model, graph, random_images((3, 8, 8), 4)) < 1e-2  # the classifier rounds its bias


def test_network_of_the_notation_is_the_same_traced() -> None:
    torch.manual_seed(0)
    model = randomise(build_network("3C3(same)-P2-4", (1, 6, 6), 3, Quantisation(bound=2, ends="int8"), offset=(9,)))
    traced = capture(nn.Sequential(model), torch.zeros(2, 1, 6, 6, dtype=torch.uint8))
    structural = capture(model, torch.zeros(2, 1, 6, 6, dtype=torch.uint8))
    assert [type(node) for node in traced] == [type(node) for node in structural]
    for one, other in zip(traced, structural, strict=True):
        assert one.settings == other.settings
        assert all(np.array_equal(one.arrays[key], array) for key, array in other.arrays.items())
    assert [node.name for node in structural][:3] == ["pixels", "conv1", "conv1.norm"]


def test_networks_of_the_notation_with_relu_are_captured() -> None:
    torch.manual_seed(0)
    model = randomise(build_network("3C3-P2-4", (1, 6, 6), 3, Quantisation(levels="none", weights="float"), pool="avg"))
    graph = capture(model)
    assert [node.name for node in graph if isinstance(node, Rectifier)] == ["conv1.neuron", "dense1.neuron"]
    assert measure_difference(model, graph, random_images((1, 6, 6), 5)) < TOLERANCE


def test_normalisation_becomes_the_first_node() -> None:
    model = AWKWARD["functional"]().eval()
    mean, deviation = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)
    graph = capture(model, torch.zeros(2, 3, 8, 8), pixels=(mean, deviation))
    assert [node.name for node in graph][:3] == ["input", "input.norm", "a"]
    assert graph["input"].settings == {"shape": (3, 8, 8), "divisor": 255, "floats": False}
    assert graph["input.norm"].arrays["sigma"].tolist() == list(deviation)
    images = random_images((3, 8, 8), 5)
    floats = (images / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)
    with torch.inference_mode():
        expected = model(floats)
    assert torch.allclose(evaluate_capture(graph, images), expected, rtol=1e-4, atol=1e-5)
    assert compare_graphs(graph, capture(model, images, pixels=(mean, deviation))) == []


def test_inputs_say_what_comes_in() -> None:
    model = AWKWARD["functional"]()
    assert capture(model, torch.zeros(2, 3, 8, 8)).input.floats
    raw = Forward(lambda m, x: m.a(x.float() / 255).mean((2, 3)), a=_convolution())
    graph = capture(raw, torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert (graph.input.floats, graph.input.divisor, graph["div"].arrays["sigma"].tolist()) == (False, 1, [255.0] * 3)
    assert measure_difference(raw, graph, random_images((3, 8, 8), 5)) < TOLERANCE


def test_a_change_in_place_of_a_copy_of_another_type_leaves_what_was_copied() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        before = m.a(x)
        other = before.double()
        other.relu_()
        return m.c((before + other.float()).flatten(1))

    assert_captured(Forward(forward, a=_convolution(), c=nn.Linear(256, 5)))


def test_float64_modules_are_captured_as_they_are() -> None:
    model = AWKWARD["norm before"]().double().eval()
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        expected = model(images)
    found = evaluate_capture(capture(model, torch.zeros(2, 3, 8, 8)), images, dtype=torch.float64)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-13)
