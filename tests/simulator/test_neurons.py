"""Neurons as pure step functions."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isospike.errors import SimulationError
from isospike.graph import CountingNeuron, MaxPool
from isospike.simulator.neurons import deserve_count, fire, make_thresholds, pool_counts
from tests.problems import real, whole

CPU = torch.device("cpu")


def _count(node: CountingNeuron, membrane: list[int], dtype: torch.dtype, bits: int = 24) -> list[int]:
    """Counts of one channel at several membrane potentials."""
    v = torch.tensor(membrane, dtype=dtype).view(-1, 1)
    return deserve_count(v, make_thresholds(node, 2, dtype, bits, CPU)).flatten().to(torch.int64).tolist()


def test_float_thresholds_by_hand() -> None:
    node = CountingNeuron("neuron", (), real([1.5]), real([2]), None, 3, 1)
    # thresholds 1.5, 3.5, 5.5, and no more
    assert _count(node, [-9, 1, 2, 3, 4, 5, 6, 7, 8, 99], torch.float64) == [0, 0, 1, 1, 2, 2, 3, 3, 3, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_integer_thresholds_by_hand(dtype: torch.dtype) -> None:
    # 3/4, 9/4, 15/4: first integers 1, 3, 4
    node = CountingNeuron("neuron", (), whole([3]), whole([6]), 2, 3, 1)
    assert _count(node, [-2, 0, 1, 2, 3, 4, 5], dtype) == [0, 0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_table_by_hand(dtype: torch.dtype) -> None:
    node = CountingNeuron("neuron", (), whole([[1, 3, 3, 7]]), None, 0, 4, 1)
    assert _count(node, [0, 1, 2, 3, 6, 7, 8], dtype) == [0, 1, 1, 3, 3, 4, 4]


def test_without_levels_the_count_has_no_end() -> None:
    node = CountingNeuron("neuron", (), whole([1]), whole([1]), 0, None, 1)
    assert _count(node, [-5, 0, 1, 1000], torch.float32) == [0, 0, 1, 1000]


def test_channels_have_thresholds_of_their_own_in_maps() -> None:
    node = CountingNeuron("neuron", (), whole([1, 5]), whole([1, 2]), 0, 9, 1)
    membrane = torch.tensor([[[[1.0, 3.0]], [[5.0, 8.0]]]])
    table = CountingNeuron("neuron", (), whole([[1, 2, 3], [5, 7, 9]]), None, 0, 9, 1)
    for each in (node, table):
        found = deserve_count(membrane, make_thresholds(each, 4, torch.float32, 8, CPU))
        assert found.tolist() == [[[[1, 3]], [[1, 2]]]]


@given(
    st.integers(-(2**40), 2**40),
    st.integers(1, 2**40),
    st.integers(0, 24),
    st.lists(st.integers(-(2**23), 2**23), min_size=1, max_size=20),
)
@settings(max_examples=200)
def test_integer_counts_are_exact_in_every_type(theta: int, delta: int, bits: int, membrane: list[int]) -> None:
    node = CountingNeuron("neuron", (), whole([theta]), whole([delta]), bits, 1000, 1)
    expected = [min(max(((v << bits) - theta) // delta + 1, 0), 1000) for v in membrane]
    for dtype in (torch.float32, torch.float64, torch.int64):
        assert _count(node, membrane, dtype) == expected


def test_thresholds_beyond_float64_are_compared_as_integers() -> None:
    # (V - Theta) / Delta = (-1 + 2^53 + 1) / 2^53 = 1, where float64 has rounded Theta and finds less than 1
    node = CountingNeuron("neuron", (), whole([-(2**53) - 1]), whole([2**53]), 0, 9, 1)
    for dtype in (torch.float32, torch.float64, torch.int64):
        assert _count(node, [-2, -1, 0], dtype, bits=2) == [1, 2, 2]


def test_thresholds_next_to_a_boundary_are_not_rounded_over_it() -> None:
    """Quotients an integer's breadth below a level, at sizes where a quotient in float32 would round up."""
    node = CountingNeuron("neuron", (), whole([0]), whole([3]), 24, None, 1)
    membrane = [5, 2**20 + 1, 2**22 - 1]
    exact = [int(Fraction(v << 24, 3).__floor__()) + 1 for v in membrane]
    found = deserve_count(
        torch.tensor(membrane, dtype=torch.float64).view(-1, 1), make_thresholds(node, 2, torch.float64, 23, CPU)
    )
    assert found.flatten().tolist() == exact


def test_fire_is_limited_on_both_sides() -> None:
    deserved, count = torch.tensor([0, 1, 5, 2, 0]), torch.tensor([0, 0, 0, 3, 4])
    assert fire(deserved, count, 1).tolist() == [0, 1, 1, -1, -1]
    assert fire(deserved, count, 3).tolist() == [0, 1, 3, -1, -3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_pool_counts_takes_the_largest(dtype: torch.dtype) -> None:
    counts = torch.tensor([[[[1, 4, 2], [0, 3, 7]]]], dtype=dtype)
    pooled = pool_counts(counts, MaxPool("pool", (), (2, 2), (1, 1)))
    assert pooled.dtype is dtype
    assert pooled.tolist() == [[[[4, 7]]]]


def test_float_thresholds_match_fractions_on_exact_floats() -> None:
    random = np.random.default_rng(0)
    first, step = random.integers(-64, 64, 50) / 8, random.integers(1, 64, 50) / 8
    membrane = torch.from_numpy(random.integers(-400, 400, (30, 50)) / 8)
    node = CountingNeuron("neuron", (), first, step, None, 20, 1)
    found = deserve_count(membrane, make_thresholds(node, 2, torch.float64, 0, CPU))
    for row, counts in zip(membrane.tolist(), found.tolist(), strict=True):
        for v, theta, delta, count in zip(row, first, step, counts, strict=True):
            exact = ((Fraction(v) - Fraction(theta)) / Fraction(delta)).__floor__() + 1
            assert count == min(max(exact, 0), 20)


def test_a_table_that_falls_is_refused() -> None:
    node = CountingNeuron("neuron", (), np.array([[3, 2]]), None, 0, 2, 1)
    with pytest.raises(SimulationError, match=r"neuron\.threshold: expected a table that rises"):
        make_thresholds(node, 2, torch.int64, 8, torch.device("cpu"))
