"""The engine is the simulator, bit for bit."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from isospike import engine, simulate
from isospike.engine import EngineRecord
from isospike.graph import (
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)
from isospike.simulator import Simulation
from tests.engine.graphs import GraphBuilder, fits, graphs

pytestmark = pytest.mark.skipif(not engine.is_available(), reason="isospike.engine was not compiled")
ISAS = engine.list_isas() if engine.is_available() else []


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Small convolutions are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_same(record: EngineRecord, simulation: Simulation) -> None:
    """Every logit, spike, synaptic operation, agreement and count."""
    np.testing.assert_array_equal(record.logits, simulation.logits.numpy())
    np.testing.assert_array_equal(record.settled, simulation.settled.numpy())
    for name in ("positive", "negative", "sops", "counts"):
        ours, theirs = getattr(record, name), getattr(simulation, name)
        assert list(ours) == list(theirs)
        for node, tensor in theirs.items():
            np.testing.assert_array_equal(ours[node], tensor.numpy(), err_msg=f"{name} of {node}")


def run_on(isa: str, graph: SpikingGraph, images: np.ndarray, steps: int, threads: int = 1) -> EngineRecord:
    """The engine on one instruction set."""
    with mock.patch.dict(os.environ, {"ISOSPIKE_ISA": isa}):
        ready = engine.Engine(graph, steps)
    return ready.run(images, threads=threads, keep_counts=True)


def compare(graph: SpikingGraph, images: np.ndarray, steps: int, threads: int = 1) -> None:
    """The simulator and the engine on every instruction set."""
    simulation = simulate(graph, torch.from_numpy(images), steps, dtype="int64", keep_counts=True)
    for isa in ISAS:
        assert_same(run_on(isa, graph, images, steps, threads), simulation)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=graphs(), full=st.booleans(), threads=st.sampled_from([1, 2, 3]), data=st.data())
def test_random_graphs(case: tuple[SpikingGraph, np.ndarray], full: bool, threads: int, data: st.DataObject) -> None:
    graph, images = case
    t_max = graph.t_max or 1
    steps = t_max if full else data.draw(st.integers(1, t_max))
    assume(fits(graph, steps))
    compare(graph, images, steps, threads)


@pytest.mark.parametrize("out", [64, 200, 384, 512])
def test_lists_longer_than_a_counter(out: int) -> None:
    """More spikes in a receptive field than the counters of one pass hold, of both signs."""
    builder = GraphBuilder(np.random.default_rng(out), 6)
    builder.add_input(1, 8, 8)
    builder.add_convolution(80, wide=True)
    builder.add_neuron(4, 2, table=False)
    builder.add_convolution(100)
    builder.add_neuron(None, 2, table=False)
    builder.add_dense(out)
    builder.add_neuron(None, 2, table=False)
    graph = builder.finish(7)
    images = builder.rng.integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    compare(graph, images, 6)


def test_neurons_and_pools_on_pixels() -> None:
    """Graphs that no method makes, but that are graphs: neurons on the pixels, pools on pools, neurons on neurons."""
    builder = GraphBuilder(np.random.default_rng(0), 5)
    builder.add_input(2, 6, 5)
    builder.add(MaxPool(*builder.follow("max"), (2, 2), (1, 1), (1, 1), 3))
    builder.add_neuron(None, 1, table=False)
    builder.add(MaxPool(*builder.follow("max"), (2, 2), (2, 2), (0, 0), 1))
    builder.add_pool("avg", 1)
    builder.add(Flatten(*builder.follow("flatten")))
    builder.add(Flatten(*builder.follow("flatten")))
    builder.add_neuron(3, 1, table=False)
    graph = builder.finish(3)
    images = builder.rng.integers(0, 256, (4, 2, 6, 5), dtype=np.uint8)
    compare(graph, images, 5, 2)


def test_batches_join() -> None:
    """More images than the engine takes at once."""
    builder = GraphBuilder(np.random.default_rng(1), 3)
    builder.add_input(1, 2, 2)
    builder.add_convolution(3, wide=True)
    builder.add_neuron(2, 1, table=False)
    graph = builder.finish(2)
    images = builder.rng.integers(0, 256, (1100, 1, 2, 2), dtype=np.uint8)
    done: list[int] = []
    record = engine.run(graph, images[::2], 3, threads=2, keep_counts=True, on_batch=done.append)
    assert_same(record, simulate(graph, torch.from_numpy(images[::2].copy()), 3, dtype="int64", keep_counts=True))
    assert done == [512, 550]
    np.testing.assert_array_equal(record.predictions, record.logits.argmax(2))


def test_one_engine_serves_several_threads_at_once() -> None:
    """Runs share a network but no state, and what a run leaves behind changes nothing for the next."""
    builder = GraphBuilder(np.random.default_rng(4), 6)
    builder.add_input(2, 7, 7)
    builder.add_convolution(40, wide=True)
    builder.add_neuron(4, 1, table=False)
    builder.add_convolution(70)
    builder.add_neuron(None, 1, table=False)
    graph = builder.finish(5)
    batches = [builder.rng.integers(0, 256, (9, 2, 7, 7), dtype=np.uint8) for _ in range(12)]
    ready = engine.Engine(graph)
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda images: ready.run(images, threads=2, keep_counts=True), batches))
    for images, record in zip(batches, records, strict=True):
        assert_same(record, simulate(graph, torch.from_numpy(images), engine="torch", keep_counts=True))


def test_random_graphs_are_awake() -> None:
    """What the property test draws does spike, in both directions, in bit-sliced and in other layers."""
    kinds = ("Add", "Concatenate", "MaxPool", "start", "signs")
    seen = {"positive": 0, "negative": 0, "settled": 0, "unsettled": 0, "sliced": 0} | dict.fromkeys(kinds, 0)

    @settings(max_examples=120, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=graphs())
    def look(case: tuple[SpikingGraph, np.ndarray]) -> None:
        graph, images = case
        assume(fits(graph, graph.t_max or 1))
        ready = engine.Engine(graph)
        record = ready.run(images, threads=1)
        deep = [node.name for node in graph.spiking[1:]]
        seen["positive"] += sum(bool(record.positive[name].any()) for name in deep)
        seen["negative"] += sum(bool(record.negative[name].any()) for name in deep)
        seen["settled"] += bool(record.settled[-1].all())
        seen["unsettled"] += not record.settled.all()
        seen["sliced"] += any(isinstance(graph[name], CountingNeuron) for name in deep)
        for kind in {type(node).__name__ for node in graph} | {name for node in graph for name in node.arrays}:
            if kind in kinds:
                seen[kind] += 1

    look()
    assert min(seen.values()) >= 5, seen


def test_neurons_in_another_order_than_their_synapses() -> None:
    ternary = np.random.default_rng(0).choice(np.array([-1, 0, 1], dtype=np.int8), (3, 2, 3, 3))

    def neuron(name: str, source: str, channels: int, levels: int) -> CountingNeuron:
        threshold = np.arange(1, channels + 1)
        return CountingNeuron(name, (source,), threshold, np.full(channels, 2), 0, levels, 1)

    nodes: tuple[Node, ...] = (
        Input("pixels", (), (1, 6, 6), 1, np.array([100])),
        Convolution("encoder", ("pixels",), np.array([[[[1]]], [[[-1]]]], dtype=np.int8)),
        neuron("spikes", "encoder", 2, 9),
        Convolution("one", ("spikes",), ternary, padding=(1, 1)),
        Convolution("other", ("spikes",), np.concatenate([ternary, -ternary]), padding=(1, 1)),
        neuron("other.neuron", "other", 6, 5),
        MaxPool("pool", ("other.neuron",), (2, 2), (2, 2), limit=1),
        neuron("one.neuron", "one", 3, 7),
        MaxPool("one.pool", ("one.neuron",), (2, 2), (2, 2), limit=1),
        Concatenate("both", ("one.pool", "pool")),
        Flatten("flatten", ("both",)),
        Dense("classifier", ("flatten",), np.ones((2, 81), dtype=np.int8)),
        Readout("readout", ("classifier",), np.zeros(2, dtype=np.int64)),
    )
    graph = SpikingGraph(nodes, 20)
    images = np.random.default_rng(1).integers(0, 256, (5, 1, 6, 6), dtype=np.uint8)
    compare(graph, images, 20)
