"""One image, neuron by neuron: potentials, thresholds and counts worked out by hand."""

from pathlib import Path

import pytest
import torch

from isospike.errors import FileError, SimulationError
from isospike.graph import CountingNeuron, Dense, Flatten, IntegrateAndFire, Readout, SpikingGraph
from isospike.report.sample import Sample, read_sample, write_sample
from isospike.report.sample_tracing import trace_sample
from isospike.simulator import simulate
from tests.problems import chain, pixels, real, whole

SEVEN = torch.tensor([[[7]]], dtype=torch.uint8)


def count_graph() -> SpikingGraph:
    """Two neurons that the pixel reaches with weight 1: one climbs to count 1, the other to 2; the one behind them,
    with weights 2 and -1, fires at once and takes it back when the second spike arrives. Thresholds are in halves."""
    return chain(
        pixels(1, 1, 1),
        Flatten("flat", ()),
        Dense("hidden1", (), whole([[1], [1]])),
        CountingNeuron("one", (), whole([10, 4]), whole([200, 6]), 1, None, 1),
        Dense("hidden2", (), whole([[2, -1]])),
        CountingNeuron("two", (), whole([2]), whole([20]), 1, 1, 1),
        Dense("classifier", (), whole([[-1], [1]])),
        Readout("readout", (), whole([0, 0])),
        t_max=8,
    )


def trace(graph: SpikingGraph, steps: int, image: torch.Tensor = SEVEN) -> Sample:
    return trace_sample(graph, image, 1, steps=steps, place=3, command="made by hand", digest="0" * 64)


def test_thresholds_move_with_the_count() -> None:
    sample = trace(count_graph(), 4)
    first, second = sample.layers
    # V = 7 against 5 and 105 (neuron 0), and against 2, 5, 8 (neuron 1, which fired more and so comes first)
    climbing, single = first.traces
    assert climbing.neuron == (1,)
    assert climbing.membrane == (7.0, 7.0, 7.0, 7.0)
    assert climbing.count == (1, 2, 2, 2)
    assert climbing.rise == (2.0, 5.0, 8.0, 8.0)
    assert climbing.fall == (None, 2.0, 5.0, 5.0)
    assert (single.neuron, single.count) == ((0,), (1, 1, 1, 1))
    assert [train.spikes for train in first.raster] == [(1, 1, 0, 0), (1, 0, 0, 0)]
    assert (first.neurons, first.fired, first.spikes) == (2, 2, (2, 1, 0, 0))
    # V = 2 - 1 = 1, then 2 - 2 = 0, against a threshold of 1; at one level there is no higher threshold
    (trembling,) = second.traces
    assert trembling.membrane == (1.0, 0.0, 0.0, 0.0)
    assert trembling.count == (1, 0, 0, 0)
    assert trembling.rise == (1.0, None, 1.0, 1.0)
    assert trembling.fall == (None, 1.0, None, None)
    assert second.raster[0].spikes == (1, -1, 0, 0)
    # logits: -count, count of the last neuron; a tie is the first class
    assert sample.predictions == (1, 0, 0, 0)
    assert sample.settled == 2
    assert (sample.steps, sample.image, sample.label) == (4, 3, 1)


def test_a_layer_a_step_is_traced_as_it_is_simulated() -> None:
    graph = count_graph()
    simulation = simulate(graph, SEVEN[None], 5, propagation="layer-per-step")
    sample = trace_sample(
        graph, SEVEN, 1, steps=5, place=0, command="x", digest="0", propagation="layer-per-step", conditions={"a": 1}
    )
    assert list(sample.predictions) == simulation.predictions[:, 0].tolist()
    settled = simulation.settled[:, 0].tolist()
    assert sample.settled == settled.index(True) + 1 > 2  # a step later than within the step
    assert sample.conditions == {"a": 1}


def test_integrate_and_fire() -> None:
    """I = 3 a step against 5: V = 3, 6 - 5, 4, 7 - 5."""
    graph = chain(
        pixels(1, 1, 1),
        Flatten("flat", ()),
        Dense("hidden1", (), real([[3]])),
        IntegrateAndFire("one", (), real([5]), real([0])),
        Dense("classifier", (), real([[1], [2]])),
        Readout("readout", (), real([0, 0])),
        t_max=8,
    )
    (layer,) = trace(graph, 4, torch.ones(1, 1, 1, dtype=torch.uint8)).layers
    (found,) = layer.traces
    assert found.membrane == (3.0, 1.0, 4.0, 2.0)
    assert found.count == (0, 1, 1, 2)
    assert found.rise == (5.0,) * 4
    assert found.fall == (None,) * 4


def test_nothing_is_lost_in_the_file(tmp_path: Path) -> None:
    sample = trace(count_graph(), 4)
    write_sample(sample, tmp_path)
    assert read_sample(tmp_path) == sample
    assert read_sample(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"picture": "', '"picture": "aGVsbG8='),
        ('"membrane": [\n            7.0,', '"membrane": [\n            NaN,'),
        ('"count": [\n            1,', '"count": ['),
        ('"label": 1', '"label": "x"'),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, old: str, new: str) -> None:
    path = write_sample(trace(count_graph(), 4), tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(FileError, match=r"sample\.json: not the trace of a sample"):
        read_sample(tmp_path)


def test_more_steps_than_the_graph_may_run() -> None:
    with pytest.raises(SimulationError, match="T_max"):
        trace(count_graph(), 9)
