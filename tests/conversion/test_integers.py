"""Integer thresholds decide as the real ones do, on every membrane potential that can occur, with the fewest bits."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isospike.conversion.integers import IntegerThresholds, fit_thresholds
from isospike.conversion.thresholds import Staircase
from isospike.errors import ConversionError
from isospike.graph.intervals import Interval
from tests.conversion.layers import derive_layer
from tests.problems import levels, norm


def _interval(bounds: list[tuple[int, int]]) -> Interval:
    low, high = (np.array(ends, dtype=np.int64) for ends in zip(*bounds, strict=True))
    return Interval(low, high, np.maximum(abs(low), abs(high)))


def _count_by_integers(fit: IntegerThresholds, channel: int, v: int, most: int) -> int:
    if fit.step is None:
        return min(int((fit.threshold[channel] <= v).sum()), most)
    theta, delta = int(fit.threshold[channel]), int(fit.step[channel])
    return min(max(((v << fit.fraction_bits) - theta) // delta + 1, 0), most)


def _count_by_fractions(staircase: Staircase, v: int, most: int) -> int:
    return min(max(((v - staircase.first) / staircase.step).__floor__() + 1, 0), most)


def _interesting(staircase: Staircase, low: int, high: int, most: int, random: np.random.Generator) -> set[int]:
    """All of a narrow interval; of a wide one the ends, both sides of the boundaries, and a sample."""
    if high - low < 3000:
        return set(range(low, high + 1))
    numbers = np.unique(np.concatenate([[1, 2, most - 1, most], random.integers(1, most + 1, 300)])).tolist()
    boundaries = [-((-(staircase.first + (n - 1) * staircase.step)) // 1) for n in numbers]
    near = {int(c) + shift for c in boundaries for shift in (-2, -1, 0, 1)}
    sample = set(random.integers(low, high + 1, 300).tolist()) | {low, low + 1, high - 1, high, 0}
    return {v for v in near | sample if low <= v <= high}


def _assert_exact(
    fit: IntegerThresholds, staircases: list[Staircase], bounds: list[tuple[int, int]], most: int
) -> None:
    random = np.random.default_rng(0)
    for channel, (staircase, (low, high)) in enumerate(zip(staircases, bounds, strict=True)):
        for v in _interesting(staircase, low, high, most, random):
            expected = _count_by_fractions(staircase, v, most)
            assert _count_by_integers(fit, channel, v, most) == expected, (channel, v)


def _has_line(staircase: Staircase, low: int, high: int, most: int, bits: int) -> bool:
    """Whether any of the four Deltas has a Theta, worked out level by level as DESIGN writes it."""
    for extra in (-1, 0, 1, 2):
        delta = (staircase.step * 2**bits).__floor__() + extra
        if delta < 1:
            continue
        above, upto = None, None
        for n in range(1, most + 1):
            first = -((-(staircase.first + (n - 1) * staircase.step)) // 1)
            if first > low:
                bound = 2**bits * (min(first, high + 1) - 1) - (n - 1) * delta
                above = bound if above is None else max(above, bound)
            if first <= high:
                bound = 2**bits * max(first, low) - (n - 1) * delta
                upto = bound if upto is None else min(upto, bound)
            else:
                break  # the levels after the first one out of reach are out of reach too
        if above is None or upto is None or above < upto:
            return True
    return False


Layer = tuple[list[Staircase], list[tuple[int, int]], int]


def _make_layer(
    random: np.random.Generator, fan_in: int, most: int, channels: int, q: Fraction, unit: Fraction
) -> Layer:
    """A realistic BatchNorm over ternary weights: sigma and mean follow the fan-in, gammas of either sign and zero."""
    count_in = int(random.integers(1, most + 1))
    spread = max(np.sqrt(fan_in) * count_in / 4, 0.05) * float(unit)
    gamma = random.lognormal(0, 0.5, channels) * random.choice([1, 1, 1, -1, 0], channels) * most * float(q) / 3
    parameters = (
        gamma.astype(np.float32),
        (random.normal(0.3, 0.6, channels) * most * float(q) / 3).astype(np.float32),
        (random.normal(0, 1, channels) * spread / 2).astype(np.float32),
        np.sqrt((random.lognormal(0, 0.5, channels) * spread**2).astype(np.float32).astype(np.float64) + 1e-5),
    )
    batch_norm = norm("norm", *(np.asarray(values, dtype=np.float64).tolist() for values in parameters))
    staircases = derive_layer(levels("neuron", most, q), batch_norm, None, [unit] * channels)
    bounds = []
    for staircase in staircases:
        positive = int(random.binomial(fan_in, 0.4))
        negative = int(random.binomial(fan_in - positive, 0.6))
        alive = abs(staircase.sign)
        bounds.append((-negative * count_in * alive, positive * count_in * alive))
    return staircases, bounds, most


@st.composite
def layers(draw: st.DrawFn, most_fan_in: int, most_levels: int) -> Layer:
    """A layer of up to that many inputs and levels; sizes are spread evenly in their logarithm."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    fan_in, most = (int(np.exp(random.uniform(0, np.log(top + 0.9)))) for top in (most_fan_in, most_levels))
    q = draw(st.sampled_from((Fraction(1), Fraction(1, 2), Fraction(1, 16), Fraction(1.7) / most)))
    unit = draw(st.sampled_from((Fraction(1), Fraction(1, 4), Fraction(1, 255), Fraction(0.3) / 7)))
    return _make_layer(random, fan_in, most, draw(st.integers(1, 3)), q, unit)


