"""Losing the encoder's spikes while training."""

import pytest
import torch

from isospike.errors import NotationError
from isospike.networks import LevelActivation, Quantisation, build_network, capture, median
from isospike.networks.layers import SpikeDrop


def test_it_drops_whole_spikes_while_training_and_nothing_otherwise() -> None:
    torch.manual_seed(0)
    activation = median(1, 2)
    drop = SpikeDrop(1.0, activation.read_step)
    x = torch.tensor([0.0, 0.5, 2.0]).repeat(1000)
    y = drop(x)
    assert torch.equal(y * 2, (y * 2).round())
    assert (y <= x).all()
    assert 0 < y.sum() < x.sum()
    assert torch.equal(drop.eval()(x), x)


def test_the_gradient_passes_in_proportion() -> None:
    torch.manual_seed(0)
    drop = SpikeDrop(0.9, median(1, 2).read_step)
    x = torch.full((1000,), 2.0, requires_grad=True)
    y = drop(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, y.detach() / 2)


def test_counts_of_any_size_lose_their_share_and_no_more() -> None:
    torch.manual_seed(0)
    x = torch.tensor([0.0, 0.5, 20_000.5, 1e9, float("inf")]).repeat(200, 1)
    assert torch.equal(SpikeDrop(0.0, median(1).read_step)(x), x)
    y = SpikeDrop(1.0, median(1).read_step)(x)
    share = y[:, 2:4] / x[:, 2:4]
    assert 0 < float(share.min()) <= float(share.max()) < 1
    assert float(share.max() - share.min()) < 0.03
    assert set(y[:, 1].tolist()) == {0.0, 0.5}
    assert not y[:, 0].any()


def test_it_follows_the_encoder_and_leaves_no_trace_in_state_or_capture() -> None:
    quantisation = Quantisation(k=1, bound=2)
    lossy = build_network("4C3-P2-8", (1, 8, 8), 3, quantisation, encoder_drop=0.2)
    plain = build_network("4C3-P2-8", (1, 8, 8), 3, quantisation)
    names = [name for name, _ in lossy.named_children()]
    assert names.index("encoder_drop") == names.index("conv1") + 1
    assert lossy.state_dict().keys() == plain.state_dict().keys()
    assert [node.name for node in capture(lossy)] == [node.name for node in capture(plain)]


def test_it_needs_levels_and_a_probability() -> None:
    with pytest.raises(NotationError, match="training_drop"):
        build_network("4C3", (1, 8, 8), 3, Quantisation(levels="none", weights="float"), encoder_drop=0.2)
    with pytest.raises(NotationError, match="training_drop"):
        SpikeDrop(1.2, LevelActivation(4, threshold=1.0).read_step)


def test_dropout_follows_pooling_and_dense_layers_and_is_not_captured() -> None:
    quantisation = Quantisation(k=1, bound=2)
    network = build_network("4C3-P2-8", (1, 8, 8), 3, quantisation, pool="avg", dropout=0.3)
    names = [name for name, _ in network.named_children()]
    assert names == ["pixels", "conv1", "pool1", "dropout1", "flatten", "dense1", "dropout2", "classifier"]
    plain = build_network("4C3-P2-8", (1, 8, 8), 3, quantisation, pool="avg")
    assert [node.name for node in capture(network)] == [node.name for node in capture(plain)]
    with pytest.raises(NotationError, match=r"dropout.*1\.0"):
        build_network("4C3-P2-8", (1, 8, 8), 3, quantisation, dropout=1.0)
