"""Rate-coded graphs: the engine and the simulator are one, bit for bit."""

import os
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from isospike import engine, simulate
from isospike.engine.rate_ranges import bound_rate_ranges
from isospike.errors import GraphError, SimulationError
from isospike.graph import Dense, Flatten, IntegrateAndFire, MaxPool, Readout, SpikingGraph, load_graph, save_graph
from tests.engine.rate_graphs import RateBuilder, fits_rates, rate_graphs
from tests.engine.test_identity import assert_same
from tests.problems import chain, image, pixels, whole

needs_native = pytest.mark.skipif(not engine.is_available(), reason="isospike.engine was not compiled")
ISAS = engine.list_isas() if engine.is_available() else []


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Small convolutions are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def compare(graph: SpikingGraph, images: np.ndarray, steps: int, threads: int = 1) -> None:
    """The simulator in int64 and the engine on every instruction set."""
    simulation = simulate(graph, torch.from_numpy(images), steps, dtype="int64", keep_counts=True)
    for isa in ISAS:
        with mock.patch.dict(os.environ, {"ISOSPIKE_ISA": isa}):
            ready = engine.Engine(graph, steps)
        assert_same(ready.run(images, threads=threads, keep_counts=True), simulation)


@needs_native
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=rate_graphs(), full=st.booleans(), threads=st.sampled_from([1, 2, 3]), data=st.data())
def test_random_graphs(case: tuple[SpikingGraph, np.ndarray], full: bool, threads: int, data: st.DataObject) -> None:
    graph, images = case
    t_max = graph.t_max or 1
    steps = t_max if full else data.draw(st.integers(1, t_max))
    assume(fits_rates(graph, steps))
    compare(graph, images, steps, threads)


@needs_native
def test_random_graphs_are_awake() -> None:
    """What the property test draws does spike, in both directions, silences neurons, and holds every kind of node."""
    kinds = ("Add", "Concatenate", "MaxPool", "AveragePool", "Affine", "bias", "lower", "residual")
    seen = {"positive": 0, "negative": 0, "silenced": 0} | dict.fromkeys(kinds, 0)

    @settings(max_examples=100, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=rate_graphs())
    def look(case: tuple[SpikingGraph, np.ndarray]) -> None:
        graph, images = case
        assume(fits_rates(graph, graph.t_max or 1))
        record = engine.Engine(graph).run(images, threads=1)
        assert not record.settled.any()
        for name in [node.name for node in graph.spiking[1:]]:
            seen["positive"] += bool(record.positive[name].any())
            seen["negative"] += bool(record.negative[name].any())
        loud = [replace(each, residual=None) if isinstance(each, IntegrateAndFire) else each for each in graph]
        heard = engine.Engine(SpikingGraph(tuple(loud), graph.t_max, graph.tau)).run(images, threads=1)
        seen["silenced"] += not np.array_equal(heard.logits, record.logits)
        for kind in {type(node).__name__ for node in graph} | {field for node in graph for field in node.arrays}:
            if kind in kinds:
                seen[kind] += 1

    look()
    assert min(seen.values()) >= 5, seen


def build_signed(tau: int = 0) -> SpikingGraph:
    """One pixel p; neuron a takes ``3 p - 5``, theta 7, V_0 3; neuron b takes ``2 - a``, theta 2, V_0 1, lower 1."""
    nodes = chain(
        pixels(1, 1, 1),
        Flatten("flatten", ()),
        Dense("first", (), whole([[3]]), bias=whole([-5])),
        IntegrateAndFire("a", (), whole([7]), whole([3]), None, whole([4]) if tau else None),
        Dense("second", (), whole([[-6]]), bias=whole([2])),
        IntegrateAndFire("b", (), whole([2]), whole([1]), whole([1])),
        Dense("classifier", (), whole([[5], [-1]])),
        Readout("readout", (), whole([0, 2]), 0.5),
        t_max=6,
    ).nodes
    return SpikingGraph(nodes, 6, tau)


def run_both(graph: SpikingGraph, steps: int) -> dict[str, list[object]]:
    """The pixel 3: what the simulator says, and that the engine says it too."""
    pixel = image([[3]])
    run = simulate(graph, pixel, steps, engine="torch", keep_counts=True)
    if engine.is_available():
        assert_same(engine.Engine(graph, steps).run(pixel.numpy(), keep_counts=True), run)
    fields = {
        f"{sign}{name}": spikes[:, 0].tolist()
        for sign, each in (("+", run.positive), ("-", run.negative))
        for name, spikes in each.items()
    }
    sops = {f"sops {name}": each[:, 0].tolist() for name, each in run.sops.items()}
    return {**fields, **sops, "logits": run.logits[:, 0].tolist(), "counts": [int(run.counts[n]) for n in ("a", "b")]}


