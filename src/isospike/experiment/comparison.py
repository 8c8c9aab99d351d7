"""Which method for this network: all of them on the same images, in one table."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from isospike.conversion import METHODS, QuantisedAnn, Verification, convert, verify
from isospike.data import ImageSet
from isospike.errors import ConversionError, GraphError, RecipeError
from isospike.experiment.comparison_table import (
    Comparison,
    Trial,
    describe_ann,
    format_csv,
    format_markdown,
    list_cells,
    write_comparison,
)
from isospike.experiment.costs import summarise_activity, summarise_energy, summarise_latency
from isospike.experiment.own_settings import check_options
from isospike.experiment.preparation import Preparation
from isospike.experiment.summaries import summarise_seeds
from isospike.experiment.tallies import Tally, join_tallies, tally
from isospike.graph import Activation, SpikingGraph, count_membrane_bits
from isospike.memory import keep_freed_memory
from isospike.metrics import TABLES, EnergyTable, count_macs, measure_footprint, measure_macs
from isospike.networks import CapturedNetwork
from isospike.simulator import Simulation, simulate

__all__ = [
    "Choice",
    "Comparison",
    "Trial",
    "compare",
    "describe_ann",
    "format_csv",
    "format_markdown",
    "list_cells",
    "parse_choice",
    "write_comparison",
]
DEFAULT_STEPS = (1, 2, 4, 8, 16, 32)
Advance = Callable[[int], None]
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "none": None}


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
class Scope:
    """How the methods are tried.

    Attributes:
        steps: at which T the table looks.
        t_max: the most time steps of each graph; lossless methods are verified up to it.
        batch_size: images simulated together.
        device: "cpu" or "cuda".
        seed: of the methods that draw images.
        tables: what operations cost.
    """

    steps: tuple[int, ...] = DEFAULT_STEPS
    t_max: int = 64
    batch_size: int = 250
    device: str = "cpu"
    seed: int = 0
    tables: tuple[EnergyTable, ...] = TABLES

    def __post_init__(self) -> None:
        if self.t_max < 1:
            raise RecipeError(f"--t-max: expected at least 1 time step, got {self.t_max}")
        chosen = tuple(sorted(set(self.steps)))
        if not chosen or not 1 <= chosen[0] <= chosen[-1] <= self.t_max:
            raise RecipeError(
                f"--steps: expected time steps from 1 to T_max = {self.t_max}, got {list(self.steps)}: give others, or "
                "a larger --t-max"
            )
        if self.batch_size < 1:
            raise RecipeError(f"--batch-size: expected at least 1 image, got {self.batch_size}")
        object.__setattr__(self, "steps", chosen)


def parse_choice(text: str) -> Choice:
    """``method`` or ``method:key=value,key=value``.

    Raises:
        RecipeError: an unknown method or option, or options that are no pairs.
    """
    name, _, rest = text.strip().partition(":")
    if name not in METHODS:
        raise RecipeError(f"--methods: unknown method {name!r}; expected all, or some of {', '.join(METHODS)}")
    options = {}
    for pair in filter(None, rest.split(";" if ";" in rest else ",")):
        key, separator, value = pair.partition("=")
        if not separator:
            raise RecipeError(f"--methods {text}: expected method:option=value, got {pair!r}")
        options[key.strip()] = _read_value(text, value.strip())
    try:
        check_options(name, options, 0)
    except ConversionError as error:
        raise RecipeError(f"--methods {text}: {str(error).removeprefix('--set ')}") from error
    return Choice(name, options)


def _read_value(text: str, value: str) -> float | int | bool | None:
    if value in _WORDS:
        return _WORDS[value]
    try:
        number = float(value)
    except ValueError:
        raise RecipeError(f"--methods {text}: expected a number, got {value!r}") from None
    return int(number) if "." not in value and number.is_integer() else number


@keep_freed_memory()
def compare(
    preparation: Preparation,
    test: ImageSet,
    choices: Sequence[Choice],
    scope: Scope,
    *,
    known: Mapping[str, Trial] | None = None,
    advance: Callable[[str, int], Advance] | None = None,
    on_trial: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Convert one network by several methods and run each over the same images.

    A method that does not take the network has a row with its reason, and the others go on.

    Args:
        preparation: the network, and what each method is given of it.
        test: images and labels.
        choices: the methods.
        scope: how they are tried.
        known: what earlier methods came to, by label: taken over.
        advance: given a method and the number of images, gives a function to call with the number done.
        on_trial: called after each method with all so far.

    Raises:
        ConversionError: no method takes the network.
        SimulationError: images of the wrong shape, no images.
    """
    follow = advance or (lambda stage, total: lambda done: None)  # noqa: ARG005
    ann = preparation.captured
    macs = measure_macs(ann)
    energy = {table.name: table.spend(macs=sum(macs.values())) for table in scope.tables}
    accuracy = _measure_ann(ann, test, scope)
    trials: list[Trial] = []
    levelled: float | None = None
    for choice in choices:
        earlier = (known or {}).get(choice.label)
        options = check_options(choice.method, {"t_max": scope.t_max, **choice.options}, scope.seed)
        try:
            source = ann if METHODS[choice.method].needs_images else preparation.choose_ann(choice.method)
            if source is not ann and levelled is None:
                levelled = _measure_ann(source, test, scope)
            if earlier is not None:
                trial = earlier
            else:
                images = preparation.choose_images(choice.method, options)
                graph = convert(source, choice.method, images=images, **options)
                trial = _try(choice, options, graph, source, test, scope, follow(choice.label, len(test)))
        except (ConversionError, GraphError) as error:
            trial = Trial(choice.label, refused=" ".join(str(error).split()))
        trials.append(trial)
        found = Comparison(accuracy, levelled, count_macs(ann, classifier=True), len(test), list(trials), energy)
        if on_trial is not None:
            on_trial(found)
    if all(trial.refused is not None for trial in trials):
        reason = trials[0] if trials else Trial("none", refused="no method was named")
        raise ConversionError(f"compare: no method takes this network; {reason.method}: {reason.refused}")
    return found


