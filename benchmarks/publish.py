"""Publish runs: copy recipe, metrics and figures into results/; write the tables of results/README.md and README.md.

    python benchmarks/publish.py [RUN_FOLDER ...]

Without a folder only the tables are written anew. Every number in them comes from a metrics.json under results/, or,
for methods compared on one network (``--comparison``, after ``isospike compare RUN``), from a comparison.json. With
``--tables NAME`` RUN_FOLDER/NAME (``isospike compare RUN -o RUN/NAME``) is published beside it, as NAME.json.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from isospike.conversion import METHODS
from isospike.errors import FileError, IsospikeError
from isospike.experiment.comparison import format_csv, format_markdown
from isospike.experiment.comparison_table import read_table
from isospike.files import read_json, write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
COMPARISONS = RESULTS / "comparisons"
BEGIN, END = "<!-- results: written by benchmarks/publish.py -->", "<!-- end of results -->"
SETTLING, SETTLING_END = "<!-- settling: written by benchmarks/publish.py -->", "<!-- end of settling -->"
COMPARED, COMPARED_END = "<!-- comparisons: written by benchmarks/publish.py -->", "<!-- end of comparisons -->"

# Row, network, data, published accuracies in percent (SRP's: README of the authors' code), the T at which ours is given
NONE_PUBLISHED = "\N{EN DASH}"
PUBLISHED = [
    ("all-integer-mnist", "32C5-P2-64C5-P2-1000", "MNIST", "ANN 99.45, SNN 99.45 at T=4", 4),
    ("all-integer-cifar10", "96C3-256C3-P2-...-1024-1024", "CIFAR-10", "ANN 93.32, SNN 93.15 at T=8", 8),
    ("scatter-gather-mnist", "16C5(same)-16C5-P2-32C5-P2-256", "MNIST", "SNN 99.37 at T=1", 1),
    ("scatter-gather-mnist-drop10", "the same, 10 % of encoder spikes dropped", "MNIST", "SNN 99.39 at T=1", 1),
    ("scatter-gather-mnist-drop20", "the same, 20 % of encoder spikes dropped", "MNIST", "SNN 99.22 at T=1", 1),
    ("scatter-gather-cifar10", "64C3*3-P2-...-512C3-512", "CIFAR-10", "SNN 91.91 at T=1", 1),
    ("scatter-gather-cifar10-continued", "the same, trained on", "CIFAR-10", "SNN 91.91 at T=1", 1),
    ("scatter-gather-cifar100", "64C3*3-P2-...-512C3-512", "CIFAR-100", "SNN 65.0 at T=1", 1),
    ("negative-spike-mnist", "20C5-P2-50C5-P2-500", "MNIST", "SNN 99.32 at T=13", 13),
    ("negative-spike-fashion-mlp", "400-400", "Fashion-MNIST", "SNN 88.79 at T=11", 11),
    ("negative-spike-fashion-lenet", "32C5-P2-64C5-P2-1024", "Fashion-MNIST", "SNN 89.99 at T=17", 17),
    ("negative-spike-cifar10-cnn1", "96C3-256C3-P2-...-1024-1024", "CIFAR-10", "SNN 92.77 at T=57", 57),
    ("negative-spike-cifar10-cnn2", "128C3-256C3-P2-...-1024-512", "CIFAR-10", "SNN 93.35 at T=40", 40),
    ("percentile-cifar100-vgg15", "VGG-15", "CIFAR-100", "ANN 64.9", 100),
    ("percentile-cifar100-vgg15-binary", "VGG-15, binary", "CIFAR-100", "ANN 64.8", 100),
    ("percentile-imagenet-vgg15", "VGG-15", "ImageNet", "ANN 69.05", 100),
    ("percentile-imagenet-vgg15-binary", "VGG-15, binary", "ImageNet", "ANN 64.4", 100),
    ("srp-cifar10-vgg16", "VGG-16", "CIFAR-10", NONE_PUBLISHED, 8),
    ("srp-cifar10-resnet20", "ResNet-20", "CIFAR-10", NONE_PUBLISHED, 8),
    ("srp-cifar10-resnet20-counting", "the same network by `counting`", "CIFAR-10", NONE_PUBLISHED, 24),
    ("srp-cifar100-vgg16", "VGG-16", "CIFAR-100", "SNN 71.52, 74.31, 75.42, 76.25 at T=1, 2, 4, 8 (tau=4)", 8),
    ("srp-cifar100-resnet20", "ResNet-20", "CIFAR-100", "SNN 46.48, 53.96, 59.34, 62.94 at T=1, 2, 4, 8 (tau=4)", 8),
    ("srp-imagenet-vgg16", "VGG-16", "ImageNet", "SNN 50.37, 61.37, 66.47, 68.37 at T=1, 2, 4, 8 (tau=14)", 8),
    ("srp-imagenet-resnet34", "ResNet-34", "ImageNet", "SNN 57.78, 64.32, 66.71, 67.62 at T=1, 2, 4, 8 (tau=8)", 8),
]


def main() -> None:
    """Copy the given runs and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--name", help="the name under results/; the recipe's by default")
    parser.add_argument("--comparison", action="store_true", help="publish RUN_FOLDER/comparison, not the run")
    parser.add_argument("--tables", default="comparison", help="of which folder in RUN_FOLDER, for --comparison")
    arguments = parser.parse_args()
    try:
        for folder in arguments.folders:
            if arguments.comparison:
                publish_comparison(folder, arguments.name, arguments.tables)
            else:
                publish(folder, arguments.name)
        write_tables()
    except (IsospikeError, OSError) as error:
        print(f"publish: {error}", file=sys.stderr)
        sys.exit(2)


