"""The potentials of integrate-and-fire neurons stay inside their bounds."""

import numpy as np
import pytest
import torch

from isospike.graph import bound_membranes, count_membrane_bits
from isospike.simulator.rate_loop import RateNetwork
from tests.conversion.test_rate_coding import rate_code
from tests.problems import PROBLEMS, Problem

STEPS = 20


@pytest.mark.parametrize("method", ["qcfs", "signed-if", "percentile", "srp"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda each: each.name)
def test_potentials_stay_inside(problem: Problem, method: str) -> None:
    graph = rate_code(problem.ann, method, problem.image, t_max=STEPS)
    bounds = bound_membranes(graph)
    assert set(bounds) == {*(node.name for node in graph.neurons), graph.readout.name}
    network = RateNetwork(graph, "float64", torch.device("cpu"))
    lowest: dict[str, float] = {}
    highest: dict[str, float] = {}
    for node in graph.neurons:
        rule = network.rules[node.name]
        plain = rule.fire

        def watch(state, current, name=node.name, plain=plain):  # type: ignore[no-untyped-def]
            spikes = plain(state, current)
            low, high = bounds[name].low, bounds[name].high
            flat = state.membrane.transpose(0, 1).flatten(1).numpy()
            assert (flat.min(1) >= low - 1e-9).all()
            assert (flat.max(1) <= high + 1e-9).all()
            lowest[name], highest[name] = float(flat.min()), float(flat.max())
            return spikes

        object.__setattr__(rule, "fire", watch)
    network.run(problem.image, STEPS, False, False, torch.Generator())
    assert set(lowest) == {node.name for node in graph.neurons}


def test_bounds_worked_out_by_hand() -> None:
    problem = next(each for each in PROBLEMS if each.name == "dense")
    # encoder: I in 0 .. 255, theta 4, V_0 2: at least 0, at most 4 + 255 + 20 * 251; hidden: spikes worth 4, so
    # V_0 = 1 / 2, theta 1, I = 3 s_1 - s_2 in -1 .. 3 and -s_1 + s_2 in -1 .. 1
    bounds = bound_membranes(rate_code(problem.ann, "qcfs", problem.image, t_max=STEPS))
    assert bounds["encoder.neuron"].low.tolist() == [0, 0]
    assert bounds["encoder.neuron"].high.tolist() == [4 + 255 + 20 * 251] * 2
    assert bounds["hidden.neuron"].low.tolist() == [-20, -20]
    assert bounds["hidden.neuron"].high.tolist() == [1 + 3 + 20 * 2, 1 + 1]
    assert np.array_equal(bounds["readout"].high, [20 * 3, 20 * 3])


def test_float_potentials_have_no_bits() -> None:
    graph = rate_code(PROBLEMS[0].ann, "qcfs", PROBLEMS[0].image)
    assert set(count_membrane_bits(graph).values()) <= {None, 16, 24, 32}
    assert count_membrane_bits(graph)["neuron"] is None
