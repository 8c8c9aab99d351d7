"""Which method for this network: all of them on the same images, in one table."""

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isospike.conversion import METHODS, QuantisedAnn, convert, verify
from isospike.data import ImageSet
from isospike.errors import ConversionError, RecipeError
from isospike.files import write_json, write_text
from isospike.graph import Activation, SpikingGraph
from isospike.metrics import count_macs, list_working_layers
from isospike.networks import CapturedNetwork
from isospike.simulator import Simulation, simulate

DEFAULT_STEPS = (1, 2, 4, 8, 16, 32)
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Choice:
    """A method with options of its own, as ``srp:tau=4`` says them.

    Attributes:
        method: a key of ``METHODS``.
        options: of its config.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What the table calls it."""
        given = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.method}:{given}" if given else self.method


@dataclass(frozen=True)
class Trial:
    """What one method came to.

    Attributes:
        method: its label.
        steps: T of each entry of the lists below.
        latency: steps that an answer takes in all: T, and what the method runs before it (SRP's tau).
        accuracy: fraction right.
        spikes: mean |spikes| per image up to T, of every neuron.
        sops: mean synaptic operations per image up to T, of all layers after the encoder, the classifier included.
        settled: fraction of the images that agree with their membranes; 0 for rate-coded methods, which do not certify.
        mismatches: counts and logits that differ from the quantised ANN's over the images that settle by T_max; None
            where a method claims no equality.
        unsettled: images that have not settled by T_max; None likewise.
        seconds: what simulating took; for lossless methods, with verifying up to T_max.
        refused: why the method cannot take this network; the lists are empty then.
    """

    method: str
    steps: list[int] = field(default_factory=list)
    latency: list[int] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    spikes: list[float] = field(default_factory=list)
    sops: list[float] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    mismatches: int | None = None
    unsettled: int | None = None
    seconds: float = 0.0
    refused: str | None = None


@dataclass(frozen=True)
class Comparison:
    """All methods on one network.

    Attributes:
        ann: accuracy of the ANN that is converted: of its exact quantised form, where it has levels.
        levelled: accuracy of the same network after calibration to levels, where some methods took that; else None.
        macs: multiply-accumulates of the ANN per image, over the layers that SOPs are counted on.
        images: how many were tried.
        trials: one for each method.
    """

    ann: float
    levelled: float | None
    macs: int
    images: int
    trials: list[Trial]


def parse_choice(text: str) -> Choice:
    """``method`` or ``method:key=value,key=value``.

    Raises:
        RecipeError: an unknown method, or options that are no pairs.
    """
    name, _, rest = text.strip().partition(":")
    if name not in METHODS:
        raise RecipeError(f"--methods: unknown method {name!r}; expected some of {', '.join(METHODS)}")
    options = {}
    for pair in filter(None, rest.split(";" if ";" in rest else ",")):
        key, separator, value = pair.partition("=")
        if not separator:
            raise RecipeError(f"--methods {text}: expected method:option=value, got {pair!r}")
        options[key.strip()] = _read_number(text, value.strip())
    return Choice(name, options)


def _read_number(text: str, value: str) -> float | int:
    try:
        number = float(value)
    except ValueError:
        raise RecipeError(f"--methods {text}: expected a number, got {value!r}") from None
    return int(number) if number == int(number) and "." not in value else number


def compare(
    ann: SpikingGraph,
    test: ImageSet,
    choices: Sequence[Choice],
    steps: Sequence[int] = DEFAULT_STEPS,
    *,
    levelled: SpikingGraph | None = None,
    calibration: Tensor | None = None,
    t_max: int = 64,
    batch_size: int = 250,
    device: str = "cpu",
    advance: Callable[[str, int], Advance] | None = None,
) -> Comparison:
    """Convert one network by several methods and run each over the same images.

    Args:
        ann: from :func:`isospike.capture`.
        test: images and labels.
        choices: the methods.
        steps: at which T the table looks.
        levelled: ``ann`` calibrated to levels (:func:`isospike.calibrate`), for the methods that need levels where
            ``ann`` has ReLUs; the others take ``ann`` itself.
        calibration: training images, for methods that measure activations.
        t_max: the most time steps of each graph; lossless methods are verified up to it.
        batch_size: images simulated together.
        device: "cpu" or "cuda".
        advance: given a method and the number of images, gives a function to call with the number done.

    Raises:
        RecipeError: no steps, or some outside 1 to ``t_max``.
    """
    chosen = sorted(set(steps))
    if not chosen or not 1 <= chosen[0] <= chosen[-1] <= t_max:
        raise RecipeError(f"--steps: expected time steps from 1 to T_max = {t_max}, got {list(steps)}")
    follow = advance or (lambda stage, total: lambda done: None)  # noqa: ARG005
    trials = []
    for choice in choices:
        source = ann if levelled is None or METHODS[choice.method].needs_images else levelled
        try:
            options = {"t_max": t_max, **choice.options}
            graph = convert(source, choice.method, images=calibration, **options)
        except ConversionError as error:
            trials.append(Trial(choice.label, refused=str(error)))
            continue
        tally, advance_method = _Tally(choice.label, graph, test.labels, chosen), follow(choice.label, len(test))
        if METHODS[choice.method].lossless:
            found = verify(
                graph,
                source,
                test.images,
                choice.method,
                batch_size=batch_size,
                device=device,
                on_batch=advance_method,
                on_simulation=tally.add,
                **options,
            )
            trial = replace(tally.conclude(), mismatches=found.mismatches, unsettled=found.unsettled)
        else:
            for first in range(0, len(test), batch_size):
                batch = test.images[first : first + batch_size]
                tally.add(first, simulate(graph, batch, chosen[-1], batch_size=batch_size, device=device))
                advance_method(first + len(batch))
            trial = tally.conclude()
        trials.append(trial)
    accuracy = _measure_ann(ann, test, batch_size, device)
    calibrated = None if levelled is None else _measure_ann(levelled, test, batch_size, device)
    return Comparison(accuracy, calibrated, count_macs(ann, classifier=True), len(test), trials)


