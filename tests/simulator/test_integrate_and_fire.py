"""The integrate-and-fire neuron and its time loop, over several steps worked out by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isospike import simulate
from isospike.errors import GraphError, SimulationError
from isospike.graph import (
    Add,
    Affine,
    Convolution,
    Dense,
    Flatten,
    IntegrateAndFire,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from tests.problems import chain, image, pixels, real, whole


def neuron(name: str, threshold: list[float], initial: list[float] | None = None, **rest: Any) -> IntegrateAndFire:
    """A layer of integrate-and-fire neurons."""
    return IntegrateAndFire(name, (), real(threshold), real(initial or [0.0] * len(threshold)), **rest)


def run(graph: SpikingGraph, rows: object, steps: int, **options: Any) -> Any:
    """A run of one image in float64."""
    return simulate(graph, image(rows), steps, dtype="float64", keep_counts=True, **options)


def passing(size: int) -> list[Node]:
    """A classifier whose logits are the neurons' rates."""
    return [Dense("classifier", (), whole(np.eye(size))), Readout("readout", (), real([0] * size))]


def net(simulation: Any, name: str) -> list[int]:
    """Net spikes of a node per step, of the first image."""
    return (simulation.positive[name] - simulation.negative[name])[:, 0].tolist()


def test_reset_by_subtraction_keeps_what_is_left() -> None:
    # I = 3, theta = 4: V = 3 | 6 -> 2 | 5 -> 1 | 4 -> 0 (a tie fires) | 3
    graph = chain(pixels(1, 1, 1), Flatten("flatten", ()), neuron("hidden", [4]), *passing(1), t_max=16)
    found = run(graph, [[3]], 5)
    assert net(found, "hidden") == [0, 1, 1, 1, 0]
    assert found.logits[:, 0, 0].tolist() == [0, 1 / 2, 2 / 3, 3 / 4, 3 / 5]
    assert not found.settled.any()


def test_one_spike_per_step_at_most() -> None:
    # I = 9, theta = 4: V = 9 -> 5 | 14 -> 10 | 19 -> 15; nothing is lost, nothing more is fired
    graph = chain(pixels(1, 1, 1), Flatten("flatten", ()), neuron("hidden", [4]), *passing(1), t_max=16)
    assert net(run(graph, [[9]], 3), "hidden") == [1, 1, 1]


def test_initial_potential_counts_once() -> None:
    # V_0 = 2, I = 3, theta = 4: 5 -> 1 | 4 -> 0 | 3 | 6 -> 2: count(4) = floor((2 + 12) / 4)
    graph = chain(pixels(1, 1, 1), Flatten("flatten", ()), neuron("hidden", [4], [2]), *passing(1), t_max=16)
    assert net(run(graph, [[3]], 4), "hidden") == [1, 1, 0, 1]


def test_bias_is_a_current_at_every_step() -> None:
    # I = 3 - 1 = 2, theta = 4; the readout's bias is a current too, so that its logit stays
    graph = chain(
        pixels(1, 1, 1),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[1]]), bias=real([-1])),
        neuron("hidden", [4]),
        Dense("classifier", (), whole([[1]])),
        Readout("readout", (), real([0.5]), 2.0),
        t_max=16,
    )
    found = run(graph, [[3]], 4)
    assert net(found, "hidden") == [0, 1, 0, 1]
    assert found.logits[:, 0, 0].tolist() == pytest.approx([1, 2, 2 / 3 + 1, 2])


def _late_inhibition(lower: list[float] | None) -> SpikingGraph:
    # first: theta 2, I = 2: fires at 1, 2, 3, ..; second: theta 3, I = 1: fires at 3, 6, ..
    # hidden: +2 from the first at each step, -9 from the second
    return chain(
        pixels(1, 1, 2),
        Flatten("flatten", ()),
        Dense("encoder.synapses", (), whole(np.eye(2))),
        neuron("encoder", [2, 3]),
        Dense("hidden.synapses", (), whole([[2, -9]])),
        neuron("hidden", [2], lower=None if lower is None else real(lower)),
        *passing(1),
        t_max=16,
    )


def test_unsigned_neuron_takes_nothing_back() -> None:
    # V = 2 -> 0 | 2 -> 0 | 2 - 9 = -7 | -5 | -3 | -1 - 9 = -10
    found = run(_late_inhibition(None), [[2, 1]], 6)
    assert net(found, "encoder") == [1, 1, 2, 1, 1, 2]
    assert net(found, "hidden") == [1, 1, 0, 0, 0, 0]


def test_signed_neuron_takes_back_what_it_has_fired_and_no_more() -> None:
    # V = 2 -> 0 (c 1) | 2 -> 0 (c 2) | -7 -> -5 (c 1) | -3 -> -1 (c 0) | 1 | 3 - 9 = -6: nothing left to take back
    found = run(_late_inhibition([0]), [[2, 1]], 6)
    assert net(found, "hidden") == [1, 1, -1, -1, 0, 0]
    assert found.negative["hidden"][:, 0].tolist() == [0, 0, 1, 1, 0, 0]
    assert found.counts["hidden"].tolist() == [[0]]


