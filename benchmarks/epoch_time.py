"""How fast trainings go: float against quantised, and this loop against an earlier commit's.

    python benchmarks/epoch_time.py --out FILE.json [--device cpu] [--runs 5] [--before COMMIT]

For the networks of all-integer-mnist and all-integer-cifar10, with their recipes' batch size, precision and
augmentation: images per second of the float twin and of the quantised network from its first step (no warm-up of
quantisation), which take turns in one process; medians, after one round that does not count. Then where the time of the
quantised training goes, by PyTorch's profiler. Pixels are random: the time does not depend on them.

``--before`` unpacks the sources of another commit and lets both commits train all-integer-mnist, each with its own
recipe, in turns, one process each: an epoch is timed after a shorter one that is not. Huge pages are asked for as each
commit's command line does: now, and not before.
"""

import argparse
import dataclasses
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does, before PyTorch's first tensor

import torch
from torch.profiler import ProfilerActivity, profile

from isospike.data import ImageSet
from isospike.experiment import Recipe, load_recipe
from isospike.experiment.provenance import describe_machine
from isospike.training import train

ROOT = Path(__file__).parents[1]
IMAGES = {"all-integer-mnist": 12800, "all-integer-cifar10": 1536}
FLOAT = ["quantise.levels=none", "quantise.weights=float"]
GROUPS = {
    "convolutions and dense layers": ("convolution", "::mm", "addmm", "::linear"),
    "BatchNorm": ("batch_norm",),
    "levels": ("_staircase", "threshold_backward", "relu", "floor_", "clamp_"),
    "optimiser": ("adamw", "muon", "optimizer"),
    "conversions of type and layout": ("copy_", "to_copy", "contiguous"),
}
EPOCH = """
import dataclasses, sys
sys.meta_path = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]
sys.path.insert(0, sys.argv[1])
import torch
import isospike
assert isospike.__file__.startswith(sys.argv[1]), isospike.__file__
from isospike.data import ImageSet
from isospike.experiment import load_recipe
from isospike.training import train
recipe = load_recipe("all-integer-mnist")
torch.manual_seed(0)
for number in (1280, int(sys.argv[2])):
    images = ImageSet(torch.randint(0, 256, (number, 1, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (number,)))
    config = dataclasses.replace(recipe.train_config, epochs=1)
    reports = train(recipe.build(), images, config, augmentation=recipe.augment)
print(reports[-1].seconds)
"""


def draw_images(recipe: Recipe, number: int) -> ImageSet:
    """Random pixels in the size of the dataset, before augmentation crops them."""
    torch.manual_seed(0)
    side = {"mnist": 28, "cifar10": 32}[recipe.data.name]
    pixels = torch.randint(0, 256, (number, recipe.in_shape[0], side, side), dtype=torch.uint8)
    return ImageSet(pixels, torch.randint(0, 10, (number,)))


def time_epoch(recipe: Recipe, images: ImageSet, device: str) -> float:
    """Seconds of one epoch, a fresh network's first, quantised from its first step."""
    config = dataclasses.replace(recipe.train_config, epochs=1, levels_from=0.0, weights_from=0.0)
    return train(recipe.build(), images, config, augmentation=recipe.augment, device=device)[0].seconds


def compare(name: str, device: str, runs: int) -> dict[str, Any]:
    """Float and quantised in turns."""
    variants = {"float": load_recipe(name, FLOAT), "quantised": load_recipe(name)}
    images = draw_images(variants["float"], IMAGES[name])
    seconds: dict[str, list[float]] = {key: [] for key in variants}
    for turn in range(runs + 1):
        for key, recipe in variants.items():
            taken = time_epoch(recipe, images, device)
            if turn:
                seconds[key].append(taken)
    number = len(images) // variants["float"].train.batch_size * variants["float"].train.batch_size
    middle = {key: median(values) for key, values in seconds.items()}
    return {
        "images": number,
        "float_images_per_second": round(number / middle["float"], 1),
        "quantised_images_per_second": round(number / middle["quantised"], 1),
        "quantised_over_float": round(middle["quantised"] / middle["float"], 3),
        "seconds": {key: [round(value, 3) for value in values] for key, values in seconds.items()},
        "shares": share_time(variants["quantised"], images, device),
    }


def share_time(recipe: Recipe, images: ImageSet, device: str) -> dict[str, float]:
    """Where the time of an epoch goes: each operation's own time, by group, of all operations' time."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=kinds) as record:
        time_epoch(recipe, images, device)
    own = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    total, shares = 0.0, dict.fromkeys([*GROUPS, "everything else"], 0.0)
    for event in record.key_averages():
        spent = float(getattr(event, own))
        place = event.key.lower()
        group = next((name for name, words in GROUPS.items() if any(word in place for word in words)), None)
        shares[group or "everything else"] += spent
        total += spent
    return {name: round(spent / total, 3) for name, spent in shares.items()}


def compare_with_commit(commit: str, runs: int) -> dict[str, Any]:
    """Epochs of all-integer-mnist by the sources of ``commit`` and by those beside this file, in turns."""
    archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        places = {"before": Path(folder) / "src", "now": ROOT / "src"}
        pages = {"before": "0", "now": os.environ["THP_MEM_ALLOC_ENABLE"]}
        seconds: dict[str, list[float]] = {key: [] for key in places}
        for _ in range(runs):
            for key, place in places.items():
                command = [sys.executable, "-c", EPOCH, str(place), str(IMAGES["all-integer-mnist"])]
                surroundings = {**os.environ, "THP_MEM_ALLOC_ENABLE": pages[key]}
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=surroundings)
                seconds[key].append(float(done.stdout.split()[-1]))
    middle = {key: median(values) for key, values in seconds.items()}
    return {
        "commit": commit,
        "now_over_before": round(middle["now"] / middle["before"], 3),
        "seconds": {key: [round(value, 3) for value in values] for key, values in seconds.items()},
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--before")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "device": options.device,
        "machine": describe_machine(options.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    for name in IMAGES:
        result[name] = compare(name, options.device, options.runs)
        print(name, json.dumps(result[name], indent=1))
    if options.before:
        result["before"] = compare_with_commit(options.before, options.runs)
        print(json.dumps(result["before"], indent=1))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    part = options.out.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(options.out)


if __name__ == "__main__":
    main()