@given(layers(most_fan_in=64, most_levels=32))
@settings(max_examples=150)
def test_small_layers_are_exact_with_the_fewest_bits(layer: Layer) -> None:
    staircases, bounds, most = layer
    fit = fit_thresholds("layer", staircases, _interval(bounds), most)
    _assert_exact(fit, staircases, bounds, most)
    if fit.step is not None and fit.fraction_bits > 0:
        fewer = fit.fraction_bits - 1
        assert not all(_has_line(s, *b, most, fewer) for s, b in zip(staircases, bounds, strict=True))


@given(layers(most_fan_in=4608, most_levels=4096))
@settings(max_examples=40)
def test_large_layers_are_exact(layer: Layer) -> None:
    staircases, bounds, most = layer
    fit = fit_thresholds("layer", staircases, _interval(bounds), most)
    _assert_exact(fit, staircases, bounds, most)


@pytest.mark.parametrize("fan_in", [25, 576, 4608])
@pytest.mark.parametrize(("most", "fewest", "enough"), [(4, 1, 4), (16, 4, 8), (256, 12, 16), (4096, 19, 24)])
def test_bits_that_realistic_layers_need(fan_in: int, most: int, fewest: int, enough: int) -> None:
    """DESIGN: about 2 bits serve 4 levels, 7 serve 16, 15 serve 256. These layers have 16 channels."""
    layer = _make_layer(np.random.default_rng(fan_in), fan_in, most, 16, Fraction(1), Fraction(1))
    fit = fit_thresholds("layer", layer[0], _interval(layer[1]), most)
    _assert_exact(fit, *layer)
    assert fewest <= fit.fraction_bits <= enough


@given(
    st.fractions(min_value=-50, max_value=50, max_denominator=60),
    st.fractions(min_value=Fraction(1, 60), max_value=30, max_denominator=60),
    st.integers(-60, 0),
    st.integers(0, 60),
    st.integers(1, 20),
)
@settings(max_examples=200)
def test_ties_are_exact(first: Fraction, step: Fraction, low: int, high: int, most: int) -> None:
    """Short rationals: thresholds fall on integers all the time, and off the interval."""
    staircases = [Staircase(first, step, 1)]
    fit = fit_thresholds("layer", staircases, _interval([(low, high)]), most)
    _assert_exact(fit, staircases, [(low, high)], most)
    if fit.fraction_bits > 0:
        assert not _has_line(staircases[0], low, high, most, fit.fraction_bits - 1)


