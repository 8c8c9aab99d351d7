"""The compiled module checks what it is given, whoever calls it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isospike import engine
from isospike.engine.native_module import require_native
from isospike.graph import save_graph
from tests.engine.graphs import GraphBuilder

pytestmark = pytest.mark.skipif(not engine.is_available(), reason="isospike.engine was not compiled")
ONE = ((1, 1), (0, 0), (1, 1), 1)
BOUNDS = (np.full(3, -9, np.int32), np.full(3, 9, np.int32))
FIRST = np.ones((2, 3), np.int32)
NONE = np.zeros(0, np.int32)
SIGNS = np.ones(3, np.int32)


@pytest.fixture
def network() -> Any:
    """Pixels (2, 4, 4), a convolution and neurons, of 3 channels."""
    network = require_native().Network(3, "")
    assert network.add_input((2, 4, 4), np.zeros(2, np.int32)) == 0
    assert network.add_convolution(0, np.ones((3, 2, 1, 1), np.int32), *ONE) == 1
    assert network.add_neuron(1, FIRST, *BOUNDS, 1, NONE) == 2
    return network


def test_node_numbers(network: Any) -> None:
    with pytest.raises(ValueError, match="no node has this number"):
        network.add_flatten(3)
    with pytest.raises(TypeError):
        network.add_flatten(-1)


@pytest.mark.parametrize(
    ("weight", "settings", "error"),
    [
        (np.ones((3, 2, 1, 1), np.int64), ONE, TypeError),
        (np.ones((3, 2, 1), np.int32), ONE, TypeError),
        (np.ones((3, 2, 2, 2), np.int32)[..., ::2], ONE, TypeError),
        (np.ones((3, 3, 1, 1), np.int32), ONE, ValueError),
        (np.ones((3, 2, 5, 1), np.int32), ONE, ValueError),
        (np.ones((0, 2, 1, 1), np.int32), ONE, ValueError),
        (np.ones((3, 2, 0, 1), np.int32), ONE, ValueError),
        (np.ones((3, 2, 1, 1), np.int32), ((0, 1), (0, 0), (1, 1), 1), ValueError),
        (np.ones((3, 2, 1, 1), np.int32), ((1, 1), (-1, 0), (1, 1), 1), ValueError),
        (np.ones((3, 2, 1, 1), np.int32), ((1, 1), (0, 0), (0, 1), 1), ValueError),
        (np.ones((3, 2, 1, 1), np.int32), ((1, 1), (0, 0), (1, 1), 2), ValueError),
        (np.ones((3, 2, 1, 1), np.int32), ((1, 1), (0, 0), (1, 1), 0), ValueError),
    ],
)
def test_convolutions(network: Any, weight: np.ndarray, settings: tuple, error: type[Exception]) -> None:
    with pytest.raises(error):
        network.add_convolution(0, weight, *settings)


@pytest.mark.parametrize(
    ("first", "low", "high", "limit"),
    [
        (np.ones((2, 4), np.int32), *BOUNDS, 1),
        (np.ones((0, 3), np.int32), *BOUNDS, 1),
        (FIRST, BOUNDS[0][:2], BOUNDS[1], 1),
        (FIRST * 11, *BOUNDS, 1),
        (FIRST * -10, *BOUNDS, 1),
        (FIRST * np.array([[2], [1]], np.int32), *BOUNDS, 1),
        (FIRST, BOUNDS[1], BOUNDS[1], 1),
        (FIRST, *BOUNDS, 0),
        (FIRST, *BOUNDS, 3),
    ],
)
def test_neurons(network: Any, first: np.ndarray, low: np.ndarray, high: np.ndarray, limit: int) -> None:
    with pytest.raises(ValueError):
        network.add_neuron(1, first, low, high, limit, NONE)


def test_ternary_layers(network: Any) -> None:
    weight = np.ones((3, 3, 1, 1), np.int8)
    with pytest.raises(ValueError, match="expected -1, 0 and 1"):
        network.add_ternary(2, weight * 2, *ONE, FIRST, *BOUNDS, 1)
    with pytest.raises(ValueError, match="its source must give few enough spikes"):
        network.add_ternary(1, weight, *ONE, FIRST, *BOUNDS, 1)


def test_branches(network: Any) -> None:
    six = np.ones(6, np.int32)
    with pytest.raises(ValueError, match="signals of one shape"):
        network.add_sum([0, 2], six)
    with pytest.raises(ValueError, match="one per branch and channel"):
        network.add_sum([1, 2], six[:5])
    with pytest.raises(ValueError, match="expected 1 to 1024"):
        network.add_sum([], NONE)
    with pytest.raises(ValueError, match="no node has this number"):
        network.add_concatenation([2, 3])
    with pytest.raises(ValueError, match="expected 1 to 1024"):
        network.add_concatenation([])
    half = network.add_convolution(2, np.ones((3, 3, 1, 1), np.int32), (2, 2), (0, 0), (1, 1), 1)
    with pytest.raises(ValueError, match="feature maps of one size"):
        network.add_concatenation([2, half])
    with pytest.raises(ValueError, match="expected one per neuron"):
        network.add_neuron(1, FIRST, *BOUNDS, 1, np.zeros(3, np.int32))
    assert network.gives_spikes(network.add_concatenation([2, 2]))
    assert not network.gives_spikes(network.add_concatenation([2, 1]))
    assert not network.gives_spikes(network.add_sum([2, 2], six))


def test_pools_and_readouts(network: Any) -> None:
    with pytest.raises(ValueError, match="padding must be at most half"):
        network.add_max_pool(2, (2, 2), (1, 1), (2, 0), 1, SIGNS)
    with pytest.raises(ValueError, match="limit of 1 to 65535"):
        network.add_max_pool(2, (2, 2), (1, 1), (0, 0), 0, SIGNS)
    for signs in (SIGNS[:2], SIGNS * 2, SIGNS * 0):
        with pytest.raises(ValueError, match="sign"):
            network.add_max_pool(2, (2, 2), (1, 1), (0, 0), 1, signs)
    with pytest.raises(ValueError, match="got a feature map"):
        network.add_readout(2, np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="one number per position"):
        network.add_work(2, np.zeros(15, np.int64))
    with pytest.raises(ValueError, match="gives no spikes"):
        network.add_work(1, np.zeros(16, np.int64))


def test_runs(network: Any) -> None:
    images = np.zeros((1, 2, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="no readout"):
        network.run(images, 1, False)
    network.add_readout(network.add_convolution(2, np.ones((2, 3, 4, 4), np.int32), *ONE), np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="shape does not fit"):
        network.run(images[:, :1].copy(), 1, False)
    with pytest.raises(TypeError):
        network.run(np.zeros((1, 2, 4, 8), np.uint8)[..., ::2], 1, False)
    with pytest.raises(TypeError):
        network.run(images.astype(np.int8), 1, False)
    with pytest.raises(ValueError, match="threads"):
        network.run(images, 0, False)
    assert network.run(images, 2, True)[0].shape == (3, 1, 2)


def test_no_torch(tmp_path: Path) -> None:
    """A run needs the graph file and NumPy alone."""
    builder = GraphBuilder(np.random.default_rng(2), 2)
    builder.add_input(1, 3, 3)
    builder.add_convolution(4, wide=True)
    builder.add_neuron(2, 1, table=False)
    save_graph(builder.finish(2), tmp_path / "snn.safetensors")
    program = (
        "import sys, numpy, isospike.engine, isospike.graph\n"
        f"graph = isospike.graph.load_graph({str(tmp_path / 'snn.safetensors')!r})\n"
        "isospike.engine.run(graph, numpy.zeros((1, 1, 3, 3), numpy.uint8))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_rate_coded_nodes(network: Any) -> None:
    """Potentials within 2^50, thresholds above 0, one number per channel."""
    fine, empty = np.full(3, 5, np.int64), np.zeros(0, np.int64)
    network.add_integrate_and_fire(1, fine, fine, empty, fine)
    refused = [
        (fine * 0, fine, empty, empty),
        (fine, fine[:2], empty, empty),
        (fine, fine, fine[:2], empty),
        (empty, fine, empty, empty),
        (fine, fine << 50, empty, empty),
        (fine, fine, empty, -fine << 50),
    ]
    for potentials in refused:
        with pytest.raises(ValueError, match=r"potentials: |threshold: "):
            network.add_integrate_and_fire(1, *potentials)
    with pytest.raises(TypeError):
        network.add_integrate_and_fire(1, fine.astype(np.int32), fine, empty, empty)
    with pytest.raises(ValueError, match="affine: "):
        network.add_affine(1, np.ones(3, np.int32), np.ones(2, np.int32))
    held = require_native().Network(3, "", True, 1)
    held.add_input((2, 4, 4), np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="max pool: its source is the same at every step"):
        held.add_max_pool(0, (2, 2), (2, 2), (0, 0), 1, SIGNS[:2])
    with pytest.raises(ValueError, match="restart: "):
        require_native().Network(3, "", True, 3)


SIGNAL, TAPS = np.zeros((2, 4, 4, 3)), np.ones((3, 3, 3, 5))


@pytest.mark.parametrize(
    ("signal", "taps", "settings", "error", "words"),
    [
        (SIGNAL.astype(np.float32), TAPS, ONE[:3], TypeError, "incompatible"),
        (SIGNAL[..., 0], TAPS, ONE[:3], TypeError, "incompatible"),
        (SIGNAL[:, ::2], TAPS, ONE[:3], TypeError, "incompatible"),
        (SIGNAL, TAPS[:, :, :2].copy(), ONE[:3], ValueError, "weight: expected a row for each channel"),
        (SIGNAL, np.ones((5, 3, 3, 5)), ONE[:3], ValueError, "kernel: does not fit"),
        (SIGNAL, np.ones((0, 3, 3, 5)), ONE[:3], ValueError, "kernel: 1 to 32768"),
        (SIGNAL, TAPS, ((0, 1), (0, 0), (1, 1)), ValueError, "stride: "),
        (SIGNAL, TAPS, ((1, 1), (0, -1), (1, 1)), ValueError, "padding: "),
        (SIGNAL, TAPS, ((1, 1), (0, 0), (1, 0)), ValueError, "dilation: "),
    ],
)
def test_float_convolutions(
    signal: np.ndarray, taps: np.ndarray, settings: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    assert require_native().scatter(SIGNAL, TAPS, *ONE[:3], 2, "").shape == (2, 2, 2, 5)
    with pytest.raises(error, match=words):
        require_native().scatter(signal, taps, *settings, 2, "")


@pytest.mark.parametrize("out", [1, 7, 67, 131])
@pytest.mark.parametrize("isa", engine.list_isas() if engine.is_available() else [])
def test_float_convolutions_add_rows_of_weights(isa: str, out: int) -> None:
    chance = np.random.default_rng(0)
    signal = chance.integers(-2, 3, (5, 6, 7, 3)) * (chance.random((5, 6, 7, 3)) < 0.3) * 1.0
    taps = chance.standard_normal((3, 2, 3, out))
    found = require_native().scatter(signal, taps, (2, 1), (1, 2), (2, 3), 3, isa)
    padded = np.pad(signal, ((0, 0), (1, 1), (2, 2), (0, 0)))
    expected = np.zeros((5, 2, 8, out))  # rows (6 + 2 - 4 - 1) // 2 + 1, columns 7 + 4 - 3 - 1 + 1
    for y in range(3):
        for x in range(2):
            expected += padded[:, 2 * y : 2 * y + 3 : 2, 3 * x : 3 * x + 8] @ taps[y, x]
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=0, atol=1e-12)


def test_float_convolutions_need_a_thread_and_a_known_instruction_set() -> None:
    with pytest.raises(ValueError, match="threads: "):
        require_native().scatter(SIGNAL, TAPS, *ONE[:3], 0, "")
    with pytest.raises(ValueError, match="ISOSPIKE_ISA: "):
        require_native().scatter(SIGNAL, TAPS, *ONE[:3], 1, "sse9")


STATE = np.zeros((4, 6, 5))


def step_counting(**changes: Any) -> np.ndarray:
    """Neurons of 4 images, 6 positions, 5 channels."""
    given = {"membrane": STATE.copy(), "count": STATE.copy(), "spikes": STATE.copy(), "fired": STATE[..., 0].copy()}
    given |= {
        "current": STATE.copy(),
        "threshold": np.arange(5.0),
        "step": np.arange(1.0, 6.0),
        "scale": 1.0,
        "levels": 3.0,
        "limit": 1.0,
    }
    given |= {"threads": 2, "isa": ""}
    return require_native().step_counting_neurons(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"membrane": STATE.astype(np.float32)}, TypeError, "incompatible"),
        ({"membrane": STATE[:, ::2]}, TypeError, "incompatible"),
        ({"current": np.zeros((4, 5, 6)).transpose(0, 2, 1)}, TypeError, "incompatible"),
        ({"membrane": None}, TypeError, "incompatible"),
        ({"count": STATE[:3].copy()}, ValueError, "count: expected the shape of the membrane"),
        ({"spikes": np.zeros((4, 5, 6))}, ValueError, "spikes: expected the shape of the membrane"),
        ({"current": np.zeros((4, 6, 4))}, ValueError, "current: expected the shape of the membrane"),
        ({"fired": np.zeros((4, 5))}, ValueError, "fired: expected a number for each position"),
        ({"threshold": np.zeros(4)}, ValueError, "thresholds: expected one for each channel"),
        ({"step": np.ones(6)}, ValueError, "thresholds: expected one for each channel"),
        ({"threads": 0}, ValueError, "threads: "),
        ({"isa": "sse9"}, ValueError, "ISOSPIKE_ISA: "),
    ],
)
def test_counting_neurons(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    assert step_counting().shape == (4, 3)
    with pytest.raises(error, match=words):
        step_counting(**changes)


@pytest.mark.parametrize(("channels", "places"), [(1, 4), (8, 4), (13, 4), (70, 120)])  # the last on several threads
@pytest.mark.parametrize("isa", engine.list_isas() if engine.is_available() else [])
def test_counting_neurons_fire_what_is_missing(isa: str, channels: int, places: int) -> None:
    chance = np.random.default_rng(0)
    first, step = chance.standard_normal(channels), chance.random(channels) + 0.1
    membrane, count = np.zeros((9, places, channels)), np.zeros((9, places, channels))
    spikes, fired = np.empty_like(membrane), np.empty((9, places))
    for current in (*(chance.standard_normal((4, *membrane.shape)) * 2), None):
        state, before = membrane + (0 if current is None else current), count.copy()
        totals = require_native().step_counting_neurons(
            membrane, count, spikes, fired, current, first, step, 4.0, 7.0, 2.0, 3, isa
        )
        deserved = np.clip(np.floor((4 * state - first) / step) + 1, 0, 7)
        assert np.array_equal(membrane, state)
        assert np.array_equal(spikes, np.clip(deserved - before, -2, 2))
        assert np.array_equal(count, before + spikes)
        assert np.array_equal(fired, np.abs(spikes).sum(2))
        sums = (np.abs(spikes), spikes, np.abs(deserved - count))
        assert np.array_equal(totals, np.stack([each.sum((1, 2)) for each in sums], 1))
