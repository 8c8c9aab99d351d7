"""Energy: operations times what they cost, worked out by hand."""

from dataclasses import replace

import pytest

from isospike.metrics import FLOAT32, INT8, INT32, LayerWork, Scaling, compare_equal_bits, count_bits, measure_macs
from tests.metrics.worked import MACS, build_worked


def test_the_constants_are_those_of_the_paper() -> None:
    found = [(table.name, table.mac, table.ac, table.memory) for table in (FLOAT32, INT32, INT8)]
    assert found == [("float32", 4.6, 0.9, 0), ("int32", 3.2, 0.1, 0), ("int8", 0.23, 0.03, 0)]


def test_energy_by_hand() -> None:
    assert FLOAT32.spend(macs=100, acs=10) == pytest.approx(100 * 4.6 + 10 * 0.9)
    assert INT8.spend(acs=1000) == pytest.approx(30)
    # memory at 5 pJ an access: a MAC reads two numbers, an accumulate reads two and writes one
    with_memory = replace(INT8, memory=5)
    assert with_memory.spend(macs=2, acs=3) == pytest.approx(2 * (0.23 + 10) + 3 * (0.03 + 15))


def test_counts_and_the_bits_that_they_need() -> None:
    assert [count_bits(most) for most in (1, 2, 3, 4, 7, 8, 15, 16)] == [1, 2, 2, 3, 3, 4, 4, 5]


def test_adders_and_multipliers_scale_through_the_published_points() -> None:
    cost = Scaling()
    assert [cost.add(8), cost.add(32)] == pytest.approx([0.03, 0.1])
    assert cost.add(20) == pytest.approx(0.065)  # half way
    assert cost.multiply(8, 8) == pytest.approx(0.2)
    assert cost.multiply(4, 2) == pytest.approx(0.2 / 8)


def test_equal_bits_by_hand() -> None:
    layers = {"one": LayerWork(100, 40, 2, 8), "other": LayerWork(10, 5, 8, 32)}
    # 3-bit activations: 3 * 2 / 64 * 0.2 = 0.01875 and 3 * 8 / 64 * 0.2 = 0.075 a product; sums of 8 and 32 bits
    ann, snn = compare_equal_bits(layers, 3)
    assert ann == pytest.approx(100 * (0.01875 + 0.03) + 10 * (0.075 + 0.1))
    assert snn == pytest.approx(40 * 0.03 + 5 * 0.1)


def test_macs_of_every_layer_by_hand() -> None:
    assert measure_macs(build_worked()) == MACS