def test_margin_of_a_signed_neuron_is_exclusive() -> None:
    # lower = -7: V = -7 is not below it, so nothing is taken back; -6 is
    assert net(run(_late_inhibition([-7]), [[2, 1]], 4), "hidden") == [1, 1, 0, 0]
    assert net(run(_late_inhibition([-6]), [[2, 1]], 4), "hidden") == [1, 1, -1, 0]


def _silencing(tau: int) -> SpikingGraph:
    # hidden 1: +3 at each step, -3 at every second: it fires at the odd steps and ends tau = 2 at V_0 + 0 - 4 + .. < 0
    # hidden 2: +3 at each step
    return SpikingGraph(
        chain(
            pixels(1, 1, 2),
            Flatten("flatten", ()),
            Dense("encoder.synapses", (), whole(np.eye(2))),
            neuron("encoder", [2, 2]),
            Dense("hidden.synapses", (), whole([[3, -6], [3, 0]])),
            neuron("hidden", [4, 4], [2, 2], residual=real([0.004, 0.004])),
            *passing(2),
            t_max=16,
        ).nodes,
        16,
        tau,
    )


def test_residual_potential_silences_for_the_steps_that_count() -> None:
    # encoder: I = 2, 1: fires 1 1 1 1 and 0 1 0 1
    # hidden 1: 2 + 3 = 5 -> 1 | 1 + 3 - 6 = -2: silenced. hidden 2: 5 -> 1 | 4 -> 0: 0 is not above the residual either
    found = run(_silencing(2), [[2, 1]], 4)
    assert found.counts["hidden"].tolist() == [[0, 0]]
    assert found.logits[:, 0].abs().max() == 0
    # after 3 steps: hidden 1: -2 + 3 = 1, hidden 2: 3: both above, and the run that counts begins anew
    found, plain = run(_silencing(3), [[2, 1]], 4), run(_silencing(0), [[2, 1]], 4)
    assert torch.equal(found.logits, plain.logits)
    assert found.counts["hidden"].tolist() == plain.counts["hidden"].tolist() == [[1, 3]]


def test_work_of_the_first_run_is_counted_in_the_first_step() -> None:
    found, plain = run(_silencing(3), [[2, 1]], 4), run(_silencing(0), [[2, 1]], 4)
    first = run(_silencing(0), [[2, 1]], 3)
    for name in ("encoder", "hidden"):
        assert int(found.positive[name][0, 0]) == int(plain.positive[name][0, 0] + first.positive[name].sum())
        assert torch.equal(found.positive[name][1:], plain.positive[name][1:])
    layer = "hidden.synapses"
    assert int(found.sops[layer].sum()) == int(plain.sops[layer].sum() + first.sops[layer].sum())
    assert found.logits.shape[0] == 4


def test_layer_per_step_delays_each_layer_by_one() -> None:
    # encoder fires at every step; hidden takes theta = 1 and a bias that does not wait
    graph = chain(
        pixels(1, 1, 1),
        Flatten("flatten", ()),
        Dense("encoder.synapses", (), whole([[1]])),
        neuron("encoder", [1]),
        Dense("hidden.synapses", (), whole([[1]])),
        neuron("hidden", [1]),
        *passing(1),
        t_max=16,
    )
    within, delayed = run(graph, [[1]], 4), run(graph, [[1]], 4, propagation="layer-per-step")
    assert net(within, "hidden") == [1, 1, 1, 1]
    assert within.logits[:, 0, 0].tolist() == [1, 1, 1, 1]
    assert net(delayed, "encoder") == [1, 1, 1, 1]
    assert net(delayed, "hidden") == [0, 1, 1, 1]
    assert delayed.logits[:, 0, 0].tolist() == [0, 0, 1 / 3, 2 / 4]
    assert delayed.sops["hidden.synapses"][:, 0].tolist() == [0, 1, 1, 1]


def test_gains_weigh_the_spikes_of_a_shortcut() -> None:
    # encoder fires +1 at each step, worth 3 on the shortcut and -1 through the weights: I = 2, theta = 4
    nodes = [
        pixels(1, 1, 1),
        Flatten("flatten", ("pixels",)),
        IntegrateAndFire("encoder", ("flatten",), real([1]), real([0])),
        Dense("branch", ("encoder",), whole([[-1]])),
        Add("sum", ("branch", "encoder"), real([[1], [3]])),
        IntegrateAndFire("hidden", ("sum",), real([4]), real([0])),
        Affine("weighed", ("hidden",), real([2]), real([0.5])),
        Readout("readout", ("weighed",), real([0])),
    ]
    found = run(SpikingGraph(tuple(nodes), 8), [[1]], 4)
    assert net(found, "hidden") == [0, 1, 0, 1]
    assert found.logits[:, 0, 0].tolist() == pytest.approx([0.5, 1.5, 2 / 3 + 0.5, 1.5])


