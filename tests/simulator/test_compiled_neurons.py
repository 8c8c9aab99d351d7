"""Counting neurons in compiled code against the readable step functions, bit by bit."""

from typing import Any

import pytest
import torch
from torch import Tensor

from isospike.conversion import convert
from isospike.engine import is_available, list_isas
from isospike.errors import SimulationError
from isospike.graph import CountingNeuron
from isospike.simulator import simulate, time_loop
from isospike.simulator.arithmetic import lay_out
from isospike.simulator.compiled_neurons import CompiledNeurons, can_compile
from isospike.simulator.neurons import Thresholds, deserve_count, fire, make_thresholds
from isospike.simulator.recording import add_spikes_up
from tests.problems import LOSSLESS, PROBLEMS, real, whole
from tests.simulator.test_native import assert_same

CPU = torch.device("cpu")
needs_engine = pytest.mark.skipif(not is_available(), reason="the engine was not compiled")
SHAPES = [(5, 1), (3, 7), (4, 16), (2, 67), (3, 5, 4, 3), (2, 24, 3, 5), (1, 33, 1, 1), (3, 1, 6, 4), (70, 96, 4, 4)]


def draw(shape: tuple[int, ...], seed: int, scale: float = 4.0) -> Tensor:
    return scale * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make_rule(channels: int, dimensions: int, integer: bool, levels: int | None) -> Thresholds:
    chance = torch.Generator().manual_seed(channels)
    if integer:  # in quarters
        first = torch.randint(-9, 30, (channels,), generator=chance).tolist()
        step = torch.randint(1, 20, (channels,), generator=chance).tolist()
        node = CountingNeuron("neuron", (), whole(first), whole(step), 2, levels, 1)
    else:
        first = torch.randn(channels, generator=chance).tolist()
        step = (torch.rand(channels, generator=chance) + 0.05).tolist()
        node = CountingNeuron("neuron", (), real(first), real(step), None, levels, 1)
    return make_thresholds(node, dimensions, torch.float64, 20, CPU)


@needs_engine
@pytest.mark.parametrize("isa", list_isas() if is_available() else [])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("integer", "levels", "limit"), [(False, None, 1), (False, 3, 2), (True, 4, 1)])
def test_the_same_steps(
    isa: str, shape: tuple[int, ...], integer: bool, levels: int | None, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOSPIKE_ISA", isa)
    thresholds = make_rule(shape[1], len(shape), integer, levels)
    compiled = CompiledNeurons(thresholds, limit)
    membrane, count = lay_out(draw(shape, 0).round()), lay_out(torch.zeros(shape, dtype=torch.float64))
    expected_membrane, expected_count = membrane.clone(), count.clone()
    seen = set()
    for step in range(6):
        current = None if step in (2, 5) else draw(shape, step + 1)
        if current is not None:
            current = current.round() if integer else current
            expected_membrane += current
        deserved = deserve_count(expected_membrane, thresholds)
        expected = fire(deserved, expected_count, limit)
        expected_count += expected
        spikes, agrees, totals = compiled.step(membrane, count, current)
        assert torch.equal(membrane, expected_membrane)
        assert torch.equal(count, expected_count)
        assert torch.equal(spikes, expected)
        assert torch.equal(agrees, (expected_count == deserved).flatten(1).all(1))
        due = add_spikes_up(expected)
        assert torch.equal(totals.magnitude, due.magnitude)
        assert torch.equal(totals.positive, due.positive)
        assert torch.equal(totals.negative, due.negative)
        seen |= set(expected.unique().tolist())
    assert min(seen) < 0 < max(seen)  # both signs were tried


@needs_engine
def test_where_there_is_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds = make_rule(3, 2, False, None)
    table = CountingNeuron("neuron", (), whole([[1, 3, 3, 7]]), None, 0, 4, 1)
    assert can_compile(thresholds, CPU)
    tabulated = make_thresholds(table, 2, torch.float64, 9, CPU)
    assert not can_compile(tabulated, CPU)
    with pytest.raises(SimulationError, match="got a table"):
        CompiledNeurons(tabulated, 1)
    assert not can_compile(thresholds, torch.device("cuda"))
    wide = CountingNeuron("neuron", (), whole([1]), whole([2**53]), 0, 4, 1)
    assert not can_compile(make_thresholds(wide, 2, torch.float64, 9, CPU), CPU)
    monkeypatch.setattr("isospike.simulator.compiled_neurons.is_available", lambda: False)
    assert not can_compile(thresholds, CPU)


@needs_engine
@pytest.mark.parametrize("options", [{}, {"propagation": "layer-per-step"}, {"encoder_drop": 0.3, "seed": 3}])
@pytest.mark.parametrize("method", LOSSLESS)
def test_networks_do_the_same(method: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    steps = CompiledNeurons.step
    calls = []
    monkeypatch.setattr(CompiledNeurons, "step", lambda *given: calls.append(1) or steps(*given))
    for problem in PROBLEMS:
        graph = convert(problem.ann, method, t_max=12)
        images = torch.cat([problem.image, problem.image.flip(-1), problem.image])
        calls.clear()
        compiled = simulate(graph, images, engine="torch", dtype="float64", keep_counts=True, **options)
        tables = all(node.step is None for node in graph.neurons)
        assert bool(calls) is not tables, problem.name
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(time_loop, "can_compile", lambda *_: False)
            readable = simulate(graph, images, engine="torch", dtype="float64", keep_counts=True, **options)
            assert not calls
        assert_same(compiled, readable)
