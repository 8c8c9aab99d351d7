"""Adds trained networks to the zoo, and verifies those that are in it.

    python benchmarks/zoo.py add RUN_FOLDER [--name NAME] [--step T] [--round int8] [--set convert.K=VALUE] [--data DIR]
    python benchmarks/zoo.py verify [NAME ...] [--data DIR] [--out FILE.json]

``add`` takes a whole run of a recipe (trained on the whole training split, simulated and verified without a mismatch on
the whole test split), simulates its graph once more, and copies ``snn.safetensors``, ``recipe.toml`` and
``metrics.json`` to src/isospike/zoo/networks/NAME. With ``--round int8`` the run's float weights are rounded first:
that makes another ANN, which is evaluated, converted, simulated and verified as one of its own, in RUN_FOLDER-int8;
only ``recipe.toml`` and ``model.safetensors`` are needed then.

``verify`` simulates every network on the whole test split and compares with its metrics, runs every image until it
settles (which certifies equality with the ANN, docs/theorem.md), and, where the trained network is at hand (a
``model.safetensors`` under runs/NAME or results/NAME), recomputes the ANN and compares every count, logit and tensor.

``--data DIR`` holds mnist/, cifar10/ ...
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from isospike.cli.progress import show_progress
from isospike.conversion import METHODS, convert, verify
from isospike.data import SOURCES
from isospike.errors import ExportError, FileError, IsospikeError
from isospike.experiment import Experiment, Options, Recipe, RunFolder, read_recipe
from isospike.experiment.initial import load_weights
from isospike.experiment.provenance import read_versions
from isospike.experiment.reading import change_recipe, check_recipe
from isospike.experiment.recipe import dump_recipe
from isospike.export import export_c
from isospike.files import read_json, write_json
from isospike.graph import SpikingGraph, compare_graphs, count_membrane_bits, load_graph
from isospike.networks import capture
from isospike.simulator import simulate
from isospike.zoo import Entry, find, names
from isospike.zoo.catalogue import FOLDER, GRAPH, METRICS, RECIPE
from isospike.zoo.running import BLOCK, answer, compare, load_test_images

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
LARGEST = 8_000_000
"""Bytes of a graph that may come with the package."""
ROUNDED = "trained in float, weights then rounded to "
"""What the recipe of a rounded network says at the end of its source."""

LICENCES = {
    "mnist": "MIT; trained on MNIST (CC BY-SA 3.0)",
    "fashion-mnist": "MIT; trained on Fashion-MNIST (MIT)",
    "cifar10": "MIT; trained on CIFAR-10 (Krizhevsky, 2009)",
    "cifar100": "MIT; trained on CIFAR-100 (Krizhevsky, 2009)",
    "digits": "MIT; trained on UCI digits (CC BY 4.0)",
}


def main() -> None:
    """Add or verify; one line and exit code 2 for bad input, 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    adding = commands.add_parser("add")
    adding.add_argument("folder", type=Path)
    adding.add_argument("--name", help="in the zoo; the recipe's by default")
    adding.add_argument("--step", type=int, help="T whose accuracy is listed; by default that of the published number")
    adding.add_argument("--round", choices=("int8",), help="round float weights to this first")
    adding.add_argument("--set", action="append", default=[], help="with --round: a setting of convert or simulate")
    verifying = commands.add_parser("verify")
    verifying.add_argument("names", nargs="*")
    verifying.add_argument("--out", type=Path, default=ROOT / "results" / "zoo" / "metrics.json")
    for each in (adding, verifying):
        each.add_argument("--data", type=Path, default=SHARED, help="folder with mnist/, cifar10/ ...")
    arguments = parser.parse_args()
    try:
        if arguments.command == "add":
            folder = arguments.folder
            if arguments.set and not arguments.round:
                raise FileError("--set: expected --round beside it, got none: a run that is there keeps its settings")
            if arguments.round:
                folder = round_run(folder, arguments.round, arguments.set, arguments.data)
            add(folder, arguments.name, arguments.step, arguments.data)
        elif not verify_all(arguments.names or names(), arguments.data, arguments.out):
            sys.exit(1)
    except IsospikeError as error:
        print(f"zoo: {error}", file=sys.stderr)
        sys.exit(2)


def find_data(recipe: Recipe, data: Path) -> Path | None:
    """The folder of the recipe's dataset under ``data``; None where it is not there, which means the hub."""
    folder = data / recipe.data.name
    return folder if folder.is_dir() and SOURCES[recipe.data.name].hub is not None else None