def test_max_pool_passes_the_count_of_the_busiest() -> None:
    # thresholds 2 and 3 with I = 1: counts 0 1 1 2 2 3 and 0 0 1 1 1 2; the pool's is the larger at each step
    nodes = chain(
        pixels(1, 1, 2),
        Convolution("conv", (), whole([[[[1]]]])),
        neuron("encoder", [6]),
        MaxPool("pool", (), (1, 2), (1, 2), limit=1),
        Flatten("flatten", ()),
        *passing(1),
        t_max=16,
    )
    found = run(nodes, [[3, 2]], 6)
    assert net(found, "encoder") == [0, 1, 1, 1, 0, 2]
    assert net(found, "pool") == [0, 1, 0, 1, 0, 1]
    assert found.counts["pool"].tolist() == [[[[3]]]]


def test_first_spikes_and_operations_of_the_encoder() -> None:
    graph = chain(
        pixels(1, 5, 5),
        Convolution("encoder", (), whole([[[[1]]]])),
        neuron("encoder.neuron", [2]),
        Convolution("hidden", (), whole(np.ones((4, 1, 3, 3))), padding=(1, 1)),
        neuron("hidden.neuron", [100] * 4),
        Flatten("flatten", ()),
        Dense("classifier", (), whole(np.ones((1, 100)))),
        Readout("readout", (), real([0])),
        t_max=4,
    )
    rows = [[0] * 5 for _ in range(5)]
    rows[0][0], rows[2][2] = 2, 1  # the corner fires at each step and reaches 4 positions, the middle at each second: 9
    found = run(graph, rows, 2)
    assert found.sops["hidden"][:, 0].tolist() == [4 * 4, (4 + 9) * 4]


def test_batches_and_types_change_nothing() -> None:
    torch.manual_seed(0)
    graph = _late_inhibition([0])
    images = torch.randint(0, 4, (7, 1, 1, 2), dtype=torch.uint8)
    whole_batch = simulate(graph, images, 6)
    for options in ({"batch_size": 3}, {"dtype": "float64"}, {"early_stop": False}):
        assert torch.equal(simulate(graph, images, 6, **options).logits, whole_batch.logits)


def test_encoder_spikes_can_get_lost() -> None:
    graph = _late_inhibition(None)
    found = run(graph, [[2, 1]], 6, encoder_drop=1.0)
    assert net(found, "encoder") == [1, 1, 2, 1, 1, 2]
    assert int(found.positive["hidden"].sum()) == 0
    assert int(found.sops["hidden.synapses"].sum()) == 0


def test_float_images_are_taken_where_the_input_says_so() -> None:
    graph = chain(pixels(1, 1, 1), Flatten("flatten", ()), neuron("hidden", [1]), *passing(1), t_max=4)
    nodes = list(graph.nodes)
    nodes[0] = type(graph.input)("pixels", (), (1, 1, 1), 1, whole([0]), floats=True)
    floats: Tensor = torch.full((2, 1, 1, 1), 0.5)
    assert simulate(SpikingGraph(tuple(nodes), 4), floats).counts == {}
    assert simulate(SpikingGraph(tuple(nodes), 4), floats).logits[-1].tolist() == [[0.5], [0.5]]
    with pytest.raises(SimulationError, match="images: expected float"):
        simulate(SpikingGraph(tuple(nodes), 4), floats.to(torch.uint8))


def test_wrong_options_are_refused() -> None:
    graph = _late_inhibition(None)
    with pytest.raises(SimulationError, match="steps: expected 1 to T_max = 16, got 17"):
        run(graph, [[2, 1]], 17)
    with pytest.raises(SimulationError, match="a rate-coded graph runs in float32 or float64, got 'int64'"):
        simulate(graph, image([[2, 1]]), 2, dtype="int64")


def test_inconsistent_graphs_are_refused() -> None:
    def one(*middle: Node, **rest: Any) -> SpikingGraph:
        return chain(pixels(1, 1, 1), Flatten("flatten", ()), *middle, *passing(1), **{"t_max": 4, **rest})

    with pytest.raises(GraphError, match=r"hidden\.threshold: expected thresholds above 0, got 0"):
        one(neuron("hidden", [0]))
    with pytest.raises(GraphError, match=r"hidden\.lower: expected at most the initial potential"):
        one(neuron("hidden", [1], [0], lower=real([0.5])))
    with pytest.raises(GraphError, match="a IntegrateAndFire only occurs in a rate-coded graph"):
        one(neuron("hidden", [1]), t_max=None)
    with pytest.raises(GraphError, match="tau: expected 0 or more steps"):
        SpikingGraph(_silencing(0).nodes, 16, -1)
    with pytest.raises(GraphError, match="tau: expected 0 or more steps"):
        SpikingGraph(one().nodes, 16, 2)
