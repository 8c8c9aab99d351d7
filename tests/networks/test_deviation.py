"""Standard deviations per channel that the first layer absorbs."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from isospike import convert, verify
from isospike.data import load
from isospike.errors import NotationError, TrainingError
from isospike.networks import Network, Quantisation, build_architecture, build_network, capture
from isospike.networks.weights import fold_deviation
from isospike.training import TrainingConfig, train

DEVIATION = (32.0, 64.0, 128.0)


@pytest.mark.parametrize("notation", ["4C3-6", "6"])
def test_folding_is_dividing_the_pixels(notation: str) -> None:
    torch.manual_seed(0)
    quantised = Quantisation(levels="none", weights="float")
    net = build_network(
        notation, (3, 5, 5), 4, quantised, offset=(100, 120, 140), divisor=64, deviation=DEVIATION, batch_norm=False
    )
    images = torch.randint(0, 256, (7, 3, 5, 5), dtype=torch.uint8)
    first = next(iter(net.children()))
    plain = build_network(notation, (3, 5, 5), 4, quantised, batch_norm=False)
    plain.load_state_dict(
        {
            name.replace("parametrizations.weight.original", "weight"): value
            for name, value in net.state_dict().items()
            if not name.endswith("gain")
        }
    )
    normalised = (images - first.offset.view(-1, 1, 1)) / torch.tensor(DEVIATION).view(-1, 1, 1)
    expected = torch.nn.Sequential(*list(plain.children())[1:])(normalised.float())
    assert torch.allclose(net(images), expected, atol=1e-5)


def test_integer_encoders_round_what_is_divided() -> None:
    torch.manual_seed(0)
    net = build_network("2C1-3", (3, 2, 2), 2, Quantisation(k=0, ends="int8"), divisor=64, deviation=DEVIATION)
    synapses = net.conv1.synapses  # type: ignore[union-attr]
    with torch.no_grad():
        synapses.parametrizations.weight.original.copy_(
            torch.tensor([[1.0, 1.0, 1.0], [0.5, -2.0, 0.0]]).view(2, 3, 1, 1)
        )
    node = capture(net)["conv1"]
    # times 64 / deviation = 2, 1, 1/2; then 127 levels up to the largest: (2, 1, 0.5) and (1, -2, 0)
    assert node.weight.reshape(2, 3).tolist() == [[127, 64, 32], [64, -127, 0]]
    assert [Fraction(value) for value in node.scale] == [Fraction(float(torch.tensor(2.0) / 127))] * 2


@pytest.mark.parametrize("architecture", [False, True])
def test_the_conversion_is_exact(architecture: bool) -> None:
    torch.manual_seed(1)
    options = {"offset": (125, 123, 114), "divisor": 64, "deviation": DEVIATION}
    quantised = Quantisation(k=0, bound=2, weights="ternary", ends="int8")
    if architecture:
        net = build_architecture("resnet8", (3, 8, 8), 5, quantised, **options)  # type: ignore[arg-type]
    else:
        net = build_network("4C3-P2-6", (3, 8, 8), 5, quantised, padding="same", **options)  # type: ignore[arg-type]
    images = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)
    net.train()
    net(images)
    net.eval()
    graph = convert(net, "counting", t_max=40)
    findings = verify(graph, net, images, "counting", t_max=40)
    assert findings.mismatches == 0 and findings.unsettled < 20


@pytest.mark.parametrize("deviation", [(1.0, 2.0), (1.0, 0.0, 2.0), (1.0, -3.0, 2.0)])
def test_a_deviation_that_does_not_divide_is_refused(deviation: tuple[float, ...]) -> None:
    with pytest.raises(NotationError, match="deviation: expected 3 numbers above 0"):
        build_network("4C3-6", (3, 5, 5), 4, deviation=deviation)


def test_another_deviation_is_another_network(tmp_path: Path) -> None:
    def build(deviation: float) -> Network:
        torch.manual_seed(0)
        return build_network("4C3-6", (1, 8, 8), 10, deviation=(deviation,))

    digits = load("digits").train.first(100)
    train(build(60.0), digits, TrainingConfig(1, batch_size=50), folder=tmp_path)
    with pytest.raises(TrainingError, match=r"gain=\(4.25,\)"):
        train(build(90.0), digits, TrainingConfig(1, batch_size=50), folder=tmp_path)


def test_a_first_layer_in_groups_is_refused() -> None:
    with pytest.raises(NotationError, match="takes 1 of 3 channels at a time"):
        fold_deviation(torch.nn.Conv2d(3, 3, 1, groups=3), DEVIATION, 64)
