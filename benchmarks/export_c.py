"""The C program of a network against the engine: every logit of every step, flash and RAM, images per second.

    python benchmarks/export_c.py --out FILE.json [--mnist SNN] [--cifar SNN] [--data FOLDER] [--weights packed|bytes]

``--mnist`` and ``--cifar`` are the spiking graphs of runs of all-integer-mnist and all-integer-cifar10; a network whose
graph is not there is left out, and named. For each: ``images``, ``different_logits`` (of images x steps x classes,
against the engine), ``flash_bytes``, ``ram_bytes``, and images per second of both: of processor time, one thread, all
steps, the program's printing included.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from isospike import engine
from isospike.data import load
from isospike.export import export_c
from isospike.graph import SpikingGraph, load_graph

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


def read_images(name: str, shape: tuple[int, int, int], folder: Path, number: int) -> np.ndarray:
    """The first test images, cropped to the centre."""
    images = load(name, folder).test.images[:number].numpy()
    top, left = ((have - want) // 2 for have, want in zip(images.shape[2:], shape[1:], strict=True))
    return np.ascontiguousarray(images[:, :, top : top + shape[1], left : left + shape[2]])


def compare(graph: SpikingGraph, images: np.ndarray, steps: int, weights: str) -> dict[str, Any]:
    """One network: write, compile, run, compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = export_c(graph, folder, weights)
        subprocess.run(["make", "-s", "-C", str(folder)], check=True)
        (folder / "images").write_bytes(images.tobytes())
        command = [str(folder / "snn"), "-l", "-s", str(steps), str(folder / "images")]
        before = os.times().children_user
        done = subprocess.run(command, capture_output=True, check=True)
        seconds = os.times().children_user - before
    rows = np.array([line.split() for line in done.stdout.splitlines()], dtype=np.int64)
    logits = rows[:, 3:].reshape(len(images), steps, -1).transpose(1, 0, 2)
    ready = engine.Engine(graph, steps)
    record = ready.run(images, threads=1)
    before = time.process_time()
    ready.run(images, threads=1)
    return {
        "images": len(images),
        "steps": steps,
        "weights": weights,
        "logits": logits.size,
        "different_logits": int((logits != record.logits).sum()),
        "different_settled": int((record.settled != rows[:, 2].reshape(len(images), steps).T).sum()),
        "flash_bytes": program.sizes.flash_bytes,
        "ram_bytes": program.sizes.ram_bytes,
        "constant_bytes": program.sizes.constant_bytes,
        "flash_by_target": program.sizes.targets,
        "c_images_per_second": len(images) / seconds,
        "engine_images_per_second": len(images) / (time.process_time() - before),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, default=ROOT / "runs" / "all-integer-mnist" / "snn.safetensors")
    parser.add_argument("--cifar", type=Path, default=ROOT / "runs" / "all-integer-cifar10" / "snn.safetensors")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with mnist/ and cifar10/")
    parser.add_argument("--images", type=int, default=1000, help="test images")
    parser.add_argument("--steps", type=int, default=8, help="time steps, at most each graph's T_max")
    parser.add_argument("--weights", choices=("packed", "bytes"), default="packed")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for name, path in (("mnist", arguments.mnist), ("cifar10", arguments.cifar)):
        if not path.is_file():
            print(f"{name}: left out, there is no {path}")
            continue
        graph = load_graph(path)
        images = read_images(name, graph.input.shape, arguments.data / name, arguments.images)
        found[name] = compare(graph, images, min(arguments.steps, graph.t_max or 1), arguments.weights)
    if not found:
        parser.error("no graph was there: give --mnist or --cifar")
    summary = {
        "images": sum(each["images"] for each in found.values()),
        "different_logits": sum(each["different_logits"] for each in found.values()),
        "flash_bytes": {name: each["flash_bytes"] for name, each in found.items()},
        "ram_bytes": {name: each["ram_bytes"] for name, each in found.items()},
        "networks": found,
    }
    print(json.dumps(summary, indent=2))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
