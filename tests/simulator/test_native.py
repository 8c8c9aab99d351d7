"""What runs a simulation: the integer engine where it serves, PyTorch elsewhere, with the same results."""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import isospike
from isospike import engine
from isospike.engine import native_module
from isospike.errors import GraphError, SimulationError
from isospike.graph import Dense, Readout, SpikingGraph
from isospike.simulator import Simulation, native, simulate
from tests.engine.graphs import GraphBuilder, fits, graphs

needs_native = pytest.mark.skipif(not engine.is_available(), reason="isospike.engine was not compiled")


def build(t_max: int = 5) -> tuple[SpikingGraph, Tensor]:
    """A small integer graph and images for it."""
    builder = GraphBuilder(np.random.default_rng(5), t_max)
    builder.add_input(2, 5, 4)
    builder.add_convolution(6, wide=True)
    builder.add_neuron(4, 1, table=False)
    builder.add_convolution(8)
    builder.add_neuron(None, 1, table=False)
    images = builder.rng.integers(0, 256, (7, 2, 5, 4), dtype=np.uint8)
    return builder.finish(3), torch.from_numpy(images)


def assert_same(one: Simulation, other: Simulation) -> None:
    """Every field, its type and the order of its layers."""
    for field in fields(Simulation):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if isinstance(first, Tensor):
            first, second = {"": first}, {"": second}
        assert list(first) == list(second)
        for name in first:
            assert first[name].dtype == second[name].dtype
            assert torch.equal(first[name], second[name]), (field.name, name)


@pytest.fixture
def engine_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The batches that the engine runs."""
    batches: list[int] = []
    run = engine.Engine.run

    def note(self: engine.Engine, images: np.ndarray, **options: object) -> engine.EngineRecord:
        batches.append(len(images))
        return run(self, images, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.Engine, "run", note)
    yield batches


@needs_native
@settings(max_examples=25, deadline=None)
@given(case=graphs(), stop=st.booleans(), batch_size=st.integers(1, 4))
def test_the_engine_gives_what_pytorch_gives(
    case: tuple[SpikingGraph, np.ndarray], stop: bool, batch_size: int
) -> None:
    graph, images = case[0], torch.from_numpy(case[1])
    assume(fits(graph, graph.t_max or 1))
    torch_run, cpp_run, auto_run = (
        simulate(graph, images, engine=name, early_stop=stop, batch_size=batch_size, keep_counts=True)
        for name in ("torch", "cpp", "auto")
    )
    assert_same(cpp_run, torch_run)
    assert_same(auto_run, torch_run)


@needs_native
def test_auto_takes_the_engine_for_integers_batch_by_batch(engine_runs: list[int]) -> None:
    graph, images = build()
    done: list[int] = []
    simulate(graph, images, np.int64(3), batch_size=3, on_batch=done.append)  # type: ignore[arg-type]
    assert engine_runs == [3, 3, 1]
    assert done == [3, 6, 7]
    simulate(graph, images, engine="torch")
    assert engine_runs == [3, 3, 1]


@needs_native
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"dtype": "int64"}, "dtype=int64"),
        ({"propagation": "layer-per-step"}, "propagation=layer-per-step"),
        ({"encoder_drop": 0.5}, r"encoder_drop=0\.5"),
    ],
)
def test_options_that_pytorch_alone_serves(engine_runs: list[int], options: dict[str, object], shown: str) -> None:
    graph, images = build()
    assert_same(simulate(graph, images, **options), simulate(graph, images, engine="torch", **options))  # type: ignore[arg-type]
    assert engine_runs == []
    with pytest.raises(SimulationError, match=rf"^engine: 'cpp' cannot run with {shown}: use engine='torch'$"):
        simulate(graph, images, engine="cpp", **options)  # type: ignore[arg-type]


@needs_native
def test_graphs_that_pytorch_alone_runs(engine_runs: list[int]) -> None:
    graph, images = build()
    large = SpikingGraph(
        (
            *graph.nodes[:-2],
            Dense("big", graph.nodes[-2].inputs, graph.nodes[-2].arrays["weight"].astype(np.int64) << 30),
            Readout("readout", ("big",), np.zeros(3, np.int64)),
        ),
        graph.t_max,
    )
    floats = SpikingGraph((*graph.nodes[:-1], Readout("readout", graph.nodes[-1].inputs, np.zeros(3))), graph.t_max)
    for each, message in ((large, r"^big: its sums may reach .* 32 bits"), (floats, r"^readout\.bias: .*integers")):
        assert simulate(each, images).logits.shape == (5, 7, 3)
        with pytest.raises(GraphError, match=message):
            simulate(each, images, engine="cpp")
    assert engine_runs == []


def test_unknown_engine() -> None:
    graph, images = build()
    with pytest.raises(SimulationError, match=r"^engine: expected one of auto, cpp, torch, got 'gpu'$"):
        simulate(graph, images, engine="gpu")


@pytest.mark.parametrize("name", ["auto", "torch", "cpp"])
def test_the_same_errors_whatever_runs(name: str) -> None:
    graph, images = build()
    for wrong in (images[:0], images[0], images.float(), images[:, :1]):
        with pytest.raises(SimulationError, match=r"^images: expected uint8 \(batch, 2, 5, 4\)"):
            simulate(graph, wrong, engine=name)
    for steps in (0, -1, 6):
        with pytest.raises(SimulationError, match=r"^steps: expected 1 to T_max = 5"):
            simulate(graph, images, steps, engine=name)


def test_without_the_compiled_module_the_user_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    graph, images = build()
    expected = simulate(graph, images, engine="torch")
    monkeypatch.setattr(native_module, "_native", None)
    monkeypatch.setattr(native_module, "_reason", "not found", raising=False)
    native._say_once.cache_clear()
    for _ in range(2):
        assert_same(isospike.simulate(graph, images), expected)
    (told,) = [record.getMessage() for record in caplog.records]
    assert "PyTorch simulates" in told
    assert "install a C++20 compiler" in told
    with pytest.raises(SimulationError, match=r"^engine: .* install a C\+\+20 compiler"):
        simulate(graph, images, engine="cpp")
    native._say_once.cache_clear()
