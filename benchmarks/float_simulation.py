"""Simulating in float64, as graphs with float weights are: what compiled code gains over PyTorch's operations.

    python benchmarks/float_simulation.py --data DIR --out FILE.json [--images N] [--rounds N]

Networks of the zoo run in PyTorch with ``dtype="float64"`` until every image has settled, in turns in one process: with
convolutions as matrix products alone, neurons in PyTorch and memory given back after each operation; with memory kept;
with weights added spike by spike; and as they are now, with neurons in compiled code too. The records of all four are
compared. ``--data DIR`` holds cifar10/.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from isospike import zoo
from isospike.experiment import read_recipe
from isospike.experiment.provenance import describe_machine, read_versions
from isospike.files import write_json
from isospike.graph import SpikingGraph
from isospike.simulator import Simulation, simulate
from isospike.zoo.running import load_test_images

NETWORKS = ("all-integer-cifar10", "scatter-gather-cifar10", "srp-cifar10-resnet20-int8")
SHARED = Path(__file__).parents[2] / "shared" / "data"


def run_before(graph: SpikingGraph, images: Tensor) -> Simulation:
    """Matrix products alone, memory given back."""
    with mock.patch("isospike.simulator.time_loop.keep_freed_memory", nullcontext):
        return run_products(graph, images)


def run_products(graph: SpikingGraph, images: Tensor) -> Simulation:
    """Matrix products alone."""
    with mock.patch("isospike.double_convolution._FEW", 0):
        return run_readable_neurons(graph, images)


def run_readable_neurons(graph: SpikingGraph, images: Tensor) -> Simulation:
    """Weights added spike by spike; neurons as PyTorch's operations."""
    with mock.patch("isospike.simulator.time_loop.can_compile", lambda *_: False):
        return run_now(graph, images)


def run_now(graph: SpikingGraph, images: Tensor) -> Simulation:
    """As it is."""
    return simulate(graph, images, engine="torch", dtype="float64", batch_size=len(images))


WAYS: dict[str, Callable[[SpikingGraph, Tensor], Simulation]] = {
    "before": run_before,
    "products": run_products,
    "readable_neurons": run_readable_neurons,
    "now": run_now,
}


def measure(name: str, data: Path, images: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per image of each way, the gain, and whether all found the same."""
    entry = zoo.find(name)
    graph, recipe = entry.load(), read_recipe(entry.recipe_path)
    pixels = load_test_images(recipe, data / recipe.data.name, images).images
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    records = {way: run(graph, pixels) for way, run in WAYS.items()}
    for _ in range(rounds):
        for way, run in WAYS.items():
            started = time.perf_counter()
            run(graph, pixels)
            seconds[way].append(time.perf_counter() - started)
    typical = {way: median(each) / images for way, each in seconds.items()}
    first = records["before"]
    return {
        "milliseconds_per_image": {way: round(1000 * value, 2) for way, value in typical.items()},
        "before_over_now": round(typical["before"] / typical["now"], 2),
        "steps": int((~first.settled).sum(0).max()) + 1,
        "same_record": all(
            torch.equal(first.settled, other.settled)
            and torch.allclose(first.logits, other.logits, rtol=1e-9, atol=1e-9)
            and all(torch.equal(first.positive[node], other.positive[node]) for node in first.positive)
            and all(torch.equal(first.negative[node], other.negative[node]) for node in first.negative)
            for other in records.values()
        ),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    facts: dict[str, Any] = {"machine": describe_machine("cpu"), "threads": torch.get_num_threads()}
    facts |= {"images": given.images, "rounds": given.rounds, "versions": read_versions(), "networks": {}}
    for name in NETWORKS:
        facts["networks"][name] = found = measure(name, given.data, given.images, given.rounds)
        print(name, found, flush=True)
    write_json(given.out, facts)


if __name__ == "__main__":
    main()
