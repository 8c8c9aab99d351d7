"""The network published with the scatter-and-gather paper, through the public API, at one time step.

    python benchmarks/published_lenet.py [--weights FILE.npz] [--data FOLDER] [--out FILE.json]

The weights are ../shared/data/published/lenet-k1-B2.npz unless --weights says otherwise (TensorFlow's layout).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import isospike
from isospike.data import load
from isospike.networks import Network, Quantisation

SHARED = Path(__file__).parents[2] / "shared" / "data"
NOTATION = "16C5(same)-16C5-P2-32C5-P2-256"
HIDDEN = {"conv1": "conv1", "conv2": "conv2", "pool1": "conv3", "conv3": "conv4", "pool2": "conv5", "dense1": "conv6"}


def build(weights: dict[str, np.ndarray]) -> Network:
    """The published network as a network of ours. Its last convolution, 4x4 valid on a 4x4 map, is our dense layer."""
    model = isospike.build_network(NOTATION, (1, 28, 28), 10, Quantisation(k=1, bound=2, weights="ternary"))
    for ours, theirs in HIDDEN.items():
        layer = getattr(model, ours)
        kernel = torch.from_numpy(weights[f"{theirs}.weight"]).permute(3, 2, 0, 1)
        state = layer.synapses.state_dict()
        layer.synapses.load_state_dict({name: kernel.reshape(old.shape) for name, old in state.items()})
        for field, name in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "mean"), ("running_var", "var")):
            getattr(layer.norm, field).data.copy_(torch.from_numpy(weights[f"{theirs}.{name}"]))
        layer.norm.eps = 1e-5
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(weights["dense.weight"]).T)
        model.classifier.bias.zero_()
    return model.eval()


def measure(weights: Path, data: Path, limit: int = 10_000) -> dict[str, float]:
    """Convert, simulate one time step and verify, on the first ``limit`` test images."""
    model = build(dict(np.load(weights, allow_pickle=False)))
    test = load("mnist", data).test.first(limit)
    graph = isospike.convert(model, "scatter-gather")
    simulation = isospike.simulate(graph, test.images, 1)
    proof = isospike.verify(graph, model, test.images, "scatter-gather")
    return {
        "images": proof.images,
        "accuracy": float((simulation.predictions[0] == test.labels).double().mean()),
        "published_accuracy": 0.9937,
        "mismatches": proof.mismatches,
        "unsettled": proof.unsettled,
    }


def main() -> None:
    """Print what came out, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=SHARED / "published" / "lenet-k1-B2.npz")
    parser.add_argument("--data", type=Path, default=SHARED / "mnist")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.weights, arguments.data)
    print(json.dumps(found, indent=2))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
