"""The reference itself, against fractions in pure Python."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isospike.conversion import QuantisedAnn, convert
from isospike.errors import ConversionError
from isospike.graph import Dense, Flatten, Readout, SpikingGraph
from isospike.networks import Network, capture
from tests.exact_oracle import evaluate_exactly
from tests.oracle import count_exactly
from tests.problems import PROBLEMS, chain, levels, norm, pixels, whole
from tests.random_networks import integer_graphs, networks, random_images


def _compare_with_fractions(ann: SpikingGraph, exact_logits: bool) -> None:
    images = random_images(ann.input.shape, 3)
    evaluation = QuantisedAnn(ann).evaluate(images)
    worth = convert(ann, "negative-spike", t_max=1).readout.scale
    for index, picture in enumerate(images.numpy()):
        counts, logits = evaluate_exactly(ann, picture)
        assert {name: each[index].flatten().tolist() for name, each in evaluation.counts.items()} == counts
        found = evaluation.logits[index].tolist()
        if exact_logits:
            assert found == pytest.approx([float(each) / worth for each in logits], abs=1e-6)
            assert all(each == int(each) for each in found)
        else:
            assert found == pytest.approx([float(each) for each in logits], rel=1e-9, abs=1e-9)


@given(integer_graphs())
@settings(max_examples=40)
def test_integer_graphs_equal_fractions(ann: SpikingGraph) -> None:
    _compare_with_fractions(ann, exact_logits=True)


@given(networks(weights=("ternary", "binary", "int8"), ends=("int8",)))
@settings(max_examples=15)
def test_integer_networks_equal_fractions(model: Network) -> None:
    _compare_with_fractions(capture(model), exact_logits=True)


@given(networks(weights=("float",)))
@settings(max_examples=10)
def test_float_networks_equal_fractions_up_to_rounding(model: Network) -> None:
    _compare_with_fractions(capture(model), exact_logits=False)


def _one_channel(
    weight: int, divisor: int, gamma: float, sigma: float, beta: float, step: Fraction, most: int | None = None
) -> SpikingGraph:
    return chain(
        pixels(1, 1, 1, divisor=divisor),
        Flatten("flatten", ()),
        Dense("encoder", (), whole([[weight]])),
        norm("norm", [gamma], [beta], [0], [sigma]),
        levels("neuron", most, step),
        Dense("classifier", (), whole([[1]])),
        Readout("readout", (), np.zeros(1)),
    )


def test_float64_miscounts_exact_ties_that_fractions_get_right() -> None:
    """Short rational parameters: of the pixels that tie exactly, float64 miscounts a good part, the package none."""
    batch = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    ties = miscounts = 0
    for divisor, step, gamma, sigma, beta in (
        (10, Fraction(1, 5), 1.0, 1.0, 0.0),
        (30, Fraction(2, 15), 1.0, 1.0, 0.0),
        (3, Fraction(1, 9), 1.0, 2.0, 0.5),
        (7, Fraction(1, 7), 0.25, 1.0, 0.0),
        (10, Fraction(1, 5), -3.0, 2.0, 48.0),
        (100, Fraction(1, 50), 1.0, 1.0, 0.25),
    ):
        counts = QuantisedAnn(_one_channel(1, divisor, gamma, sigma, beta, step)).evaluate(batch).counts["neuron"]
        for pixel in range(256):
            level = (Fraction(gamma) * Fraction(pixel, divisor) / Fraction(sigma) + Fraction(beta)) / step
            assert int(counts[pixel, 0]) == count_exactly(level, None)
            in_float = np.floor((gamma * (pixel / divisor) / sigma + beta) / float(step) + 0.5)
            if level > 0 and (level + Fraction(1, 2)).denominator == 1:
                ties += 1
                miscounts += int(in_float) != int(counts[pixel, 0])
    assert ties > 200
    assert miscounts > ties / 10


def test_tie_problem_is_one_that_float64_miscounts() -> None:
    problem = next(each for each in PROBLEMS if each.name == "exact tie")
    in_float = np.floor(problem.image.numpy().flatten() / 10 / 0.2 + 0.5).astype(int).tolist()
    assert in_float == [1, 3, 9]
    assert problem.counts["neuron"] == [2, 4, 10]


@given(st.integers(1, 400), st.integers(1, 60), st.integers(-300, 300), st.integers(1, 40))
def test_any_rational_channel_counts_exactly(divisor: int, parts: int, slope: int, weight: int) -> None:
    step, beta = Fraction(1, parts), 3.25
    ann = _one_channel(weight, divisor, slope / 8, 1.5, beta, step, most=500)
    batch = torch.tensor([0, 1, 2, 7, 100, 254, 255], dtype=torch.uint8).view(-1, 1, 1, 1)
    counts = QuantisedAnn(ann).evaluate(batch).counts["neuron"]
    for row, pixel in zip(counts.tolist(), batch.flatten().tolist(), strict=True):
        z = Fraction(slope, 8) * Fraction(weight * pixel, divisor) / Fraction(3, 2) + Fraction(beta)
        assert row == [count_exactly(z / step, 500)]


def test_spiking_graph_is_refused() -> None:
    with pytest.raises(ConversionError, match="expected a captured ANN"):
        QuantisedAnn(convert(PROBLEMS[0].ann, "negative-spike"))


def test_sums_beyond_float64_are_refused() -> None:
    ann = _one_channel(2**50, 1, 1.0, 1.0, 0.0, Fraction(1))
    with pytest.raises(ConversionError, match=r"encoder: its sums exceed 2\^53"):
        QuantisedAnn(ann).evaluate(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8))


def test_counts_without_end_are_refused_before_they_fill_the_memory() -> None:
    ann = _one_channel(2**20, 1, 1.0, 1.0, 0.0, Fraction(1))
    with pytest.raises(ConversionError, match="neuron: counts reach 267386880"):
        QuantisedAnn(ann).evaluate(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8))