def test_neurons_worked_out_by_hand() -> None:
    # a: I = 4: 3 | 7 -> 0 * | 4 | 8 -> 1 * | 5 | 9 -> 2 * | 6
    # b: I = 2 - 6 a: 1 | -3 (no spike to take back) | -1 | -5 | -3 | -7 | -5
    found = run_both(build_signed(), 6)
    assert found["+a"] == [1, 0, 1, 0, 1, 0]
    assert found["+b"] == found["-b"] == [0] * 6
    assert found["logits"] == [[0, 2 * t] for t in range(1, 7)]


def test_signed_neuron_worked_out_by_hand() -> None:
    # a with V_0 = -5: -5 | -1 | 3 | 7 -> 0 * | 4 | 8 -> 1 * | 5
    # b: 1 | 3 -> 1 + | 3 -> 1 + | -3 -> -1 - | 1 (not below 1) | -3 -> -1 - | 1
    nodes = [replace(each, initial=whole([-5])) if each.name == "a" else each for each in build_signed()]
    found = run_both(SpikingGraph(tuple(nodes), 6), 6)
    assert found["+a"] == [0, 0, 1, 0, 1, 0]
    assert found["+b"] == [1, 1, 0, 0, 0, 0]
    assert found["-b"] == [0, 0, 1, 0, 1, 0]
    # logits (5 b, -b) summed, and 2 t
    assert found["logits"] == [[5, 1], [10, 2], [5, 5], [5, 7], [0, 10], [0, 12]]
    assert found["counts"] == [2, 0]
    assert found["sops second"] == [0, 0, 1, 0, 1, 0]
    assert found["sops classifier"] == [2, 2, 2, 0, 2, 0]


def test_silencing_worked_out_by_hand() -> None:
    # tau 2: a: 3 | 0 * | 4, which is not above its residual 4: silenced, though it goes on. b alone: I = 2 afterwards
    # before: b: 1 | -3 | -1; after: 1 | 3 -> 1 + at every step
    found = run_both(build_signed(tau=2), 3)
    assert found["+a"] == [1, 0, 0]  # the one before the steps that count
    assert found["+b"] == [1, 1, 1]
    assert found["logits"] == [[5, 1], [10, 2], [15, 3]]
    assert found["counts"] == [0, 3]
    assert found["sops second"] == [1, 0, 0]


@needs_native
def test_auto_runs_the_engine_and_a_file_keeps_the_graph(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{tmp_path}/snn.safetensors"
    save_graph(build_signed(tau=2), path)
    graph, batches = load_graph(path), []
    run = engine.Engine.run
    monkeypatch.setattr(engine.Engine, "run", lambda self, *a, **k: batches.append(1) or run(self, *a, **k))
    auto, plain = (simulate(graph, image([[3]]), engine=name).logits for name in ("auto", "torch"))
    assert torch.equal(auto, plain) and batches == [1]
    with pytest.raises(SimulationError, match="propagation=layer-per-step"):
        simulate(graph, image([[3]]), engine="cpp", propagation="layer-per-step")


@needs_native
def test_what_does_not_fit_is_refused() -> None:
    def change(name: str, **values: object) -> SpikingGraph:
        nodes = [replace(each, **values) if each.name == name else each for each in build_signed()]  # type: ignore[arg-type]
        return SpikingGraph(tuple(nodes), 6)

    refused = {
        "first: its sums may reach": change("first", weight=whole([[2**24]])),
        "first: its sums": change("first", bias=whole([2**62])),
        "readout: its sums may reach .* in 6 time steps": change("readout", bias=whole([2**29, 0])),
        "a: potentials of": change("a", threshold=whole([2**51])),
        "a.threshold: the engine expects integers": change("a", threshold=np.array([1.5])),
    }
    for message, graph in refused.items():
        with pytest.raises(GraphError, match=message):
            engine.Engine(graph)
    assert bound_rate_ranges(change("readout", bias=whole([2**29, 0])), 3)
    assert simulate(change("readout", bias=whole([2**29, 0])), image([[3]])).logits[-1, 0, 0] == 6 * 2**29


@needs_native
def test_pools_of_pixels_are_refused() -> None:
    builder = RateBuilder(np.random.default_rng(0), 4)
    builder.add_input(1, 4, 4)
    builder.add(MaxPool(*builder.follow("max"), (2, 2), (2, 2), (0, 0), 1))
    builder.add_neurons(False, False)
    graph = builder.finish_rates(2, 0)
    with pytest.raises(GraphError, match="no max pool of pixels"):
        engine.Engine(graph)
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    assert simulate(graph, images).logits.shape == (4, 2, 2)


def test_types_that_are_not_exact_are_refused() -> None:
    graph = build_signed()
    wide = [replace(each, weight=whole([[2**20]])) if each.name == "first" else each for each in graph]
    with pytest.raises(SimulationError, match="float32: sums of this graph need"):
        simulate(SpikingGraph(tuple(wide), 6), image([[3]]), dtype="float32")
    assert torch.equal(*(simulate(graph, image([[3]]), dtype=name).logits for name in ("float32", "int64")))
