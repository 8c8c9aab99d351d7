"""Quantised weights: values, gradients, and that conversion sees the weight that training used, bit for bit."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from isospike.errors import ConversionError
from isospike.networks import Binary, Classifier, Int8, Ternary, median, quantise_weight, split_weight


def test_ternary_by_hand() -> None:
    # mean |w| = 1: the cut is 0.7, and |w| must be above it
    latent = torch.tensor([[1.0, -1.0, 0.5, -0.5], [2.0, -2.0, 0.71, -0.29], [1.0, -1.0, 0.69, -1.31]])
    integers, scale = Ternary().split(latent)
    assert integers.tolist() == [[1, -1, 0, 0], [1, -1, 1, 0], [1, -1, 0, -1]]
    assert scale.tolist() == [1, 1, 1]


def test_binary_by_hand() -> None:
    integers, scale = Binary().split(torch.tensor([[1.0, -3.0], [0.0, -0.5], [0.0, 0.0]]))
    assert integers.tolist() == [[1, -1], [1, -1], [1, 1]]
    assert scale.tolist() == [2, 0.25, 0]


def test_centred_binary_by_hand() -> None:
    # means over the inputs: 1 and 0.5; what is left of the second is clipped
    integers, scale = Binary(centred=True).split(torch.tensor([[1.0, 0.5, 1.5], [-2.0, 3.0, 0.5]]))
    assert integers.tolist() == [[1, -1, 1], [-1, 1, 1]]
    assert scale.tolist() == pytest.approx([1 / 3, 2 / 3])
    depthwise = torch.tensor([0.5, -0.25]).view(2, 1, 1, 1)
    assert Binary(centred=True).split(depthwise)[0].flatten().tolist() == [1, -1]


def test_centred_latents_are_centred_and_clipped_while_training_alone() -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(3, 4, 3)
    quantise_weight(module, "binary-centred")
    latent = module.get_parameter("parametrizations.weight.original")
    with torch.no_grad():
        latent.copy_(torch.randn_like(latent) + 0.5)
    before = latent.detach().clone()
    module.eval()
    in_eval = module(torch.ones(1, 3, 3, 3)).detach()
    assert torch.equal(latent.detach(), before)
    module.train()
    module(torch.ones(1, 3, 3, 3)).sum().backward()
    assert torch.equal(latent.detach(), (before - before.mean(1, keepdim=True)).clamp(-1, 1))
    assert latent.grad is not None
    assert float(latent.grad.abs().min()) > 0
    assert in_eval.shape == (1, 4, 1, 1)


def test_int8_by_hand() -> None:
    latent = torch.tensor([[127.0, -1.4, 0.6], [-0.5, 0.25, 0.0], [0.0, 0.0, 0.0]])
    integers, scale = Int8().split(latent)
    assert integers.tolist() == [[127, -1, 1], [-127, 64, 0], [0, 0, 0]]
    assert scale.tolist() == [1, float(torch.tensor(0.5) / 127), 1]
    integers, scale = Int8(per_channel=False).split(latent)
    assert integers.tolist() == [[127, -1, 1], [0, 0, 0], [0, 0, 0]]
    assert scale.tolist() == [1, 1, 1]


@pytest.mark.parametrize("weights", ["ternary", "binary", "binary-centred", "int8"])
@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3, 2)])
def test_forward_is_integers_times_scale_bit_for_bit(weights: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module: nn.Module = nn.Linear(7, 5) if len(shape) == 2 else nn.Conv2d(3, 4, (3, 2))
    quantise_weight(module, weights)
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    integers, scale = split_weight(module)
    assert scale is not None
    assert integers.dtype is torch.int8
    assert scale.dtype is torch.float32
    assert weight.shape == integers.shape == shape
    assert torch.equal(weight.detach(), integers.float() * scale.view(-1, *[1] * (len(shape) - 1)))


@pytest.mark.parametrize("weights", ["binary", "int8"])
def test_gradient_goes_to_the_latent_weight_unchanged(weights: str) -> None:
    torch.manual_seed(0)
    module = nn.Linear(6, 4)
    quantise_weight(module, weights)
    x = torch.randn(3, 6)
    module(x).sum().backward()
    latent = module.get_parameter("parametrizations.weight.original")
    assert latent.grad is not None
    torch.testing.assert_close(latent.grad, x.sum(0).expand(4, -1))


def test_ternary_passes_the_gradient_with_the_slope_of_its_staircase() -> None:
    quantiser = Ternary()
    latent = torch.tensor([[0.1, -0.2], [0.3, 0.4]], requires_grad=True)  # mean 0.25, cut 0.175
    out = quantiser(latent)
    assert out.tolist() == [[0, -1], [1, 1]]
    out.backward(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert latent.grad is not None
    torch.testing.assert_close(latent.grad, torch.tensor([[1.0, 2.0], [3.0, 4.0]]) / 0.35)


def test_ternary_of_zeros_passes_the_gradient_unchanged() -> None:
    latent = torch.zeros(2, 3, requires_grad=True)
    Ternary()(latent).sum().backward()
    assert latent.grad is not None
    assert latent.grad.tolist() == [[1.0] * 3] * 2


def test_a_share_mixes_the_quantised_weight_with_the_latent_one_in_its_scale() -> None:
    latent = torch.tensor([[0.1, -0.2], [0.3, 0.4]])
    ternary, binary = Ternary(), Binary()
    ternary.share = binary.share = 0.25
    torch.testing.assert_close(ternary(latent), 0.75 * latent / 0.35 + 0.25 * torch.tensor([[0.0, -1.0], [1.0, 1.0]]))
    torch.testing.assert_close(binary(latent), 0.75 * latent + 0.25 * torch.tensor([[0.15, -0.15], [0.35, 0.35]]))
    ternary.share = 0.0
    assert ternary(latent) is latent


@pytest.mark.parametrize(("weights", "distinct"), [("ternary", {-1.0, 0.0, 1.0}), ("binary", {-1.0, 1.0})])
def test_few_values(weights: str, distinct: set[float]) -> None:
    torch.manual_seed(0)
    module = nn.Linear(50, 20)
    quantise_weight(module, weights)
    integers, _ = split_weight(module)
    assert set(integers.float().unique().tolist()) == distinct


def test_int8_is_symmetric() -> None:
    latent = torch.randn(9, 50, generator=torch.Generator().manual_seed(0))
    integers, scale = Int8().split(latent)
    assert integers.abs().amax(1).tolist() == [127] * 9
    assert torch.equal(Int8().split(-latent)[0], -integers)
    assert float((integers * scale[:, None] - latent).abs().div(scale[:, None]).max()) <= 0.5001


def test_float_weights_are_left_alone() -> None:
    module = nn.Linear(3, 2)
    quantise_weight(module, "float")
    weight, scale = split_weight(module)
    assert scale is None
    assert torch.equal(weight, module.weight)


def test_unknown_quantisers() -> None:
    with pytest.raises(ConversionError, match="unknown quantiser 'int4'; expected float, ternary, binary, binary-c"):
        quantise_weight(nn.Linear(3, 2), "int4")
    with pytest.raises(ConversionError, match="got those of _WeightNorm: use isospike"):
        split_weight(parametrizations.weight_norm(nn.Linear(3, 2)))


def test_weights_survive_a_state_dict() -> None:
    torch.manual_seed(0)
    one, other = nn.Linear(6, 4), nn.Linear(6, 4)
    for module in (one, other):
        quantise_weight(module, "ternary")
    other.load_state_dict(one.state_dict())
    assert torch.equal(split_weight(one)[0], split_weight(other)[0])


def test_classifier_has_one_scale_and_a_whole_bias() -> None:
    torch.manual_seed(0)
    classifier = Classifier(6, 4, "int8", median(1).read_step, divisor=4)
    integers, scale = split_weight(classifier)
    assert scale is not None
    assert len(set(scale.tolist())) == 1
    unit = float(scale[0]) * 0.5 / 4
    spikes = torch.randint(0, 9, (5, 6)).float()
    logits = classifier(spikes * 0.5 / 4)
    whole = (spikes @ integers.float().T) + torch.floor(classifier.bias.detach() / unit + 0.5)
    torch.testing.assert_close(logits.detach() / unit, whole, rtol=1e-5, atol=1e-3)
    logits.sum().backward()
    assert classifier.bias.grad is not None
    assert classifier.bias.grad.tolist() == [5.0] * 4
