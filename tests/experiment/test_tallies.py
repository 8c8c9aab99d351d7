"""Tallies: sums batch by batch, whoever has simulated them."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from isospike.experiment.summaries import Counting, collect_logs, summarise_layers, summarise_seeds
from isospike.experiment.tallies import join_tallies, start_tally, tally
from isospike.simulator import Simulation, simulate
from tests.metrics.test_description import build_counting


def draw(images: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (images, 2, 5, 5), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def run(images: Tensor) -> Simulation:
    return simulate(build_counting(), images, 4, engine="torch")


@given(st.integers(1, 23), st.integers(1, 9), st.integers(0, 5))
def test_sums_by_batch_are_those_of_the_simulation(images: int, batch: int, seed: int) -> None:
    pixels, labels = draw(images, seed), torch.arange(images) % 3
    whole = run(pixels)
    found = tally(whole, labels, batch)
    assert found.images.tolist() == [min(batch, images - start) for start in range(0, images, batch)]
    assert found.total == images
    assert torch.equal(found.correct.sum(0), (whole.predictions == labels).sum(1))
    assert torch.equal(found.settled.sum(0), whole.settled.sum(1))
    for name, values in whole.positive.items():
        assert torch.equal(found.positive[name].sum(0), values.sum(1))
    for name, values in whole.sops.items():
        assert torch.equal(found.sops[name].sum(0), values.sum(1))


def test_parts_join_to_the_whole_and_an_empty_part_changes_nothing() -> None:
    graph, pixels, labels = build_counting(), draw(11, 1), torch.arange(11) % 3
    whole = tally(run(pixels), labels, 3)
    parts = [tally(run(pixels[a:b]), labels[a:b], 3) for a, b in ((0, 6), (6, 11))]
    joined = join_tallies([start_tally(graph, 4), *parts])
    assert torch.equal(joined.images, whole.images)
    assert torch.equal(joined.correct, whole.correct)
    assert joined.positive.keys() == whole.positive.keys()
    assert all(torch.equal(joined.negative[name], whole.negative[name]) for name in whole.negative)
    assert all(torch.equal(joined.sops[name], whole.sops[name]) for name in whole.sops)


def test_logs_and_layers_of_a_tally() -> None:
    graph, pixels, labels = build_counting(), draw(7, 2), torch.zeros(7, dtype=torch.int64)
    whole = run(pixels)
    found = tally(whole, labels, 3)
    logs = collect_logs(graph, [found, found], 3, Counting(count_encoder=True))
    assert logs.images == 14
    assert logs.accuracy is not None
    assert logs.accuracy.shape == (6, 4)
    assert logs.spike_num is not None
    spikes = whole.positive["conv.neuron"] + whole.negative["conv.neuron"]
    assert logs.spike_num[:, -1].sum() == 2 * int(spikes.sum())
    layers = summarise_layers(graph, [found])
    assert [layer["name"] for layer in layers] == ["conv", "classifier"]
    assert layers[0]["positive"] == whole.positive["conv.neuron"].double().mean(1).cumsum(0).tolist()
    assert layers[1]["sops"] == whole.sops["classifier"].double().mean(1).cumsum(0).tolist()
    assert summarise_seeds([found])["settled"] == whole.settled.double().mean(1).tolist()
