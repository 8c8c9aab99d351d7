"""The counting method: any captured network with level activations, its counts those of the quantised ANN."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isospike.conversion import QuantisedAnn, convert, verify
from isospike.conversion.forms import turn_weights
from isospike.errors import ConversionError
from isospike.files import read_tensors, write_tensors
from isospike.graph import (
    Add,
    AveragePool,
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    MaxPool,
    Node,
    Readout,
    Rectifier,
    SpikingGraph,
    compare_graphs,
    load_graph,
    save_graph,
)
from isospike.graph.nodes import is_integer
from isospike.networks import (
    LevelActivation,
    Pixels,
    calibrated,
    capture,
    median,
    mobilenet_v1,
    qcfs,
    quantise_weight,
    resnet20,
    vgg15,
)
from isospike.simulator import PROPAGATIONS, simulate
from tests.branched_graphs import branched_graphs
from tests.exact_oracle import evaluate_exactly
from tests.networks.comparison import randomise_statistics
from tests.problems import PROBLEMS, chain, image, levels, norm, pixels, real, whole
from tests.random_networks import random_images

FLOATS = ("float", "float", "ternary", "int8")
RESIDUAL = next(each for each in PROBLEMS if each.name == "residual")


def _assert_agreement(ann: SpikingGraph, limit: int | None, propagation: str, whole_logits: bool) -> int:
    """Simulate with T = 24 and compare what has settled; gives how many images had."""
    images = random_images(ann.input.shape, 3)
    graph = convert(ann, "counting", t_max=24, limit=limit)
    run = simulate(graph, images, engine="torch", propagation=propagation, keep_counts=True, early_stop=False)
    expected = QuantisedAnn(ann).evaluate(images)
    settled = run.settled[-1]
    for name, counts in expected.counts.items():
        assert torch.equal(run.counts[name][settled], counts[settled]), name
    if whole_logits:
        assert torch.equal(run.logits[-1][settled], expected.logits[settled])
    else:
        torch.testing.assert_close(run.logits[-1][settled], expected.logits[settled], rtol=1e-9, atol=1e-9)
    return int(settled.sum())


@given(branched_graphs(), st.sampled_from((1, 2, None)), st.sampled_from(PROPAGATIONS))
@settings(max_examples=60)
def test_agreement_is_the_quantised_ann_wherever_branches_meet(
    ann: SpikingGraph, limit: int | None, propagation: str
) -> None:
    _assert_agreement(ann, limit, propagation, whole_logits=True)


@given(branched_graphs(weights=FLOATS), st.sampled_from((1, None)), st.sampled_from(PROPAGATIONS))
@settings(max_examples=30)
def test_agreement_with_float_weights(ann: SpikingGraph, limit: int | None, propagation: str) -> None:
    _assert_agreement(ann, limit, propagation, whole_logits=False)


@given(branched_graphs())
@settings(max_examples=60)
def test_quantised_ann_of_branches_equals_fractions(ann: SpikingGraph) -> None:
    """Rounded gains included, in plain Python."""
    images = random_images(ann.input.shape, 2)
    found = QuantisedAnn(ann).evaluate(images)
    worth = convert(ann, "counting", t_max=1).readout.scale
    for index, picture in enumerate(images.numpy()):
        counts, logits = evaluate_exactly(ann, picture)
        assert {name: each[index].flatten().tolist() for name, each in found.counts.items()} == counts
        expected = [float(each) / worth for each in logits]
        assert found.logits[index].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-6)


@given(branched_graphs(weights=FLOATS))
@settings(max_examples=20)
def test_quantised_ann_of_float_branches_equals_fractions(ann: SpikingGraph) -> None:
    images = random_images(ann.input.shape, 1)
    found = QuantisedAnn(ann).evaluate(images)
    counts, _ = evaluate_exactly(ann, images[0].numpy())
    assert {name: each[0].flatten().tolist() for name, each in found.counts.items()} == counts


class _Differences(nn.Module):
    """Branches that are subtracted: one gain of -1, one of -3/2."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = Pixels(offset=[9, 9, 9])
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.one, self.two, self.three = qcfs(4, 2.0), qcfs(4, 1.0), qcfs(8, 3.0)
        self.last = nn.Linear(4 * 36, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(self.a(self.pixels(x)))
        y = self.two(self.b(x) - x)
        z = self.three(torch.sub(self.c(y), torch.rsub(x, y, alpha=0.5), alpha=1.5))
        return self.last(z.flatten(1))  # type: ignore[no-any-return]


def test_branches_may_be_subtracted() -> None:
    torch.manual_seed(1)
    model, images = _Differences().eval(), random_images((3, 6, 6), 16)
    ann = capture(model, images[:2])
    graph = convert(ann, "counting", t_max=64)
    found = verify(graph, ann, images, "counting", t_max=64, batch_size=8)
    assert (found.mismatches, found.unsettled) == (0, 0)
    counts = QuantisedAnn(ann).evaluate(images).counts
    assert all((count > 0).any() and (count < count.max()).any() for count in counts.values())


def test_the_tests_above_are_not_empty() -> None:
    """Most images settle, and the graphs have sums, trackers of minima, constants by position."""
    seen: dict[str, int] = {}

    @given(branched_graphs())
    @settings(max_examples=150, database=None)
    def run(ann: SpikingGraph) -> None:
        graph = convert(ann, "counting", t_max=24)
        facts = {
            "sum": any(isinstance(node, Add) and len(node.inputs) > 1 for node in graph),
            "rounded": any(isinstance(node, Add) and bool((abs(node.arrays["gains"]) > 2).any()) for node in graph),
            "start": any(isinstance(node, CountingNeuron) and node.start is not None for node in graph),
            "tracker": any(isinstance(node, MaxPool) for node in graph),
        }
        for fact, is_so in facts.items():
            seen[fact] = seen.get(fact, 0) + is_so
        if sum(seen.values()) % 5 == 0:
            seen["settled"] = seen.get("settled", 0) + _assert_agreement(ann, None, "within-step", True)

    run()
    assert all(seen[fact] >= 3 for fact in ("sum", "rounded", "start", "tracker", "settled")), seen


def test_gains_of_the_residual_problem_by_hand() -> None:
    graph = convert(RESIDUAL.ann, "counting")
    joint = graph["sum"]
    assert isinstance(joint, Add)
    assert joint.inputs == ("branch", "encoder.neuron")
    assert joint.arrays["gains"].tolist() == [[-1, 3], [2, 4]]
    assert graph.is_integer
    # V = 1 + 2 and 12 + 12, in units of 1/2 and 1/4
    run = simulate(graph, RESIDUAL.image, keep_counts=True)
    assert run.counts["neuron"].tolist() == [[5, 11]]
    # the spikes of the shortcut are one operation each, those of the branch two synapses each
    assert int(run.sops["sum"].sum()) == 1 + 3
    assert int(run.sops["branch"].sum()) == 2 * (1 + 3)


def test_a_flipped_gain_is_found(tmp_path: Path) -> None:
    path = tmp_path / "snn.safetensors"
    save_graph(convert(RESIDUAL.ann, "counting", t_max=24), path)
    assert compare_graphs(load_graph(path), convert(RESIDUAL.ann, "counting", t_max=24)) == []
    tensors, metadata = read_tensors(path)
    tensors["sum.gains"] = tensors["sum.gains"] * np.array([[1, 1], [-1, 1]])
    write_tensors(path, tensors, metadata)
    found = verify(load_graph(path), RESIDUAL.ann, RESIDUAL.image, "counting")
    assert found.differing_tensors == ["sum"]
    assert found.differing_layers["neuron"] == 1
    assert not found.is_equal


def test_a_shifted_start_is_found(tmp_path: Path) -> None:
    ann = chain(
        pixels(1, 2, 2),
        norm("norm", [1], [2.5], [0], [1]),
        Convolution("conv", (), whole(np.ones((1, 1, 2, 2))), padding=(1, 1)),
        levels("neuron", 16),
        Flatten("flatten", ()),
        Dense("classifier", (), whole(np.ones((1, 9)))),
        Readout("readout", (), real([0])),
    )
    graph = convert(ann, "counting", t_max=24)
    neuron = graph["neuron"]
    assert isinstance(neuron, CountingNeuron)
    assert neuron.start is not None
    # 2.5 is 5 in units of 1/2; a corner of the padded map sees one, an edge two, the middle four
    assert neuron.start.tolist() == [[[5, 10, 5], [10, 20, 10], [5, 10, 5]]]
    batch = image([[0, 1], [2, 0]])
    assert verify(graph, ann, batch, "counting").is_equal
    # windows of p + 2.5 (outside: 0), half rounds up: 2.5, 6, 3.5, 7, 13, 6, 4.5, 7, 2.5
    counts = QuantisedAnn(ann).evaluate(batch).counts["neuron"]
    assert counts.flatten().tolist() == [3, 6, 4, 7, 13, 6, 5, 7, 3]
    path = tmp_path / "snn.safetensors"
    save_graph(graph, path)
    tensors, metadata = read_tensors(path)
    tensors["neuron.start"] = tensors["neuron.start"] + 2
    write_tensors(path, tensors, metadata)
    found = verify(load_graph(path), ann, batch, "counting")
    assert found.differing_tensors == ["neuron"]
    assert found.differing_layers["neuron"] == 9


@pytest.mark.parametrize("gamma", [1, -1])
def test_max_pool_of_currents_waits_for_the_activation(gamma: int) -> None:
    # max is 3, so z = 3 + 1 or -3 + 5; with gamma < 0 the tracker follows the smallest count
    ann = chain(
        pixels(1, 1, 3),
        Convolution("conv", (), whole([[[[1]]]])),
        MaxPool("pool", (), (1, 3), (1, 3)),
        norm("norm", [gamma], [3 - 2 * gamma], [0], [1]),
        levels("neuron", 8),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1]])),
        Readout("readout", (), real([0])),
    )
    graph = convert(ann, "counting", t_max=16)
    run = simulate(graph, image([[1, 3, 2]]), keep_counts=True)
    expected = [2, 4, 3] if gamma > 0 else [4, 2, 3]
    assert run.counts["neuron.unpooled"].flatten().tolist() == expected
    assert run.counts["neuron"].flatten().tolist() == [4 if gamma > 0 else 2]
    assert verify(graph, ann, image([[1, 3, 2]]), "counting").is_equal
    tracker = graph["neuron"]
    assert isinstance(tracker, MaxPool)
    assert (tracker.signs is None) == (gamma > 0)


