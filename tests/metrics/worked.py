"""A network whose spikes, operations, bits and energy are worked out by hand.

A 5x5 image of two pixels of 1, in the corner and in the middle. The encoder has one neuron for each pixel and fires two
spikes at step 1. The hidden layer is a 3x3 same-padded convolution of 4 channels, all ones in the first, zeros in the
others: the corner reaches 4 positions, the middle 9, one of them both. So 12 hidden neurons deserve 1 or 2 and fire at
step 1, and the one that deserves 2 fires once more at step 2, when all has settled.
"""

import numpy as np
import torch

from isospike.graph import Convolution, CountingNeuron, Dense, Flatten, Readout, SpikingGraph
from tests.problems import chain, pixels, whole

IMAGE = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
IMAGE[0, 0, 0, 0] = IMAGE[0, 0, 2, 2] = 1

MACS = {"encoder": 25, "hidden": 25 * 9 * 4, "classifier": 100 * 3}
HIDDEN_SOPS = [(4 + 9) * 4, (4 + 9) * 4]
CLASSIFIER_SOPS = [12 * 3, 13 * 3]


def build_worked() -> SpikingGraph:
    weight = np.zeros((4, 1, 3, 3))
    weight[0] = 1
    return chain(
        pixels(1, 5, 5),
        Convolution("encoder", (), whole(np.ones((1, 1, 1, 1)))),
        _neuron("encoder.neuron", 1),
        Convolution("hidden", (), whole(weight), padding=(1, 1)),
        _neuron("hidden.neuron", 4),
        Flatten("flatten", ()),
        Dense("classifier", (), whole(np.ones((3, 100)))),
        Readout("readout", (), whole([0, 0, 0])),
        t_max=4,
    )


def _neuron(name: str, channels: int) -> CountingNeuron:
    return CountingNeuron(name, (), whole([1] * channels), whole([1] * channels), 0, 4, 1)
