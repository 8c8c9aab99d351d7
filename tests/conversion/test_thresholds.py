"""Real thresholds from BatchNorm: in closed form, and against the staircase itself."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isospike.conversion.thresholds import Staircase
from tests.conversion.layers import derive_layer
from tests.oracle import count_exactly
from tests.problems import levels, norm, real

rationals = st.fractions(min_value=-8, max_value=8, max_denominator=16)
positive = st.fractions(min_value=Fraction(1, 16), max_value=8, max_denominator=16)


def test_thresholds_of_design_by_hand() -> None:
    # delta = sigma q / (|gamma| q_in) = 2 * 1 / (4 * 1/2) = 1; theta_1 = (2 (1/2 - 1) / 4 + 3) / (1/2) = 5.5
    batch_norm = norm("norm", [4], [1], [3], [2])
    (found,) = derive_layer(levels("neuron", 4), batch_norm, None, [Fraction(1, 2)])
    assert found == Staircase(Fraction(11, 2), Fraction(1), 1)


def test_negative_gamma_turns_the_mean_around() -> None:
    # theta_1 = (2 (1/2 - 1) / 4 - 3) / (1/2) = -6.5, on the negated current
    batch_norm = norm("norm", [-4], [1], [3], [2])
    (found,) = derive_layer(levels("neuron", 4), batch_norm, None, [Fraction(1, 2)])
    assert found == Staircase(Fraction(-13, 2), Fraction(1), -1)


def test_bias_is_absorbed_as_mean_minus_bias() -> None:
    batch_norm, shifted = norm("norm", [4, -4], [1, 1], [3, 3], [2, 2]), norm("norm", [4, -4], [1, 1], [1.5, 4], [2, 2])
    units = [Fraction(1, 2)] * 2
    absorbed = derive_layer(levels("neuron", 4), batch_norm, real([1.5, -1]), units)
    assert absorbed == derive_layer(levels("neuron", 4), shifted, None, units)


def test_bias_without_batch_norm() -> None:
    (found,) = derive_layer(levels("neuron", 4, Fraction(1, 3)), None, real([0.25]), [Fraction(1, 6)])
    assert found == Staircase((Fraction(1, 6) - Fraction(1, 4)) * 6, Fraction(2), 1)


def test_stored_floats_are_taken_at_their_exact_value() -> None:
    (found,) = derive_layer(levels("neuron", 4), norm("norm", [0.1], [0.2], [0.3], [0.7]), None, [Fraction(1)])
    height = Fraction(0.7) / Fraction(0.1)
    assert found == Staircase(height * (Fraction(1, 2) - Fraction(0.2)) + Fraction(0.3), height, 1)
    assert height != 7


@given(rationals, rationals, rationals, positive, rationals, positive, positive, st.integers(-200, 200))
def test_crossing_counts_as_the_staircase_does(
    gamma: Fraction,
    beta: Fraction,
    mean: Fraction,
    sigma: Fraction,
    bias: Fraction,
    q: Fraction,
    unit: Fraction,
    u: int,
) -> None:
    """The number of thresholds at or below ``sign(gamma) u`` is ``floor(z / q + 1/2)``, for every sign of gamma."""
    parameters = [np.array([float(value)]) for value in (gamma, beta, mean, sigma)]
    exact = [Fraction(float(array[0])) for array in parameters]
    batch_norm = norm("norm", *(array.tolist() for array in parameters))
    (found,) = derive_layer(levels("neuron", 99, q), batch_norm, real([float(bias)]), [unit])
    z = exact[0] * (unit * u + Fraction(float(bias)) - exact[2]) / exact[3] + exact[1]
    met = ((found.sign * u - found.first) / found.step).__floor__() + 1
    assert min(max(met, 0), 99) == count_exactly(z / q, 99)


def test_scale_zero_is_a_constant_channel() -> None:
    # z = 2 * (3 - 1) / 4 + 1.5 = 2.5, which is count 3, a tie
    (found,) = derive_layer(levels("neuron", 9), norm("norm", [2], [1.5], [1], [4]), real([3]), [Fraction(0)])
    assert found.sign == 0
    assert ((0 - found.first) / found.step).__floor__() + 1 == 3