def round_run(folder: Path, kind: str, settings: list[str], data: Path) -> Path:
    """Round the float weights of a trained network and make a whole run of what comes out, beside ``folder``.

    int8 weights are whole numbers times a scale per channel (one scale for the classifier), half to even; the
    recipe's ``quantise`` says so, and everything else of the network stays.

    Raises:
        FileError: weights that are not floats.
    """
    recipe = RunFolder(folder).read_recipe()
    if recipe.quantise.weights != "float":
        raise FileError(f"{folder}: expected float weights to round, got {recipe.quantise.weights}: leave --round out")
    content = json.loads(json.dumps(dump_recipe(recipe)), object_hook=_drop_none)
    content["quantise"] |= {"weights": kind, "ends": kind}
    content["about"]["source"] += f"; {ROUNDED}{kind}"
    rounded = change_recipe(check_recipe(RECIPE, content), settings)
    model = rounded.build()
    load_weights(model, folder / "model.safetensors")
    target = RunFolder(folder.with_name(f"{folder.name}-{kind}"))
    target.clear_results()
    target.write_recipe(rounded)
    target.write_model(model.eval())
    with show_progress() as display:
        experiment = Experiment(rounded, target, Options(find_data(rounded, data)), display.advance)
        experiment.evaluate()
        experiment.convert()
        experiment.simulate_and_verify()
    before, after = read_json(folder / METRICS).get("ann"), target.read_metrics()["ann"]
    print(f"ANN accuracy before rounding {before and before['accuracy']}, after {after['accuracy']}")
    return target.path


def add(folder: Path, name: str | None, step: int | None, data: Path) -> None:
    """Check a run, simulate its graph again, and copy it into the zoo.

    Raises:
        FileError: a run that is not whole, not verified, or whose graph does not do what its metrics say.
    """
    recipe, metrics, graph = read_recipe(folder / RECIPE), read_json(folder / METRICS), load_graph(folder / GRAPH)
    test = load_test_images(recipe, find_data(recipe, data))
    check_run(folder, recipe, metrics, len(test))
    check_model(folder, recipe, graph)
    with show_progress() as display:
        snn, answers = answer(graph, recipe, test, follow=display.advance("simulate", len(test)))
    content = (folder / GRAPH).read_bytes()
    rounded = recipe.about.source.partition(ROUNDED)[2]
    metrics["snn"] = {**metrics["snn"], "images": len(test)}
    metrics["zoo"] = {
        "bytes": len(content),
        "sha256": sha256(content).hexdigest(),
        "step": check_step(find_step(recipe) if step is None else step, recipe),
        "source": recipe.about.source,
        "licence": LICENCES.get(recipe.data.name, f"MIT; trained on {recipe.data.name}"),
        "rounded": rounded or None,
        "answers": answers.as_dict(),
    }
    metrics["c"] = measure_program(graph)
    differing = compare(metrics, len(test), snn, answers)[1]
    if differing:
        raise FileError(f"{folder}: the graph does not what metrics.json says ({', '.join(differing)}): simulate anew")
    target = FOLDER / (name or "-".join(filter(None, (recipe.name, rounded))))
    target.mkdir(parents=True, exist_ok=True)
    for file in (GRAPH, RECIPE):
        shutil.copy(folder / file, target / file)
    write_json(target / METRICS, metrics)
    row = Entry(target.name, target).describe()
    print(f"added {row['name']}: SNN {row['snn_accuracy']:.2%} at T={row['step']}, {row['bytes']:,} bytes, {target}")


