"""The integer engine against PyTorch: time, memory, and how cost follows spikes.

    python benchmarks/engine.py --out FILE.json [--graph SNN] [--mnist SNN] [--plot FILE.png]

``--graph`` is the spiking graph of a run of all-integer-cifar10, ``--mnist`` that of all-integer-mnist; by default the
committed ones, which were trained for a few epochs. The float
network beside each is the quantised ANN that the graph stands for, BatchNorm folded into weights and biases, in
inference mode. Times are medians of alternating runs in one process; ratios are printed and written with them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

import isospike
from folded_ann import fold
from isospike import engine
from isospike.data import load
from isospike.graph import SpikingGraph, load_graph

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
CIFAR = ROOT / "results" / "all-integer-cifar10-short" / "snn.safetensors"
MNIST = ROOT / "results" / "engine" / "all-integer-mnist-short.safetensors"
BATCH, THREADS, RUNS = 64, 2, 9

MEMORY = """
import sys
from pathlib import Path
import numpy as np
from isospike import engine
from isospike.graph import load_graph
graph = load_graph(sys.argv[1])
engine.run(graph, np.load(sys.argv[2]), 8, threads=2)
assert "torch" not in sys.modules
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def alternate(runs: int, **calls: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each call; they take turns, after one round that does not count.

    Before each the machine rests a little: the threads of a PyTorch call go on spinning for some milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(runs + 1):
        for name, call in calls.items():
            time.sleep(0.03)
            started = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def read_images(name: str, shape: tuple[int, int, int], data: Path) -> Tensor:
    """The first test images, cropped to the centre; from the hub where ``data`` has no such folder."""
    folder = data / name
    images = load(name, folder if folder.is_dir() else None).test.images[:BATCH]
    top, left = ((have - want) // 2 for have, want in zip(images.shape[2:], shape[1:], strict=True))
    return images[:, :, top : top + shape[1], left : left + shape[2]].contiguous()


def compare_passes(graph: SpikingGraph, images: Tensor, runs: int) -> dict[str, float]:
    """Item 1: eight steps of the engine, one pass of the float network, eight steps of our PyTorch simulator."""
    pixels, prepared = images.numpy(), engine.Engine(graph, 8)
    planar, channels_last = fold(graph), fold(graph, torch.channels_last)
    record = prepared.run(pixels, threads=THREADS)
    same = float((planar(images).argmax(1).numpy() == record.predictions[-1]).mean())
    seconds = alternate(
        runs,
        engine=lambda: prepared.run(pixels, threads=THREADS),
        planar=lambda: planar(images),
        channels_last=lambda: channels_last(images),
    )
    torch_seconds = alternate(
        max(runs // 3, 3),
        torch=lambda: isospike.simulate(graph, images, 8, engine="torch", dtype="float32", batch_size=BATCH),
    )
    per_image = {name: value / len(images) * 1e3 for name, value in (seconds | torch_seconds).items()}
    work = sum(sops.sum(0).mean() for sops in list(record.sops.values())[:-1])
    return {
        "float_over_engine": min(per_image["planar"], per_image["channels_last"]) / per_image["engine"],
        "torch_over_engine": per_image["torch"] / per_image["engine"],
        **{f"{name}_ms_per_image": value for name, value in per_image.items()},
        "million_sops_per_image": float(work) / 1e6,
        "nanoseconds_per_kilosop": per_image["engine"] * 1e6 / (float(work) / 1e3),
        "float_predictions_the_same": same,
    }


def follow_spikes(graph: SpikingGraph, images: Tensor, runs: int) -> dict[str, Any]:
    """Item 2: time and synaptic operations for growing T."""
    most = graph.t_max or 1
    prepared = {steps: engine.Engine(graph, steps) for steps in (1, 2, 4, 8, 16, 32, 64) if steps <= most}
    pixels = images.numpy()
    calls = {str(steps): lambda ready=ready: ready.run(pixels, threads=THREADS) for steps, ready in prepared.items()}
    seconds = alternate(runs, **calls)
    points = []
    for steps, ready in prepared.items():
        record = ready.run(pixels, threads=THREADS)
        work = float(sum(sops.sum(0).mean() for sops in record.sops.values()))
        settled = float(record.settled[-1].mean())
        milliseconds = seconds[str(steps)] / len(images) * 1e3
        points.append({"steps": steps, "ms_per_image": milliseconds, "sops_per_image": work, "settled": settled})
    ratio = {"t32_over_t8": seconds["32"] / seconds["8"]} if most >= 32 else {}
    return {**ratio, "steps": points}


def measure_mnist(graph: SpikingGraph, images: Tensor, runs: int) -> dict[str, float]:
    """Item 3: throughput at T=4, and the latency of one image on one thread."""
    pixels, one = images.numpy(), images[:1].numpy()
    prepared, network = engine.Engine(graph, 4), fold(graph)
    batch = alternate(runs, engine=lambda: prepared.run(pixels, threads=THREADS), float=lambda: network(images))
    torch.set_num_threads(1)
    single = alternate(5 * runs, engine=lambda: prepared.run(one, threads=1), float=lambda: network(images[:1]))
    torch.set_num_threads(THREADS)
    return {
        **{f"{name}_images_per_second": len(images) / value for name, value in batch.items()},
        **{f"{name}_latency_ms": value * 1e3 for name, value in single.items()},
    }


def measure_memory(graph: Path, images: Tensor) -> dict[str, float]:
    """Item 4: peak memory of a process that runs the graph without PyTorch, and the file."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"engine-images-{os.getpid()}.npy"
    np.save(path, images.numpy())
    try:
        command = [sys.executable, "-c", MEMORY, str(graph), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        path.unlink()
    return {"peak_mb": float(done.stdout), "graph_mb": graph.stat().st_size / 1e6}


def draw(found: dict[str, Any], path: Path) -> None:
    """Time against synaptic operations."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name, points in found["spikes"].items():
        work = [point["sops_per_image"] / 1e6 for point in points]
        axes.plot(work, [point["ms_per_image"] for point in points], "o-", label=name)
        labelled = 0.0
        for point, x in zip(points, work, strict=True):
            if point["ms_per_image"] > 1.15 * labelled:  # where points lie on one another, the first is named
                labelled = point["ms_per_image"]
                place = {"textcoords": "offset points", "xytext": (-6, 6), "ha": "right"}
                axes.annotate(f"T={point['steps']}", (x, labelled), **place)
    axes.set(
        xlabel="synaptic operations per image, millions", ylabel="milliseconds per image", xscale="log", yscale="log"
    )
    axes.margins(0.12)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", type=Path, default=CIFAR)
    parser.add_argument("--mnist", type=Path, default=MNIST)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with cifar10/ and mnist/")
    parser.add_argument("--runs", type=int, default=RUNS, help="alternating runs, at least 7 for the record")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    for path in (arguments.graph, arguments.mnist):
        if not path.is_file():
            parser.error(f"{path}: not found: name the snn.safetensors of a run ('isospike run' makes one)")
    torch.set_num_threads(THREADS)
    graph, digits = load_graph(arguments.graph), load_graph(arguments.mnist)
    images = read_images("cifar10", graph.input.shape, arguments.data)
    small = read_images("mnist", digits.input.shape, arguments.data)
    found: dict[str, Any] = {"isa": engine.Engine(graph, 1).isa, "threads": THREADS, "batch": BATCH}
    found |= compare_passes(graph, images, arguments.runs)
    cifar, mnist = (follow_spikes(g, i, arguments.runs) for g, i in ((graph, images), (digits, small)))
    found |= {key: value for key, value in cifar.items() if key != "steps"}
    found["mnist"] = measure_mnist(digits, small, arguments.runs)
    found |= measure_memory(arguments.graph, images)
    found["spikes"] = {"all-integer-cifar10": cifar["steps"], "all-integer-mnist": mnist["steps"]}
    print(json.dumps(found, indent=2))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    if arguments.plot is not None:
        draw(found, arguments.plot)


if __name__ == "__main__":
    main()
