"""What the engine refuses, and how it says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isospike import engine
from isospike.engine import native_module, running
from isospike.errors import FileError, GraphError, SimulationError
from isospike.graph import Add, CountingNeuron, Node, SpikingGraph, load_graph, save_graph
from tests.engine.graphs import GraphBuilder

needs_native = pytest.mark.skipif(not engine.is_available(), reason="isospike.engine was not compiled")
IMAGES = np.zeros((2, 2, 5, 4), dtype=np.uint8)


@pytest.fixture
def graph() -> SpikingGraph:
    """A small integer graph for IMAGES."""
    builder = GraphBuilder(np.random.default_rng(3), 4)
    builder.add_input(2, 5, 4)
    builder.add_convolution(6, wide=True)
    builder.add_neuron(4, 1, table=False)
    builder.add_convolution(8)
    builder.add_neuron(None, 1, table=True)
    return builder.finish(3)


def change(graph: SpikingGraph, position: int, **values: object) -> SpikingGraph:
    """The graph with one node changed."""
    nodes: list[Node] = list(graph.nodes)
    nodes[position] = replace(nodes[position], **values)  # type: ignore[arg-type]
    return SpikingGraph(tuple(nodes), graph.t_max)


@needs_native
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES.astype(np.float32), "float32"),
        (IMAGES.astype(np.int8), "int8"),
        (IMAGES[:0], r"\(0, 2, 5, 4\)"),
        (IMAGES[0], r"\(2, 5, 4\)"),
        (IMAGES[:, :1], r"\(2, 1, 5, 4\)"),
        (IMAGES.swapaxes(2, 3), r"\(2, 2, 4, 5\)"),
        (IMAGES.tolist(), "list"),
    ],
)
def test_images(graph: SpikingGraph, images: np.ndarray, message: str) -> None:
    with pytest.raises(SimulationError, match=rf"^images: expected uint8 .* got .*{message}"):
        engine.run(graph, images)


@needs_native
@pytest.mark.parametrize("steps", [0, -1, 5, 1.0, True])
def test_steps(graph: SpikingGraph, steps: int) -> None:
    with pytest.raises(SimulationError, match=r"^steps: expected 1 to T_max = 4"):
        engine.run(graph, IMAGES, steps)


@needs_native
@pytest.mark.parametrize("threads", [0, -2, 1.5])
def test_threads(graph: SpikingGraph, threads: int) -> None:
    with pytest.raises(SimulationError, match=r"^threads: expected at least 1"):
        engine.run(graph, IMAGES, threads=threads)


def test_threads_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert native_module.choose_threads(None) == 3
    assert native_module.choose_threads(5) == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert native_module.choose_threads(None) >= 1


@needs_native
def test_unknown_isa(graph: SpikingGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOSPIKE_ISA", "mmx")
    with pytest.raises(SimulationError, match=r"^ISOSPIKE_ISA: expected one of .*, got 'mmx'"):
        engine.run(graph, IMAGES)


def test_no_native_module(graph: SpikingGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_module, "_native", None)
    monkeypatch.setattr(native_module, "_reason", "not found", raising=False)
    assert not engine.is_available()
    with pytest.raises(SimulationError, match=r"^engine: .* install a C\+\+20 compiler"):
        engine.run(graph, IMAGES)


@needs_native
def test_floats(graph: SpikingGraph) -> None:
    floats = change(graph, 3, weight=graph.nodes[3].arrays["weight"].astype(np.float64))
    with pytest.raises(GraphError, match=r"^conv3\.weight: the engine expects integers, got float64"):
        engine.run(floats, IMAGES)


@needs_native
def test_float_images(graph: SpikingGraph) -> None:
    with pytest.raises(GraphError, match=r"^input0: the engine expects pixels"):
        engine.run(change(graph, 0, floats=True), IMAGES)


@needs_native
@pytest.mark.parametrize("factor", [2**30, 2**40, 2**62])
def test_more_than_32_bits(graph: SpikingGraph, factor: int) -> None:
    large = change(graph, 3, weight=graph.nodes[3].arrays["weight"].astype(np.int64) * factor)
    with pytest.raises(GraphError, match=r"^conv3: its sums may reach .* 32 bits"):
        engine.run(large, IMAGES)


@needs_native
def test_hostile_neurons(graph: SpikingGraph) -> None:
    neuron = graph.nodes[2]
    assert isinstance(neuron, CountingNeuron)
    huge = np.full(len(neuron.threshold), 2**63 - 1)
    for values in ({"threshold": huge}, {"threshold": -huge}, {"step": huge}, {"limit": 2**70}, {"levels": 2**70}):
        record = engine.run(change(graph, 2, **values), IMAGES)
        assert record.logits.shape == (4, 2, 3)
    with pytest.raises(GraphError, match=r"^spike2: "):
        engine.run(change(graph, 2, limit=2**70, levels=None), IMAGES)
    with pytest.raises(GraphError, match=r"^spike2: expected whole numbers"):
        engine.run(change(graph, 2, limit=1.5), IMAGES)


@needs_native
@pytest.mark.parametrize("size", [2**31, 2**40, 2**62])
def test_hostile_branches(graph: SpikingGraph, size: int) -> None:
    conv, neuron = graph.nodes[3], graph.nodes[4]
    add = Add("add", (conv.name, conv.name), np.full((2, 8), size))
    nodes = (*graph.nodes[:4], add, replace(neuron, inputs=("add",)), *graph.nodes[5:])
    with pytest.raises(GraphError, match=r"^add: its sums may reach .* 32 bits"):
        engine.run(SpikingGraph(nodes, graph.t_max), IMAGES)
    start = np.full(graph.shapes[neuron.name], -size)
    with pytest.raises(GraphError, match=rf"^{neuron.name}: its sums may reach .* 32 bits"):
        engine.run(change(graph, 4, start=start), IMAGES)
    with pytest.raises(GraphError, match=r"^add\.gains: the engine expects integers, got float64"):
        floats = replace(add, gains=np.ones((2, 8)))
        engine.run(SpikingGraph((*nodes[:4], floats, *nodes[5:]), graph.t_max), IMAGES)


@needs_native
def test_table_must_rise(graph: SpikingGraph) -> None:
    table = graph.nodes[4].arrays["threshold"][:, ::-1] * 3 + np.arange(12)[::-1]
    with pytest.raises(GraphError, match=r"^spike4\.threshold: expected a table that rises"):
        engine.run(change(graph, 4, threshold=np.ascontiguousarray(table)), IMAGES)


@needs_native
def test_hostile_geometry(graph: SpikingGraph) -> None:
    for values in ({"padding": (2**20, 0)}, {"stride": (2**40, 1)}, {"dilation": (2**40, 1)}):
        with pytest.raises(GraphError, match=r"^(conv3|dense6): "):
            engine.run(change(graph, 3, **values), IMAGES)


@needs_native
def test_damaged_file(graph: SpikingGraph, tmp_path: Path) -> None:
    path = tmp_path / "snn.safetensors"
    save_graph(graph, path)
    expected = engine.run(load_graph(path), IMAGES)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match="truncated"):
        load_graph(path)
    path.write_bytes(content.replace(b'"stride": [', b'"stride": [7', 1))
    try:
        record = engine.run(load_graph(path), IMAGES)
    except (FileError, GraphError) as error:
        assert str(path) in str(error)
    else:
        assert record.logits.shape == expected.logits.shape


@needs_native
def test_engines_of_many_graphs_are_not_kept(graph: SpikingGraph) -> None:
    for _ in range(5):
        engine.run(replace(graph), IMAGES, 2)
    assert len(running._ready) <= 2
    assert running.prepare(graph, 2) is running.prepare(graph, 2)
    assert running.prepare(graph, 2) is not running.prepare(graph, 3)