def test_bits_by_hand() -> None:
    # thresholds 1, 2, 3, 4: integers already. 1/2, 2, 7/2: first integers 1, 2, 4. delta = 3/2 needs half units: with
    # f = 0 and Delta = 1 or 2 and a first integer of 1 the line is 1 2 3 or 1 3 5 (or 0 2 4), never 1 2 4
    whole = fit_thresholds("layer", [Staircase(Fraction(1), Fraction(1), 1)], _interval([(0, 4)]), 4)
    assert (whole.fraction_bits, whole.step, whole.threshold) == (0, [1], [1])
    half = fit_thresholds("layer", [Staircase(Fraction(1, 2), Fraction(3, 2), 1)], _interval([(0, 4)]), 3)
    assert half.fraction_bits == 1
    assert [-((-(int(half.threshold[0]) + n * int(half.step[0]))) // 2) for n in range(3)] == [1, 2, 4]


def test_the_worst_channel_decides_the_bits_of_its_layer() -> None:
    easy, hard = Staircase(Fraction(1), Fraction(1), 1), Staircase(Fraction(1, 2), Fraction(3, 2), 1)
    assert fit_thresholds("layer", [easy, hard, easy], _interval([(0, 4)] * 3), 3).fraction_bits == 1


@pytest.mark.parametrize(
    ("first", "step"),
    [
        (Fraction(10**30), Fraction(1)),
        (Fraction(-(10**30)), Fraction(1)),
        (Fraction(10**30), Fraction(10**25)),
        (Fraction(-(10**30)), Fraction(10**35)),
        (Fraction(5), Fraction(10**40)),
        (Fraction(-3), Fraction(1, 10**40)),
        (Fraction(1e-300), Fraction(1e-300)),
        (Fraction(1e300), Fraction(1e300)),
        (Fraction(-1e300), Fraction(1e299)),
        (Fraction(0), Fraction(1e308)),
    ],
)
@pytest.mark.parametrize("bounds", [(0, 0), (-7, 0), (0, 9), (-1000, 1000), (-(2**31), 2**31)])
def test_degenerate_channels_are_exact(first: Fraction, step: Fraction, bounds: tuple[int, int]) -> None:
    """Gammas near zero or huge, thresholds far out of reach on either side, constant channels."""
    staircases = [Staircase(first, step, 1), Staircase(Fraction(1, 2), Fraction(1), 1)]
    intervals = [bounds, (-20, 20)]
    fit = fit_thresholds("layer", staircases, _interval(intervals), 12)
    _assert_exact(fit, staircases, intervals, 12)


@pytest.mark.parametrize("level", ["-1e30", "-3", "-1/2", "0", "0.49", "1/2", "5/2", "11.4", "1e30"])
def test_constant_channels_are_exact(level: str) -> None:
    beta = float(Fraction(level))
    (staircase,) = derive_layer(levels("neuron", 12), norm("norm", [0], [beta], [3], [2]), None, [Fraction(1)])
    fit = fit_thresholds("layer", [staircase], _interval([(0, 0)]), 12)
    expected = min(max((Fraction(beta) + Fraction(1, 2)).__floor__(), 0), 12)
    assert _count_by_integers(fit, 0, 0, 12) == expected


def test_table_serves_where_24_bits_do_not() -> None:
    """20,000 levels on a slope that is no short fraction pin the line to better than 2^-24."""
    staircase = Staircase(Fraction(1, 3), Fraction(2**0.5) + 4, 1)
    other = Staircase(Fraction(10), Fraction(7), 1)
    bounds, most = [(-5, 130_000), (-10, 100)], 20_000
    fit = fit_thresholds("layer", [staircase, other], _interval(bounds), most)
    assert fit.step is None
    assert fit.fraction_bits == 0
    assert fit.threshold.shape == (2, 20_000)
    assert (np.diff(fit.threshold) >= 0).all()
    _assert_exact(fit, [staircase, other], bounds, most)
    assert not _has_line(staircase, *bounds[0], most, 24)


def test_levels_without_end_stop_at_what_the_membrane_reaches() -> None:
    fit = fit_thresholds("layer", [Staircase(Fraction(1), Fraction(3, 7), 1)], _interval([(-40, 40)]), None)
    _assert_exact(fit, [Staircase(Fraction(1), Fraction(3, 7), 1)], [(-40, 40)], 10**9)


def test_too_many_levels_are_refused() -> None:
    with pytest.raises(ConversionError, match="layer: its membrane reaches 1073741826 levels"):
        fit_thresholds("layer", [Staircase(Fraction(0), Fraction(1), 1)], _interval([(0, 2**30)]), None)
