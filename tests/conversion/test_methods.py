"""The contract: every method, over every problem worked out by hand."""

import pytest
import torch

from isospike.conversion import QuantisedAnn, convert, verify
from isospike.simulator import PROPAGATIONS, simulate
from tests.problems import LOSSLESS, PROBLEMS, Problem

T_MAX = 24
PAIRS = [(method, problem) for method in LOSSLESS for problem in PROBLEMS]


def test_neither_list_is_empty() -> None:
    assert LOSSLESS
    assert PROBLEMS


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda each: each.name)
def test_quantised_ann_gives_the_counts_worked_out_by_hand(problem: Problem) -> None:
    evaluation = QuantisedAnn(problem.ann).evaluate(problem.image)
    assert {name: counts[0].flatten().tolist() for name, counts in evaluation.counts.items()} == problem.counts
    assert evaluation.logits[0].tolist() == problem.logits


@pytest.mark.parametrize("propagation", PROPAGATIONS)
@pytest.mark.parametrize(("method", "problem"), PAIRS, ids=lambda each: getattr(each, "name", each))
def test_method_reaches_the_counts_worked_out_by_hand(method: str, problem: Problem, propagation: str) -> None:
    graph = convert(problem.ann, method, t_max=T_MAX)
    settled_once = False
    for steps in range(1, T_MAX + 1):
        run = simulate(graph, problem.image, steps, propagation=propagation, keep_counts=True)
        if bool(run.settled[-1, 0]):
            settled_once = True
            assert {name: counts[0].flatten().tolist() for name, counts in run.counts.items()} == problem.counts
            assert run.logits[-1, 0].tolist() == problem.logits
            assert set(problem.counts) == {node.name for node in graph.spiking}
    assert settled_once


@pytest.mark.parametrize(("method", "problem"), PAIRS, ids=lambda each: getattr(each, "name", each))
def test_verify_proves_every_problem(method: str, problem: Problem) -> None:
    found = verify(convert(problem.ann, method, t_max=T_MAX), problem.ann, problem.image, method)
    assert found.is_equal
    assert (found.mismatches, found.unsettled, found.images) == (0, 0, 1)
    assert found.neurons == sum(len(counts) for counts in problem.counts.values())


def test_scatter_gather_settles_in_one_step() -> None:
    for problem in PROBLEMS:
        graph = convert(problem.ann, "scatter-gather")
        assert graph.t_max == 1
        assert bool(simulate(graph, problem.image).settled.all())


def test_a_spike_that_came_too_early_is_taken_back() -> None:
    problem = next(each for each in PROBLEMS if each.name == "dense")
    run = simulate(convert(problem.ann, "negative-spike"), problem.image)
    assert run.positive["hidden.neuron"].sum() == 1 + 2
    assert run.negative["hidden.neuron"].sum() == 1
    # by hand: V = 2, 0 after one step, 1, 1 after two, 0, 2 after three; the -1 and the last +1 come in the third
    assert run.positive["hidden.neuron"][:4, 0].tolist() == [1, 1, 1, 0]
    assert run.negative["hidden.neuron"][:4, 0].tolist() == [0, 0, 1, 0]
    assert run.settled[:4, 0].tolist() == [False, False, True, True]


def test_settled_is_not_claimed_while_a_spike_is_due() -> None:
    problem = next(each for each in PROBLEMS if each.name == "exact tie")
    run = simulate(convert(problem.ann, "all-integer", t_max=T_MAX), problem.image)
    assert int((~run.settled).sum()) + 1 == 10  # the largest count, one spike a step
    assert torch.equal(run.logits[9:, 0], run.logits[9:10, 0].expand(T_MAX - 9, -1))
