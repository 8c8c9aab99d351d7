"""The C program of a network against the engine: every logit of every step, flash and RAM, images per second.

    python benchmarks/export_c.py --out FILE.json [NETWORK ...] [--data FOLDER] [--weights packed|bytes] [--strict]

NETWORK is a name in the zoo, or an snn.safetensors as ``DATASET=FILE``. By default: all-integer-mnist,
all-integer-cifar10 and srp-cifar10-resnet20-int8 of the zoo. At the top level of what is written stand the totals
``images``, ``different_logits`` (of images x steps x classes, against the engine), ``flash_bytes`` and ``ram_bytes``;
under ``networks`` the same for each, flash of a Cortex-M4 too, and images per second of program and engine: of
processor time, one thread, all steps, the program's printing included.

``--strict`` compiles with every C compiler there is (gcc, clang) at ``-std=c99 -Wall -Wextra -Werror -pedantic``, and
again with AddressSanitizer and UBSan where they are installed (else null); ``--strict-images`` run through each.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from isospike import engine
from isospike.data import load
from isospike.errors import FileError, IsospikeError
from isospike.export import export_c
from isospike.export.c.sizes import STRICT
from isospike.files import write_json
from isospike.graph import SpikingGraph, load_graph
from isospike.zoo import find

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
NETWORKS = ("all-integer-mnist", "all-integer-cifar10", "srp-cifar10-resnet20-int8")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


def find_network(text: str) -> tuple[str, str, Path]:
    """The name, the dataset and the graph's file of a NETWORK.

    Raises:
        FileError: the zoo has none of this name.
    """
    dataset, separator, file = text.partition("=")
    if separator:
        path = Path(file)
        return path.resolve().parent.name if path.stem == "snn" else path.stem, dataset, path
    entry = find(text)
    return text, entry.metrics["dataset"], entry.graph_path


def read_images(name: str, shape: tuple[int, int, int], data: Path, number: int) -> np.ndarray:
    """The first test images, cropped to the centre; from the hub where ``data`` has no such folder."""
    folder = data / name
    images = load(name, folder if folder.is_dir() else None).test.images[:number].numpy()
    top, left = ((have - want) // 2 for have, want in zip(images.shape[2:], shape[1:], strict=True))
    return np.ascontiguousarray(images[:, :, top : top + shape[1], left : left + shape[2]])


def run_program(program: Path, images: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Logits (time, images, classes), settled (time, images), and the processor seconds."""
    file = program.parent / "images"
    file.write_bytes(images.tobytes())
    before = os.times().children_user
    command = [str(program), "-l", "-s", str(steps), str(file)]
    done = subprocess.run(command, capture_output=True, check=True)
    seconds = os.times().children_user - before
    rows = np.array([line.split() for line in done.stdout.splitlines()], dtype=np.int64)
    table = rows.reshape(len(images), steps, -1).transpose(1, 0, 2)
    return table[..., 3:], table[..., 2].astype(bool), seconds


def compare(graph: SpikingGraph, images: np.ndarray, weights: str, strict_images: int) -> dict[str, Any]:
    """One network, at every step up to T_max or 8: write, compile, run, compare."""
    steps = min(8, graph.t_max or 1)
    ready = engine.Engine(graph, steps)
    record = ready.run(images, threads=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = export_c(graph, folder, weights)
        subprocess.run(["make", "-s", "-C", str(folder)], check=True)
        logits, settled, seconds = run_program(folder / "snn", images, steps)
        checked = check_strictly(folder, images[:strict_images], record.logits, steps) if strict_images else {}
    before = time.process_time()
    ready.run(images, threads=1)
    return {
        "images": len(images),
        "steps": steps,
        "weights": weights,
        "logits": logits.size,
        "different_logits": int((logits != record.logits).sum()),
        "different_settled": int((settled != record.settled).sum()),
        "flash_bytes": program.sizes.flash_bytes,
        "ram_bytes": program.sizes.ram_bytes,
        "constant_bytes": program.sizes.constant_bytes,
        "flash_by_target": program.sizes.targets,
        "c_images_per_second": round(len(images) / seconds, 2),
        "engine_images_per_second": round(len(images) / (time.process_time() - before), 2),
        **checked,
    }


def check_strictly(folder: Path, images: np.ndarray, logits: np.ndarray, steps: int) -> dict[str, Any]:
    """Compile without a warning by each compiler there is, and under sanitizers: how many logits differ.

    Raises:
        CalledProcessError: a warning, or something that a sanitizer found.
    """
    found: dict[str, int | None] = {}
    for compiler in filter(shutil.which, ("gcc", "clang")):
        for kind, flags in (("", ("-O2",)), (" sanitized", ("-O1", *SANITIZE))):
            if kind and not can_sanitize(compiler, folder):
                found[compiler + kind] = None
                continue
            program = folder / "snn-strict"
            sources = [str(folder / "snn.c"), str(folder / "main.c")]
            subprocess.run([compiler, *STRICT, *flags, "-o", str(program), *sources], check=True)
            ours, _, _ = run_program(program, images, steps)
            found[compiler + kind] = int((ours != logits[:, : len(images)]).sum())
    return {"strict": {"flags": [*STRICT], "sanitizers": SANITIZE[0], "images": len(images), "different_logits": found}}


def can_sanitize(compiler: str, folder: Path) -> bool:
    """Whether the compiler's sanitizers are installed: Debian's clang comes without."""
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    command = [compiler, *SANITIZE, "-o", str(folder / "empty"), str(folder / "empty.c")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with mnist/ and cifar10/")
    parser.add_argument("--images", type=int, default=1000, help="test images")
    parser.add_argument("--weights", choices=("packed", "bytes"), default="packed")
    parser.add_argument("--strict", action="store_true", help="every compiler, and sanitizers")
    parser.add_argument("--strict-images", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    try:
        for text in arguments.networks:
            name, dataset, path = find_network(text)
            if name in found:
                raise FileError(f"{text}: expected another name than {name!r}, which stands there already: rename it")
            graph = load_graph(path)
            images = read_images(dataset, graph.input.shape, arguments.data, arguments.images)
            strict = arguments.strict_images if arguments.strict else 0
            place = path.resolve()
            shown = str(place.relative_to(ROOT)) if place.is_relative_to(ROOT) else str(path)
            found[name] = {"graph": shown, **compare(graph, images, arguments.weights, strict)}
            print(f"{name}: {found[name]['different_logits']} of {found[name]['logits']:,} logits differ", flush=True)
    except IsospikeError as error:
        print(f"export_c: {error}", file=sys.stderr)
        sys.exit(2)
    totals = ("images", "different_logits", "flash_bytes", "ram_bytes")
    summary = {key: sum(each[key] for each in found.values()) for key in totals} | {"networks": found}
    print(json.dumps(summary, indent=2))
    if arguments.out is not None:
        write_json(arguments.out, summary)


if __name__ == "__main__":
    main()
