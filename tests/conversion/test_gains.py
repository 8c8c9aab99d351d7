"""Gains as integers: near enough, in units that fit, and exact where ratios are simple."""

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from isospike.conversion.constant_maps import apply_weights, sum_windows
from isospike.conversion.exact_signals import Worth, combine
from isospike.conversion.gains import MOST_BITS, round_gains, round_half_away
from isospike.graph import AveragePool, Convolution, Dense
from tests.problems import whole

gains = st.fractions(min_value=-50, max_value=50, max_denominator=10**6)
tables = st.integers(1, 4).flatmap(
    lambda channels: st.lists(st.lists(gains, min_size=channels, max_size=channels), min_size=1, max_size=3)
)


@given(tables, st.booleans())
def test_every_gain_is_near(table: list[list[Fraction]], shared: bool) -> None:
    channels = len(table[0])
    found, shifts, units = round_gains(table, None, channels if shared else 1)
    assert found.shape == (len(table), channels)
    assert not shifts.any()
    assert all(unit > 0 for unit in units)
    assert not shared or len(set(units)) == 1
    largest = [max(abs(row[c]) for row in table) for c in range(channels)]
    for row, rounded in zip(table, found.tolist(), strict=True):
        for c in range(channels):
            error = abs(row[c] - units[c] * rounded[c])
            floor = max(largest) if shared else largest[c]
            assert error <= max(abs(row[c]) / 1024, floor / 2 ** (MOST_BITS + 1))


@given(tables, st.lists(gains, min_size=4, max_size=4), st.booleans())
@settings(max_examples=60)
def test_verification_rounds_alike_though_written_apart(
    table: list[list[Fraction]], constants: list[Fraction], shared: bool
) -> None:
    channels = len(table[0])
    constant = constants[:channels]
    span = channels if shared else 1
    whole_gains, shifts, units = round_gains(table, constant, span)
    add_up, others = combine("node", Worth(tuple(table), constant), span, True)
    assert others == units
    parts = [torch.arange(channels * 3, dtype=torch.float64).view(3, channels) - 4 * i for i in range(len(table))]
    expected = sum(p.numpy() * g for p, g in zip(parts, whole_gains, strict=True)) + shifts
    assert np.array_equal(add_up(parts).numpy(), expected)


def test_a_small_gain_is_as_precise_as_a_large_one() -> None:
    """Beside a shortcut, the gain of sums of int8 weights is a thousandth or less, and of thousands of units."""
    small = Fraction(7, 9000)
    found, _, (unit,) = round_gains([[Fraction(1)], [small]], None, 1)
    (large,), (rounded,) = found.tolist()
    assert large * unit == 1
    assert abs(rounded * unit - small) <= small / 1024


def test_simple_ratios_are_exact_and_take_few_bits() -> None:
    found, _, units = round_gains([[Fraction(3, 7), Fraction(-1, 2)], [Fraction(3, 28), Fraction(1, 2)]], None, 1)
    assert found.tolist() == [[4, -1], [1, 1]]
    assert units == [Fraction(3, 28), Fraction(1, 2)]


def test_channels_without_gains_have_a_unit_of_their_own() -> None:
    found, shifts, units = round_gains([[Fraction(0), Fraction(1, 3)]], [Fraction(5, 2), Fraction(0)], 1)
    assert found.tolist() == [[0, 1]]
    assert shifts.tolist() == [1, 0]
    assert units == [Fraction(5, 2), Fraction(1, 3)]


@given(gains)
def test_signs_can_be_taken_out(value: Fraction) -> None:
    assert round_half_away(-value) == -round_half_away(value)
    assert abs(round_half_away(value) - value) <= Fraction(1, 2)


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.sampled_from((1, 2)), st.booleans()
)
def test_constant_maps_equal_pytorch(
    kernel: int, stride: int, padding: int, dilation: int, groups: int, is_whole: bool
) -> None:
    random = np.random.default_rng(kernel + 7 * stride)
    kernels = (kernel, 3 - kernel % 2)
    weight = random.integers(-5, 6, (4, 2 // groups, *kernels))
    constant = random.integers(-9, 10, (2, 6, 7))
    if not is_whole:
        weight, constant = weight / 3, constant / 7
    strides, paddings, dilations = (stride, 1), (padding, 1), (dilation, 1)
    node = Convolution("conv", (), weight, strides, paddings, dilations, groups)
    tensors = torch.from_numpy(constant)[None].double(), torch.from_numpy(weight).double()
    expected = functional.conv2d(*tensors, None, strides, paddings, dilations, groups)[0]
    found = apply_weights(node, constant)
    assert (found.dtype == np.int64) == is_whole
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-12)
    pool = AveragePool("pool", (), kernels, strides, (0, 0))
    expected = functional.avg_pool2d(tensors[0], kernels, strides, 0, divisor_override=1)[0]
    np.testing.assert_allclose(sum_windows(pool, constant), expected.numpy(), rtol=1e-12)


def test_constant_features_through_a_dense_layer() -> None:
    assert apply_weights(Dense("dense", (), whole([[1, 2], [3, -1]])), whole([5, 7])).tolist() == [19, 8]