def write_tables() -> None:
    """Write every table anew from what is committed.

    Raises:
        FileError: a page without the marks of a table.
    """
    for path in list_comparisons():
        found, _ = read_table(path)
        write_text(path.with_suffix(".csv"), format_csv(found))
        write_text(path.with_suffix(".md"), format_markdown(found))
    results, front = RESULTS / "README.md", ROOT / "README.md"
    page = replace_block(results.read_text(), format_results())
    page = replace_block(page, format_settling(), SETTLING, SETTLING_END)
    page = replace_block(page, format_comparisons(), COMPARED, COMPARED_END)
    summary = replace_block(front.read_text(), format_summary())
    write_text(results, page)
    write_text(front, summary)


def publish(folder: Path, name: str | None) -> None:
    """Copy what is published of a run."""
    metrics = read_json(folder / "metrics.json")
    if not any((folder / "figures").glob("*.svg")):
        raise FileError(
            f"{folder / 'figures'}: expected the figures of the run, got none: run 'isospike figures {folder}'"
        )
    target = RESULTS / (name or metrics["recipe"])
    target.mkdir(parents=True, exist_ok=True)
    for file in ("recipe.toml", "metrics.json"):
        shutil.copy(folder / file, target / file)
    shutil.rmtree(target / "figures", ignore_errors=True)
    shutil.copytree(folder / "figures", target / "figures")


def publish_comparison(folder: Path, name: str | None, tables: str) -> None:
    """Copy what `isospike compare` found, its figures, and what says how the network was trained."""
    target = COMPARISONS / (name or folder.name)
    target.mkdir(parents=True, exist_ok=True)
    for file in ("recipe.toml", "metrics.json", "model.safetensors"):
        shutil.copy(folder / file, target / file)
    shutil.copy(folder / tables / "comparison.json", target / f"{tables}.json")
    for figure in sorted((folder / tables).glob("accuracy-over-*")):
        shutil.copy(figure, target / f"{tables}-{figure.name}")


def list_comparisons() -> list[Path]:
    """The published comparisons: of each network comparison.json, then the others."""
    found = [path for path in COMPARISONS.glob("*/*.json") if path.name != "metrics.json"]
    return sorted(found, key=lambda path: (path.parent.name, path.stem != "comparison", path.stem))


def format_comparisons() -> str:
    """The tables of all comparisons, each with its command and its training."""
    lines: list[str] = []
    for path in list_comparisons():
        facts = json.loads(path.read_text())
        training = json.loads((path.parent / "metrics.json").read_text())["training"]
        minutes = training["seconds"] / 60
        more = "" if path.stem == "comparison" else f", `{path.name}`"
        figures = sorted(path.parent.glob(f"{path.stem}-accuracy-over-*.svg"))
        lines += [
            f"### `{path.parent.name}`{more}",
            "",
            f"Recipe `{facts['recipe']}`: {training['epochs']} epochs in {minutes:.1f} min; then",
            "",
            f"    {format_command(facts['command'])}",
            "",
            *path.with_suffix(".md").read_text().splitlines(),
            "",
            *(f"![{figure.stem}](comparisons/{path.parent.name}/{figure.name})" for figure in figures),
            *([""] if figures else []),
        ]
    return "\n".join(lines).rstrip()


def format_command(words: list[str]) -> str:
    """A command as anybody would give it: runs under runs/, the dataset in FOLDER."""
    words = [f"runs/{word.rpartition('/runs/')[2]}" if "/runs/" in word else word for word in words]
    return " ".join("FOLDER" if before == "--data" else word for before, word in zip(["", *words], words, strict=False))