def _try(
    choice: Choice,
    options: dict[str, Any],
    graph: SpikingGraph,
    source: SpikingGraph,
    test: ImageSet,
    scope: Scope,
    advance: Advance,
) -> Trial:
    """Simulate one method's graph; what is lossless is verified too, from the same simulation."""
    started, size, device = time.perf_counter(), scope.batch_size, scope.device
    parts: list[Tally] = []

    def add(first: int, run: Simulation) -> None:
        parts.append(tally(run, test.labels[first : first + run.settled.shape[1]], size))

    found: Verification | None = None
    if METHODS[choice.method].lossless:
        found = verify(
            graph,
            source,
            test.images,
            choice.method,
            batch_size=size,
            device=device,
            on_batch=advance,
            on_simulation=add,
            **options,
        )
    else:
        for first in range(0, max(len(test), 1), size):
            batch = test.images[first : first + size]
            add(first, simulate(graph, batch, scope.steps[-1], batch_size=size, device=device))
            advance(first + len(batch))
    seconds = round(time.perf_counter() - started, 1)
    return _conclude(choice.label, graph, join_tallies(parts), scope, found, seconds)


def _conclude(
    label: str, graph: SpikingGraph, counts: Tally, scope: Scope, found: Verification | None, seconds: float
) -> Trial:
    """Means per image at the table's steps, from the functions that write ``metrics.json``."""
    steps = scope.steps
    activity, energy = summarise_activity(graph, [counts]), summarise_energy(graph, [counts], scope.tables)
    latency, memory = summarise_latency(graph, [counts]), measure_footprint(graph)
    membranes = count_membrane_bits(graph).values()
    spikes = sum((counts.positive[node.name] + counts.negative[node.name]).sum(0) for node in graph.neurons)

    def pick(values: Sequence[float]) -> list[float]:
        return [values[step - 1] for step in steps]

    def mean(sums: Any) -> list[float]:
        return pick((sums.double() / counts.total).tolist())

    equal = found is not None and found.is_equal
    return Trial(
        label,
        list(steps),
        [step + graph.tau for step in steps],
        mean(counts.correct.sum(0)),
        mean(torch.as_tensor(spikes).cumsum(0)),
        pick(energy["network"]["sops"]),
        pick(summarise_seeds([counts])["settled"]),
        mismatches=None if found is None else found.mismatches,
        unsettled=None if found is None else found.unsettled,
        seconds=seconds,
        positive_per_neuron=pick(activity["positive_per_neuron"]),
        negative_per_neuron=pick(activity["negative_per_neuron"]),
        energy={table.name: pick(energy["network"][table.name]["snn"]) for table in scope.tables},
        equal_bits=_pick_bits(energy["equal_bits"], steps),
        equal_from=latency["steps_until_settled"]["100"] if equal else None,
        membrane_bits=None if None in membranes else max((bits for bits in membranes if bits), default=None),
        parameter_bits=memory.parameters,
        state_bits=memory.state,
    )


def _pick_bits(section: dict[str, list[float]] | None, steps: Sequence[int]) -> dict[str, list[float]] | None:
    if section is None:
        return None
    return {key: [values[step - 1] for step in steps] for key, values in section.items()}


def _measure_ann(ann: SpikingGraph, test: ImageSet, scope: Scope) -> float:
    exact = any(isinstance(node, Activation) for node in ann)
    reference = (
        QuantisedAnn(ann, scope.device) if exact else CapturedNetwork(ann, dtype=torch.float64, device=scope.device)
    )
    right = 0
    for first in range(0, len(test), scope.batch_size):
        part = slice(first, first + scope.batch_size)
        logits = reference.evaluate(test.images[part])
        found = logits if isinstance(logits, Tensor) else logits.logits
        right += int((found.argmax(1).cpu() == test.labels[part]).sum())
    return right / len(test)
