"""Lost spikes: how many, which, and what they leave alone."""

import pytest
import torch

import isospike
from isospike.errors import SimulationError
from isospike.networks import Quantisation, build_network
from isospike.simulator.faults import Losses


def test_each_spike_is_lost_with_the_given_probability_on_its_own() -> None:
    spikes = torch.tensor([1.0, -1.0, 4.0, 0.0]).repeat(5000).view(10, 2000)
    kept = Losses(0.3, 10, torch.Generator().manual_seed(0)).drop(spikes, torch.arange(10))
    assert (kept * spikes >= 0).all()
    assert (kept.abs() <= spikes.abs()).all()
    assert (kept[spikes == 1].mean() - 0.7).abs() < 0.02
    assert (kept[spikes == -1].mean() + 0.7).abs() < 0.02
    four = kept[spikes == 4]
    assert (four.mean() - 2.8).abs() < 0.05
    share_of_two = float((four == 2).double().mean())
    assert share_of_two == pytest.approx(6 * 0.7**2 * 0.3**2, abs=0.02)  # binomial


def test_images_that_stopped_change_nothing_for_the_others() -> None:
    spikes = torch.ones(6, 50)
    whole = Losses(0.5, 6, torch.Generator().manual_seed(1)).drop(spikes, torch.arange(6))
    some = Losses(0.5, 6, torch.Generator().manual_seed(1)).drop(spikes[[1, 4]], torch.tensor([1, 4]))
    assert torch.equal(some, whole[[1, 4]])


@pytest.mark.parametrize("propagation", ["within-step", "layer-per-step"])
def test_losing_all_spikes_of_the_encoder_silences_the_rest(propagation: str) -> None:
    torch.manual_seed(0)
    network = build_network("4C3-P2-8", (1, 8, 8), 3, Quantisation(k=1, bound=2)).eval()
    graph = isospike.convert(network, "scatter-gather", t_max=5)
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    plain = isospike.simulate(graph, images, propagation=propagation)
    lossy = isospike.simulate(graph, images, propagation=propagation, encoder_drop=1.0)
    none = isospike.simulate(graph, images, propagation=propagation, encoder_drop=0.0, seed=5)
    assert torch.equal(lossy.positive["conv1.neuron"], plain.positive["conv1.neuron"])
    assert plain.positive["conv1.neuron"].sum() > 0
    assert lossy.sops["pool1"].sum() == 0
    assert plain.sops["pool1"].sum() > 0
    assert torch.equal(none.logits, plain.logits)


def test_probability_out_of_range() -> None:
    network = build_network("4C3", (1, 8, 8), 3, Quantisation(k=1, bound=2)).eval()
    graph = isospike.convert(network, "scatter-gather")
    with pytest.raises(SimulationError, match=r"encoder_drop.*1\.5"):
        isospike.simulate(graph, torch.zeros(1, 1, 8, 8, dtype=torch.uint8), encoder_drop=1.5)