class _Tally:
    """Sums over images, step by step."""

    def __init__(self, label: str, graph: SpikingGraph, labels: Tensor, steps: list[int]) -> None:
        self.label, self.graph, self.labels, self.steps = label, graph, labels, steps
        self.started = time.perf_counter()
        self.working = list_working_layers(graph)
        self.right, self.settled, self.spikes, self.sops = (
            torch.zeros(steps[-1], dtype=torch.float64) for _ in range(4)
        )

    def add(self, first: int, run: Simulation) -> None:
        """Count a batch that begins with image ``first``; later steps than the table's do not matter."""
        last = self.steps[-1]
        labels = self.labels[first : first + run.settled.shape[1]]
        self.right += (run.predictions == labels).sum(1)[:last]
        self.settled += run.settled.sum(1)[:last]
        for node in self.graph.neurons:
            self.spikes += (run.positive[node.name] + run.negative[node.name]).sum(1)[:last]
        for layer in self.working:
            self.sops += run.sops[layer].sum(1)[:last]

    def conclude(self) -> Trial:
        """Means per image at the table's steps."""
        return Trial(
            self.label,
            self.steps,
            [step + self.graph.tau for step in self.steps],
            self._pick(self.right),
            self._pick(self.spikes.cumsum(0)),
            self._pick(self.sops.cumsum(0)),
            self._pick(self.settled),
            seconds=round(time.perf_counter() - self.started, 1),
        )

    def _pick(self, total: Tensor) -> list[float]:
        return [float(total[step - 1]) / len(self.labels) for step in self.steps]


def _measure_ann(ann: SpikingGraph, test: ImageSet, batch_size: int, device: str) -> float:
    exact = any(isinstance(node, Activation) for node in ann)
    reference = QuantisedAnn(ann, device) if exact else CapturedNetwork(ann, dtype=torch.float64, device=device)
    right = 0
    for first in range(0, len(test), batch_size):
        part = slice(first, first + batch_size)
        logits = reference.evaluate(test.images[part])
        found = logits if isinstance(logits, Tensor) else logits.logits
        right += int((found.argmax(1).cpu() == test.labels[part]).sum())
    return right / len(test)


def write_comparison(found: Comparison, folder: Path, facts: dict[str, Any]) -> list[Path]:
    """Write ``comparison.json`` (with ``facts``: command, recipe, versions), ``.csv`` and ``.md``.

    Raises:
        FileError: a file cannot be written.
    """
    paths = [folder / f"comparison.{kind}" for kind in ("json", "csv", "md")]
    write_json(paths[0], {**facts, **asdict(found)})
    write_text(paths[1], format_csv(found))
    write_text(paths[2], format_markdown(found))
    return paths


def format_csv(found: Comparison) -> str:
    """One line for each method and T."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "steps", "latency", "accuracy", "spikes_per_image", "sops_per_image", "settled"])
    for trial in found.trials:
        rows = zip(
            trial.steps, trial.latency, trial.accuracy, trial.spikes, trial.sops, trial.settled, strict=True
        )
        for row in rows:
            writer.writerow([trial.method, *row])
    return text.getvalue()


def describe_ann(found: Comparison) -> str:
    """What is converted, in one line."""
    levelled = "" if found.levelled is None else f" (calibrated to levels: {100 * found.levelled:.2f} %)"
    return (
        f"ANN {100 * found.ann:.2f} %{levelled} on {found.images:,} images, {found.macs:,} MACs per image. "
        "Accuracy in percent."
    )


def list_cells(found: Comparison) -> list[list[str]]:
    """The table as text, its heading first: accuracy in percent over T, and what was proved."""
    steps = next((trial.steps for trial in found.trials if trial.steps), [])
    rows = [["method", *(f"T={step}" for step in steps), "extra steps", "SOPs at the last T", "mismatches"]]
    for trial in found.trials:
        if trial.refused is not None:
            rows.append([trial.method, *["-"] * len(steps), "-", "-", f"refused: {trial.refused}"])
            continue
        proof = "no claim" if trial.mismatches is None else f"{trial.mismatches} ({trial.unsettled} unsettled)"
        accuracies = [f"{100 * value:.2f}" for value in trial.accuracy]
        extra = str(trial.latency[0] - trial.steps[0])
        rows.append([trial.method, *accuracies, extra, f"{trial.sops[-1]:,.0f}", proof])
    return rows


def format_markdown(found: Comparison) -> str:
    """The table in Markdown, the ANN's line above it."""
    head, *rows = list_cells(found)
    lines = [
        describe_ann(found),
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
