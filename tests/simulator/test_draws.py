"""Draws are those of SplitMix64, uniform, and functions of their places alone."""

import pytest
import torch

from isospike.simulator.draws import draw_uniform, make_key


def test_the_published_first_number_of_splitmix64() -> None:
    first = 0xE220A8397B1DCDAF  # of the seed 0
    assert make_key(0) == first
    drawn = draw_uniform(0, torch.zeros(1, dtype=torch.int64))
    assert float(drawn) == (first >> 11) / 2**53


def test_draws_are_uniform_and_do_not_go_together() -> None:
    rows, columns = torch.arange(200)[:, None].expand(200, 500), torch.arange(500).expand(200, 500)
    one, other = draw_uniform(make_key(1, 2), rows, columns), draw_uniform(make_key(2, 1), rows, columns)
    assert one.min() >= 0
    assert one.max() < 1
    tenths = torch.histc(one, 10, 0, 1)
    assert (tenths - 10_000).abs().max() < 400  # four standard deviations of 95
    for a, b in ((one, other), (one[:, :-1], one[:, 1:]), (one[:-1], one[1:])):
        covariance = ((a - 0.5) * (b - 0.5)).mean() * 12
        assert abs(float(covariance)) < 4 / a.numel() ** 0.5
    assert len(one.unique()) == one.numel()


def test_a_draw_depends_on_its_place_alone() -> None:
    rows, columns = torch.arange(50), torch.arange(50) * 7
    whole = draw_uniform(9, rows, columns)
    assert torch.equal(draw_uniform(9, rows[17:20], columns[17:20]), whole[17:20])
    assert not torch.equal(draw_uniform(9, columns, rows), whole)
    assert make_key(1, 2) != make_key(2, 1) != make_key(1, 2, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_draws_the_same() -> None:
    places = torch.arange(10_000)
    assert torch.equal(draw_uniform(5, places), draw_uniform(5, places.cuda()).cpu())
