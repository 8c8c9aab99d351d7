"""When images settle, at worst and in fact."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isospike.conversion import convert
from isospike.errors import GraphError
from isospike.graph import Add, Convolution, CountingNeuron, Dense, Flatten, MaxPool, Node, Readout, SpikingGraph
from isospike.metrics import bound_latency, summarise_settling
from isospike.networks import Quantisation, build_network
from isospike.simulator import simulate
from tests.branched_graphs import branched_graphs
from tests.metrics.worked import IMAGE, build_worked
from tests.problems import PROBLEMS, chain, levels, pixels, real, whole
from tests.random_networks import random_images


def test_settling_by_hand() -> None:
    # of 10 images, 5 settle at step 2, 4 at step 3, and one not within 4 steps
    found = summarise_settling([0, 5, 9, 9], 10)
    assert found.histogram == (0, 5, 4, 0)
    assert found.unsettled == 1
    assert found.mean_steps == (5 * 2 + 4 * 3 + 1 * 4) / 10
    assert [found.find_step(percent) for percent in (50, 90, 99, 100)] == [2, 3, None, None]
    assert found.as_dict()["steps_until_settled"] == {"50": 2, "90": 3, "99": None, "100": None}


def test_a_percentage_is_not_rounded_down() -> None:
    assert summarise_settling([989, 990, 1000], 1000).find_step(99) == 2
    assert summarise_settling([999, 999, 1000], 1000).find_step(100) == 3


def test_the_bound_by_hand() -> None:
    # the encoder has at most 4 spikes to fire, from step 1 on; the hidden layer, at most 4, from step 4 on
    graph = build_worked()
    assert bound_latency(graph) == 7
    wide = [replace(node, limit=4) if isinstance(node, CountingNeuron) else node for node in graph]
    assert bound_latency(SpikingGraph(tuple(wide), 4)) == 1
    # without levels the hidden layer's membranes reach 9 * 4, at one spike a step
    endless = replace(graph["hidden.neuron"], levels=None)
    assert bound_latency(SpikingGraph(tuple(endless if n.name == endless.name else n for n in graph), 4)) == 4 + 35


def test_a_table_of_thresholds_bounds_too() -> None:
    graph = build_worked()
    table = torch.tensor([[1, 5, 30, 99]] * 4).numpy()  # 36 passes three of them
    node = replace(graph["hidden.neuron"], threshold=table, step=None)
    assert bound_latency(SpikingGraph(tuple(node if n.name == node.name else n for n in graph), 4)) == 4 + 2


def test_a_pool_of_pixels_may_have_to_fall() -> None:
    # pixels are -200 to 55: at one spike a step the tracker needs 200 steps, from step 1 on
    ann = chain(
        pixels(1, 2, 2, offset=200),
        MaxPool("pool", (), (2, 2), (2, 2)),
        Convolution("conv", (), whole([[[[-1]]]])),
        levels("neuron", 1),
        Flatten("flatten", ()),
        Dense("classifier", (), whole([[1]])),
        Readout("readout", (), real([0])),
    )
    graph = convert(ann, "counting", t_max=250)
    bound = bound_latency(graph)
    assert bound is not None and bound >= 200
    settled = simulate(graph, torch.zeros(1, 1, 2, 2, dtype=torch.uint8)).settled[:, 0]
    assert int(settled.int().argmax()) + 1 <= bound
    assert not settled[150]


def test_a_bound_beyond_all_numbers_comes_without_warnings() -> None:
    # six unbounded layers that multiply by 10^6: infinity, which then meets weights of zero, in a sum of branches too
    layers: list[Node] = [pixels(2, 1, 1), Flatten("flatten", ())]
    for place in range(6):
        layers.append(Dense(f"dense{place}", (), whole([[10**6, 0], [0, 10**6]])))
        layers.append(CountingNeuron(f"neuron{place}", (), whole([1, 1]), whole([1, 1]), 0, None, 1))
    layers.append(Add("sum", (), whole([[1, 0], [0, 1]])))
    layers += [Dense("classifier", (), whole([[1, 0], [0, -1]])), Readout("readout", (), whole([0, 0]))]
    graph = chain(*layers, t_max=1, joints={"sum": ("neuron5", "neuron4")})
    assert bound_latency(graph) is None


def test_no_bound_for_rates_and_none_for_anns() -> None:
    network = build_network("4C3", (1, 8, 8), 3, Quantisation(levels="qcfs", count=4, threshold=2.0)).eval()
    assert bound_latency(convert(network, "qcfs")) is None
    with pytest.raises(GraphError, match="captured ANN"):
        bound_latency(PROBLEMS[0].ann)


@given(branched_graphs(most=6), st.integers(1, 3))
@settings(max_examples=25)
def test_every_image_settles_by_the_bound(ann: SpikingGraph, limit: int) -> None:
    bound = bound_latency(convert(ann, "counting", t_max=4, limit=limit))
    assert bound is not None
    steps = min(bound, 200)
    run = simulate(convert(ann, "counting", t_max=steps, limit=limit), random_images(ann.input.shape, 3))
    if steps == bound:
        assert run.settled[-1].all()


@given(branched_graphs(most=6))
@settings(max_examples=25)
def test_early_exit_gives_the_answers_of_the_whole_run(ann: SpikingGraph) -> None:
    """From the record of a run that stops nobody: the logits at the step in which an image settled are its last."""
    graph = convert(ann, "counting", t_max=24)
    images = random_images(ann.input.shape, 5)
    run = simulate(graph, images, early_stop=False, engine="torch")
    for image in range(len(images)):
        settled = run.settled[:, image]
        if settled.any():
            step = int(settled.int().argmax())
            assert settled[step:].all()
            assert torch.equal(run.logits[step:, image], run.logits[-1:, image].expand(24 - step, -1))
            assert sum(int(spikes[step + 1 :, image].sum()) for spikes in run.positive.values()) == 0


def test_early_exit_of_the_worked_network() -> None:
    run = simulate(build_worked(), IMAGE, early_stop=False, engine="torch")
    assert run.settled[:, 0].tolist() == [False, True, True, True]
    assert run.logits[:, 0, 0].tolist() == [12, 13, 13, 13]
    assert summarise_settling(run.settled.sum(1).tolist(), 1).mean_steps == 2


def test_max_pool_trackers_take_steps_too() -> None:
    graph = build_worked()
    pool = MaxPool("pool", ("encoder.neuron",), (1, 1), (1, 1), limit=2)
    hidden = replace(graph["hidden"], inputs=("pool",))
    nodes = [pool if n.name == "none" else hidden if n.name == "hidden" else n for n in graph]
    nodes.insert(3, pool)
    assert bound_latency(SpikingGraph(tuple(nodes), 4)) == 4 + 1 + 3