def measure_program(graph: SpikingGraph) -> dict[str, Any] | None:
    """Flash and RAM of the network's C program; None where it has floats."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return {"weights": "packed", **asdict(export_c(graph, folder).sizes)}
        except ExportError:
            return None


def check_run(folder: Path, recipe: Recipe, metrics: dict[str, Any], images: int) -> None:
    """Refuse what may not be published.

    Raises:
        FileError: a held-out run, noise, no proof on every test image, too large a file.
    """
    proof, snn = metrics.get("verify"), metrics.get("snn")
    lossless = METHODS[recipe.convert.method].lossless
    for wrong, expected in (
        (recipe.data.held_out, "a run that trained on the whole training split (data.held_out=0)"),
        (recipe.noise.encoder_drop or recipe.noise.input, "a run without noise"),
        (snn is None or metrics.get("ann") is None, "a run that was evaluated and simulated"),
        (lossless and not proof, "a verified run ('isospike verify')"),
        (proof and proof["images"] != images, f"a proof on all {images:,} test images"),
        (proof and (proof["mismatches"] or proof["differing_tensors"]), "a proof without mismatches"),
        ((folder / GRAPH).stat().st_size > LARGEST, f"a graph of at most {LARGEST:,} bytes: try --round int8"),
    ):
        if wrong:
            raise FileError(f"{folder}: expected {expected}")


def check_model(folder: Path, recipe: Recipe, graph: SpikingGraph) -> None:
    """Compare the graph with a fresh conversion; where the method measures activations of images, it is taken as it is.

    Raises:
        FileError: no trained network, or stored tensors that differ.
    """
    if METHODS[recipe.convert.method].needs_images:
        return
    if not (folder / "model.safetensors").is_file():
        raise FileError(f"{folder}: expected model.safetensors, got none: the graph can be compared with no network")
    model = RunFolder(folder).read_model(recipe)
    differing = compare_graphs(graph, convert(model, recipe.convert.method, **recipe.convert_options))
    if differing:
        raise FileError(f"{folder}: {', '.join(differing)} of the graph are not those of its model: convert anew")


def find_step(recipe: Recipe) -> int:
    """T of the published number, the last of several, where so many steps are simulated; else the last of these."""
    stated = re.search(r"at T=(?:\d+, )*(\d+)", recipe.about.published)
    return min(int(stated[1]) if stated else recipe.simulate.steps, recipe.simulate.steps)


def check_step(step: int, recipe: Recipe) -> int:
    """A number of steps that was simulated.

    Raises:
        FileError: it was not.
    """
    if not 1 <= step <= recipe.simulate.steps:
        raise FileError(f"--step: expected 1 to {recipe.simulate.steps}, the steps that were simulated, got {step}")
    return step


def verify_all(chosen: list[str], data: Path, out: Path) -> bool:
    """Verify networks, print a line for each, write what was found; whether all is well."""
    found = {}
    for name in chosen:
        found[name] = result = verify_entry(find(name), data)
        verdict = "equal" if result["equal"] else "DIFFERS"
        parts = [f"{name}: {verdict}", f"{result['images']:,} images", result["proof"]]
        print("; ".join(parts + result["differing"]), flush=True)
    kept = read_json(out)["networks"] if out.is_file() else {}
    networks = {name: {**kept, **found}[name] for name in names() if name in {**kept, **found}}
    summary = {
        "networks": networks,
        "images": sum(each["images"] for each in networks.values()),
        "mismatches": sum(each["mismatches"] or 0 for each in networks.values()),
        "equal": all(each["equal"] for each in networks.values()),
        "versions": read_versions(),
    }
    write_json(out, summary)
    return all(result["equal"] for result in found.values())


def verify_entry(entry: Entry, data: Path) -> dict[str, Any]:
    """One network: answers against the record, then the proof."""
    started = time.perf_counter()
    graph, recipe, metrics = entry.load(), read_recipe(entry.recipe_path), entry.metrics
    test = load_test_images(recipe, find_data(recipe, data))
    with show_progress() as display:
        snn, answers = answer(graph, recipe, test, follow=display.advance("simulate", len(test)))
    _, differing = compare(metrics, len(test), snn, answers)
    proof = prove(entry, graph, recipe, test) if METHODS[recipe.convert.method].lossless else {"proof": "no claim"}
    wrong = [*differing, *proof.pop("wrong", [])]
    return {
        "equal": not wrong,
        "differing": wrong,
        "images": len(test),
        "ann_accuracy": metrics["ann"]["accuracy"],
        "snn_accuracy": snn["accuracy"],
        "step": metrics["zoo"]["step"],
        "answers": f"{answers.of} of {answers.steps} steps, {len(answers.sha256)} digests of {BLOCK} images",
        "bytes": metrics["zoo"]["bytes"],
        "sha256": metrics["zoo"]["sha256"],
        "mismatches": None,
        **proof,
        "seconds": round(time.perf_counter() - started, 1),
    }


def prove(entry: Entry, graph: SpikingGraph, recipe: Recipe, test: Any) -> dict[str, Any]:
    """Every count and logit against the ANN, where its model is at hand; else the certificate of agreement alone."""
    recorded, size = entry.metrics["verify"], recipe.simulate.batch_size
    for place in (ROOT / "runs", ROOT / "results", ROOT.parent / "runs"):
        folder = RunFolder(place / entry.name)
        if not (folder.path / "model.safetensors").is_file():
            continue
        model = capture(folder.read_model(recipe))
        found = verify(graph, model, test.images, recipe.convert.method, batch_size=size, **recipe.convert_options)
        wrong = [] if found.is_equal else [f"the ANN of {folder.path}: {found.mismatches} mismatches"]
        unsettled, settled_by, mismatches = found.unsettled, found.settled_by, found.mismatches
        proof = f"{mismatches} mismatches with the ANN of {found.neurons:,} counts an image, settled by T={settled_by}"
        break
    else:
        steps = [(~simulate(graph, batch, batch_size=size).settled).sum(0) + 1 for batch in test.images.split(BLOCK)]
        last = max(int(each.max()) for each in steps)
        unsettled = sum(int((each > graph.t_max).sum()) for each in steps)
        settled_by, mismatches, wrong = None if unsettled else last, None, []
        proof = f"no model at hand; every image agrees by T={settled_by}, which certifies equality"
    bits = count_membrane_bits(graph)
    for what, ours, theirs in (
        ("unsettled", unsettled, recorded["unsettled"]),
        ("settled_by", settled_by, recorded["settled_by"]),
        ("membrane_bits", bits, recorded["membrane_bits"]),
    ):
        wrong += [] if ours == theirs else [f"{what}: {ours}, recorded {theirs}"]
    return {"proof": proof, "mismatches": mismatches, "unsettled": unsettled, "settled_by": settled_by, "wrong": wrong}


def _drop_none(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value is not None}


if __name__ == "__main__":
    main()