def test_two_max_pools_wait_together() -> None:
    # 1 5 | 2 3 -> maxima 5 and 3; z = 6 - 5 and 6 - 3, of which the second pool takes the larger: 3
    ann = chain(
        pixels(1, 1, 4),
        Convolution("conv", (), whole([[[[1]]]])),
        MaxPool("first", (), (1, 2), (1, 2)),
        norm("norm", [-1], [6], [0], [1]),
        MaxPool("second", (), (1, 2), (1, 2)),
        levels("neuron", 8),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1]])),
        Readout("readout", (), real([0])),
    )
    graph = convert(ann, "counting", t_max=16)
    run = simulate(graph, image([[1, 5, 2, 3]]), keep_counts=True)
    found = {name: counts.flatten().tolist() for name, counts in run.counts.items()}
    assert found == {"neuron.unpooled": [5, 1, 4, 3], "first": [1, 3], "neuron": [3]}
    assert verify(graph, ann, image([[1, 5, 2, 3]]), "counting").is_equal


def test_a_current_that_two_layers_take_keeps_its_weights() -> None:
    # z = u and 4 - u: the second has gamma < 0, so its neurons take -u
    parts = (
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("shared", (), whole([[1, 2], [2, -1]])),
        levels("rising", 9),
        norm("turned", [-1, -1], [4, 4], [0, 0], [1, 1]),
        levels("falling", 9),
        Concatenate("both", ()),
        Dense("classifier", (), whole([[1, 1, 1, 1]])),
        Readout("readout", (), real([0])),
    )
    joints = {"rising": ("shared",), "turned": ("shared",), "both": ("rising", "falling")}
    graph = convert(chain(*parts, joints=joints), "counting")
    assert graph["shared"].arrays["weight"].tolist() == [[1, 2], [2, -1]]
    assert graph["falling.gains"].arrays["gains"].tolist() == [[-1, -1]]
    run = simulate(graph, image([[1, 1]]), keep_counts=True)
    assert run.counts["rising"].tolist() == [[3, 1]]
    assert run.counts["falling"].tolist() == [[1, 3]]
    assert run.logits[-1].tolist() == [[8]]