def read_metrics(name: str) -> dict[str, Any] | None:
    """The committed metrics of a row; None where there are none."""
    path = RESULTS / name / "metrics.json"
    return json.loads(path.read_text()) if path.is_file() else None


def format_results() -> str:
    """The whole published table beside ours."""
    lines = [
        "| result | network | data | published (%) | ANN (%) | SNN at that T (%) | SNN = ANN on every image from "
        "| mismatches | spikes / image | SOPs / image | MACs / image | training | machine |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, network, data, published, steps in PUBLISHED:
        metrics = read_metrics(name)
        row = [f"`{name}`", f"`{network}`" if "C3-" in network or "C5-" in network else network, data, published]
        ours = ["not run yet", *[""] * 8] if metrics is None else format_row(metrics, steps)
        lines.append("| " + " | ".join(row + ours) + " |")
    return "\n".join(lines)


def format_row(metrics: dict[str, Any], steps: int) -> list[str]:
    """Our side of a row: at the published number of steps, or at the last one recorded."""
    ann, snn = metrics["ann"], metrics["snn"]
    step = min(steps, len(snn["accuracy"])) - 1
    accuracy = f"{100 * snn['accuracy'][step]:.2f} at T={step + 1}"
    if "accuracy_spread" in snn:
        accuracy += f" (mean of {len(metrics['noise']['seeds'])} seeds, s.d. {100 * snn['accuracy_spread'][step]:.2f})"
    training = metrics.get("training", {})
    return [
        f"{100 * ann['accuracy']:.2f}",
        accuracy,
        *format_proof(metrics),
        f"{snn['spikes_per_image'][step]:,.0f}",
        f"{snn['sops_per_image'][step]:,.0f}",
        f"{ann['macs_per_image']:,}",
        format_training(training) if training else "",
        training.get("machine") or "not noted",
    ]


def format_training(training: dict[str, Any]) -> str:
    """Epochs and minutes, and whose weights they began with."""
    text = f"{training['epochs']} epochs, {training['seconds'] / 60:.1f} min"
    return text if "initial" not in training else f"{text}, begun with `{training['initial']['source']}`"


def format_proof(metrics: dict[str, Any]) -> tuple[str, str]:
    """From which T the SNN equals its ANN, and on how many images how many do not; or why there is nothing to prove."""
    proof = metrics["verify"]
    if proof is not None:
        found = f"{proof['mismatches']} of {proof['images']:,} images x {proof['neurons']:,}"
        if proof.get("differing_tensors"):
            found += f"; stored tensors differ: {', '.join(proof['differing_tensors'])}"
        if proof["mismatches"] or proof.get("differing_tensors"):
            return "not equal", found
        if proof["unsettled"]:
            return f"{proof['unsettled']:,} unsettled", found
        return f"T={proof['settled_by']}", found
    if METHODS[metrics["method"]].lossless:
        return "spikes dropped", "nothing to verify"
    return "rate-coded", "claims no equality"


def format_settling() -> str:
    """When images settle and what early exit saves, of the rows whose verification noted it."""
    lines = [
        "| result | 50 % | 90 % | 99 % | 100 % | mean steps with early exit | answers that early exit changes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, *_ in PUBLISHED:
        proof = (read_metrics(name) or {}).get("verify") or {}
        found = proof.get("latency", {})
        if "early_exit_changes" not in found:
            continue
        steps = found["steps_until_settled"]
        reached = ["never" if steps[key] is None else f"T={steps[key]}" for key in ("50", "90", "99", "100")]
        mean, changes = found["mean_steps_early_exit"], found["early_exit_changes"]
        lines.append(f"| `{name}` | {' | '.join(reached)} | {mean:.2f} | {changes} of {found['images']:,} |")
    return "\n".join(lines)


def format_summary() -> str:
    """The rows that we have, short."""
    lines = [
        "| result | data | ANN (%) | SNN (%) | SOPs / image at that T | ANN's MACs | equal on every test image from "
        "| published (%) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, _, data, published, steps in PUBLISHED:
        metrics = read_metrics(name)
        if metrics is None or metrics["verify"] is None:
            continue
        row = format_row(metrics, steps)
        lines.append(f"| `{name}` | {data} | {row[0]} | {row[1]} | {row[5]} | {row[6]} | {row[2]} | {published} |")
    return "\n".join(lines)


def replace_block(text: str, table: str, begin: str = BEGIN, end: str = END) -> str:
    """``text`` with what stands between the two marks replaced.

    Raises:
        FileError: a mark that is missing.
    """
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        missing = end if opened else begin
        raise FileError(f"expected a page with the line {missing!r}, got one without: put it where the table goes")
    return f"{before}{begin}\n{table}\n{end}{after}"


if __name__ == "__main__":
    main()
