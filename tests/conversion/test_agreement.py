"""The theorem: where a network says that it has settled, every count and every logit is the quantised ANN's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isospike.conversion import Evaluation, QuantisedAnn
from isospike.conversion.base import CountingConversion
from isospike.graph import SpikingGraph
from isospike.networks import Network, capture
from isospike.simulator import PROPAGATIONS, Simulation, simulate
from tests.random_networks import integer_graphs, networks, random_images

LIMITS = (1, 2, None)


def _assert_agreement_certifies(ann: SpikingGraph, t_max: int, limit: int | None, propagation: str) -> int:
    """Run step by step and compare whatever has settled; gives how many (image, step) pairs had."""
    images = random_images(ann.input.shape, 4)
    graph = CountingConversion(ann, t_max, limit).run()
    expected = QuantisedAnn(ann).evaluate(images)
    settled = 0
    for steps in range(1, t_max + 1):
        run = simulate(graph, images, steps, early_stop=False, propagation=propagation, keep_counts=True)
        settled += int(run.settled[-1].sum())
        _assert_equal_where_settled(run, expected, graph.is_integer)
    return settled


def _assert_equal_where_settled(run: Simulation, expected: Evaluation, whole: bool) -> None:
    settled = run.settled[-1]
    assert expected.counts.keys() == run.counts.keys()
    for name, counts in expected.counts.items():
        assert torch.equal(run.counts[name][settled], counts[settled]), name
    if whole or bool(torch.equal(run.logits[-1], run.logits[-1].round())):
        assert torch.equal(run.logits[-1][settled], expected.logits[settled])
    else:
        torch.testing.assert_close(run.logits[-1][settled], expected.logits[settled], rtol=1e-9, atol=1e-9)


@given(networks(), st.sampled_from((1, 2)), st.sampled_from(PROPAGATIONS))
@settings(max_examples=60)
def test_agreement_is_the_quantised_ann_on_networks(model: Network, limit: int, propagation: str) -> None:
    _assert_agreement_certifies(capture(model), 8, limit, propagation)


@given(networks(bounded=True), st.sampled_from(PROPAGATIONS))
@settings(max_examples=20)
def test_agreement_is_the_quantised_ann_with_all_levels_at_once(model: Network, propagation: str) -> None:
    _assert_agreement_certifies(capture(model), 5, None, propagation)


@given(integer_graphs(), st.sampled_from((1, 2, 3)), st.sampled_from(PROPAGATIONS))
@settings(max_examples=60)
def test_agreement_is_the_quantised_ann_on_any_geometry(ann: SpikingGraph, limit: int, propagation: str) -> None:
    _assert_agreement_certifies(ann, 8, limit, propagation)


@pytest.mark.parametrize("propagation", PROPAGATIONS)
@pytest.mark.parametrize("limit", LIMITS)
def test_the_tests_above_are_not_empty(limit: int | None, propagation: str) -> None:
    """Bounded networks do settle, all of their images, given the time."""
    drawn: list[int] = []

    @given(networks(weights=("ternary",), bounded=True))
    @settings(max_examples=8, database=None)
    def run(model: Network) -> None:
        if any(node.name == "pool1" and node.inputs == ("pixels",) for node in capture(model)):
            return  # a max pool over pixels pays out 255 levels
        ann = capture(model)
        graph = CountingConversion(ann, 64, limit).run()
        images = random_images(ann.input.shape, 3)
        drawn.append(int(simulate(graph, images, propagation=propagation).settled[-1].sum()))

    run()
    assert len(drawn) >= 5
    assert drawn == [3] * len(drawn)


@given(networks(bounded=True))
@settings(max_examples=10)
def test_one_step_is_enough_for_scatter_gather(model: Network) -> None:
    ann = capture(model)
    run = simulate(CountingConversion(ann, 1, None).run(), random_images(ann.input.shape, 4))
    assert bool(run.settled.all())