def _refuse(message: str, *nodes: Node, **options: object) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(chain(pixels(1, 2, 2), *nodes), "counting", **options)


def test_what_has_no_counts_is_refused_in_one_line() -> None:
    conv = Convolution("conv", (), whole([[[[1]]]]))
    pool = MaxPool("pool", (), (2, 2), (2, 2))
    ends = (Flatten("flatten", ()), Dense("classifier", (), whole([[1]])), Readout("readout", (), real([0])))
    _refuse(r"^relu: a ReLU has no levels.*isospike\.calibrate\)$", conv, Rectifier("relu", ()), pool, *ends)
    _refuse(r"^pool: a max pool of currents needs a level activation right behind it, got flatten", conv, pool, *ends)
    _refuse(r"^neuron: its activation has no highest level", conv, levels("neuron", None), pool, *ends, limit=None)
    _refuse(r"^limit: expected at least 1 spike per step", conv, levels("neuron", 4), pool, *ends, limit=0)
    _refuse(r"^t_max: expected at least 1", conv, levels("neuron", 4), pool, *ends, t_max=0)


def _equip(model: nn.Module, weights: str) -> nn.Module:
    """Pixels, random BatchNorms that normalise roughly, quantised weights with ends of int8."""
    model = randomise_statistics(model)
    whole_model = nn.Sequential(Pixels((125, 122, 113), 64), model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        whole_model.train()(torch.randint(0, 256, (8, 3, 32, 32)).float())
    if weights != "float":
        synapses = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        for module in synapses:
            end = module in (synapses[0], synapses[-1])
            quantise_weight(module, "int8" if end else weights, per_channel=module is not synapses[-1])
    return whole_model.eval()


def _check_named(model: nn.Module, weights: str, **options: object) -> SpikingGraph:
    batch = random_images((3, 32, 32), 2)
    model = _equip(model, weights)
    ann = capture(model, batch.float())
    graph = convert(ann, "counting", **options)
    found = verify(graph, ann, batch, "counting", engine="torch", **options)
    assert found.is_equal
    assert found.unsettled == 0
    assert graph.is_integer == (weights != "float")
    return graph


@pytest.mark.parametrize("weights", ["float", "ternary", "int8", "binary"])
def test_resnet20_has_no_mismatch(weights: str) -> None:
    """qcfs(8), random weights and statistics; with integer weights no float occurs between pixel and logit."""
    torch.manual_seed(0)
    graph = _check_named(resnet20(activation=lambda: qcfs(8, 2.0)), weights, t_max=200)
    sums = [node for node in graph if isinstance(node, Add)]
    assert len(sums) == 9
    assert all(is_integer(node.arrays["gains"]) == (weights != "float") for node in sums)


@pytest.mark.parametrize("weights", ["float", "binary"])
def test_vgg15_pools_currents_before_the_activation(weights: str) -> None:
    torch.manual_seed(0)

    def activation() -> LevelActivation:
        return calibrated(1.0, 4)

    _check_named(vgg15(activation=activation, classes=10), weights, t_max=100)


def test_mobilenet_is_depthwise() -> None:
    torch.manual_seed(0)
    _check_named(mobilenet_v1((3, 32, 32), 10, activation=lambda: median(1, 2)), "ternary", t_max=100)


@pytest.mark.parametrize("limit", [1, None])
def test_integer_sums_beside_a_float_branch_are_not_rounded(limit: int | None) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pixels, self.encoder = Pixels((0,), 255), nn.Conv2d(1, 6, 3, padding=1)
            self.one, self.other = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
            for module in (self.encoder, self.one, self.other):
                quantise_weight(module, "int8")
            self.real = nn.Conv2d(6, 6, 3, padding=1)
            self.first, self.second, self.classifier = qcfs(64, 1.0), qcfs(256, 1.0), nn.Linear(12 * 64, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(self.encoder(self.pixels(x)))
            return self.classifier(self.second(torch.cat([self.one(x) + self.other(x), self.real(x)], 1)).flatten(1))

    torch.manual_seed(0)
    model, images = Mixed().eval(), torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8)
    ann = capture(model, images[:2])
    graph = convert(ann, "counting", t_max=600, limit=limit)
    found = verify(graph, ann, images, "counting", limit=limit)
    assert (found.mismatches, found.unsettled) == (0, 0)


@pytest.mark.parametrize("method", ["counting", "scatter-gather"])
def test_a_weight_of_minus_128_can_be_turned(method: str) -> None:
    """u = -128 x, z = -u / 64 = 2 x: as int8, 128 would be -128 again."""
    ann = chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("dense", (), np.array([[-128, 0], [127, -128]], dtype=np.int8)),
        norm("norm", [-1, -1], [0, 0], [0, 0], [64, 64]),
        levels("neuron", 9),
        Dense("classifier", (), whole([[1, 0], [0, 1]])),
        Readout("readout", (), real([0, 0])),
    )
    graph = convert(ann, method)
    assert verify(graph, ann, image([[3, 4]]), method).is_equal
    assert simulate(graph, image([[3, 4]])).logits[-1, 0].tolist() == [6, 2]


