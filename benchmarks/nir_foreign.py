"""The NIR file of a qcfs network in two foreign simulators, against our reader; and what NIR is refused.

    python -m venv nirvenv
    nirvenv/bin/pip install torch norse sinabs --extra-index-url https://download.pytorch.org/whl/cpu
    python benchmarks/nir_foreign.py --foreign nirvenv/bin/python [--run DIR] [--data DIR] [--out FILE.json]

norse and sinabs ask for nir up to 1.0.4, so they live in an environment of their own. Each runs the file over the first
test images; answers (the class with the largest sum of outputs) and spikes of each layer, image by image and step by
step, are compared with those of ``isospike.export.read_nir`` in the same reset. Accuracies stand beside those of
``isospike.simulate``: what NIR costs. All is done in float32, and once more in float64: what differs in the first alone
is rounding, of sums in another order, across a threshold. Refused are graphs that NIR cannot say; their messages are
written down.
"""

import argparse
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isospike import convert, simulate
from isospike.errors import ExportError
from isospike.experiment import RunFolder
from isospike.export import NirRecord, export_nir, read_nir
from isospike.files import write_json
from isospike.graph import (
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    Input,
    IntegrateAndFire,
    MaxPool,
    Readout,
    SpikingGraph,
)
from isospike.networks import capture

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESETS = {"norse": "value", "sinabs": "multiple"}
SHOWN = (1, 2, 4, 8, 16, 32)
SCRIPT = Path(__file__).with_name("nir_simulators.py")


def run_foreign(
    python: str, simulator: str, path: Path, pixels: Tensor, steps: int, dtype: str
) -> tuple[Any, dict[str, str]]:
    """What a foreign simulator makes of a file, and its versions."""
    images, out = path.with_suffix(".npy"), path.with_name(f"{simulator}.npz")
    np.save(images, pixels.numpy())
    command = [python, str(SCRIPT), simulator, str(path), str(images), str(steps), str(out), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return np.load(out), json.loads(done.stdout.splitlines()[-1])


def compare(theirs: Any, ours: NirRecord, labels: Tensor) -> dict[str, Any]:
    """Answers and spikes that differ, and accuracies over time."""
    answers = torch.from_numpy(theirs["output"]).double().cumsum(0).argmax(2)
    spikes = {name: torch.from_numpy(theirs[name]) for name in theirs.files if name != "output"}
    different = {name: int((spikes[name] != ours.spikes[name]).sum()) for name in spikes}
    images = torch.zeros(len(labels), dtype=torch.bool)
    for name, counts in spikes.items():
        images |= (counts != ours.spikes[name]).any(0)
    gap = (torch.from_numpy(theirs["output"]) - ours.outputs).abs().max()
    return {
        "layers": sorted(spikes),
        "spikes": {name: int(counts.sum()) for name, counts in spikes.items()},
        "different_answers": int((answers != ours.predictions).sum()),
        "different_answers_at_the_last_step": int((answers[-1] != ours.predictions[-1]).sum()),
        "different_spike_counts": different,
        "images_with_different_spikes": int(images.sum()),
        "largest_output_difference": float(gap),
        "accuracy": list_accuracy(answers, labels),
    }


def list_accuracy(answers: Tensor, labels: Tensor) -> dict[str, float]:
    """The part answered right, by step."""
    return {str(step): float((answers[step - 1] == labels).double().mean()) for step in SHOWN if step <= len(answers)}


def list_refusals(ann: SpikingGraph, folder: Path) -> dict[str, str]:
    """What export_nir says of graphs that NIR cannot say."""
    neuron = {"threshold": np.ones(2), "initial": np.zeros(2)}
    base = (
        Input("pixels", (), (1, 4, 4), 255, np.zeros(1, dtype=np.int64)),
        Convolution("conv1", ("pixels",), np.ones((2, 1, 1, 1))),
        IntegrateAndFire("conv1.neuron", ("conv1",), **neuron),
    )

    def close(*nodes: Any, features: int) -> SpikingGraph:
        rest = (
            Flatten("flatten", (nodes[-1].name,)),
            Dense("classifier", ("flatten",), np.ones((3, features))),
            Readout("readout", ("classifier",), np.zeros(3), 1.0),
        )
        return SpikingGraph((*base, *nodes, *rest), 8)

    graphs = {
        "counting neurons": convert(ann, "counting", t_max=8),
        "negative spikes": convert(ann, "signed-if", t_max=8),
        "silenced neurons": convert(ann, "srp", t_max=8, tau=4),
        "max pooling": close(MaxPool("pool", ("conv1.neuron",), (2, 2), (2, 2), limit=1), features=8),
        "concatenation": close(Concatenate("join", ("conv1.neuron", "conv1.neuron")), features=64),
        "a captured ANN": ann,
    }
    found = {}
    for name, graph in graphs.items():
        try:
            export_nir(graph, folder / "refused.nir")
            found[name] = "NOT REFUSED"
        except ExportError as error:
            found[name] = str(error)
    return found


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Convert, export, run everywhere, compare."""
    run = RunFolder(arguments.run)
    recipe = run.read_recipe()
    ann = capture(run.read_model(recipe))
    graph = convert(ann, "qcfs", t_max=arguments.steps)
    place = arguments.data / recipe.data.name
    test = recipe.load_data(place if place.is_dir() else None, arguments.images)[1]
    images, labels = test.images, test.labels  # type: ignore[union-attr]
    written = export_nir(graph, folder / "net.nir", "sum", v_reset=False)
    pixels = images.float() - torch.from_numpy(graph.input.offset.astype(np.float32))[:, None, None]
    found: dict[str, Any] = {
        "network": str(arguments.run.resolve().relative_to(ROOT)),
        "method": "qcfs",
        "images": len(images),
        "steps": arguments.steps,
        "nir_sha256": hashlib.sha256(written.path.read_bytes()).hexdigest(),
        "notes": list(written.notes),
        "isospike": {"accuracy": list_accuracy(simulate(graph, images).predictions, labels)},
        "simulators": {},
    }
    for simulator, reset in RESETS.items():
        entry: dict[str, Any] = {"our_reset": reset}
        found["simulators"][simulator] = entry
        for dtype in ("float32", "float64"):
            ours = read_nir(written.path, reset=reset, dtype=getattr(torch, dtype)).run(pixels, arguments.steps)
            theirs, entry["versions"] = run_foreign(
                arguments.foreign, simulator, written.path, pixels, arguments.steps, dtype
            )
            entry[dtype] = {"our_accuracy": list_accuracy(ours.predictions, labels), **compare(theirs, ours, labels)}
    found["refused"] = list_refusals(ann, folder)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foreign", required=True, help="the Python that has norse and sinabs")
    parser.add_argument("--run", type=Path, default=ROOT / "results" / "comparisons" / "qcfs-mnist-vgg")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with mnist/")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "nir" / "foreign.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments, Path(folder))
    print(json.dumps(found, indent=2))
    write_json(arguments.out, found)


if __name__ == "__main__":
    main()