def test_weights_keep_their_type_where_it_holds_them() -> None:
    narrow, signs = np.array([[-127, 127], [1, 0]], dtype=np.int8), whole([-1, 0])
    assert turn_weights(narrow, signs).dtype == np.int8
    assert turn_weights(narrow, signs).tolist() == [[127, -127], [0, 0]]
    assert turn_weights(np.array([[-128]], dtype=np.int8), whole([-1])).dtype == np.int16
    assert turn_weights(np.array([[200]], dtype=np.uint8), whole([-1])).tolist() == [[-200]]
    assert turn_weights(real([[0.5], [2]]), signs).tolist() == [[-0.5], [0]]


def test_a_constant_beyond_all_gains_is_refused() -> None:
    ann = chain(
        pixels(1, 2, 2),
        Convolution("conv", (), whole([[[[1]]]])),
        levels("neuron", 4),
        norm("norm", [1e-25], [1.0], [0.0], [1.0]),
        AveragePool("pool", (), (2, 2), (1, 1), (1, 1)),
        Convolution("next", (), whole([[[[1]]]])),
        levels("next.neuron", 4),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1] * 9])),
        Readout("readout", (), real([0])),
    )
    with pytest.raises(ConversionError, match=r"more than 2\^63 times .* prune"):
        convert(ann, "counting")
