"""Simulating a network of the zoo on its test set, and comparing with what was recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from isospike.data import ImageSet, hold_images
from isospike.errors import DataError
from isospike.experiment import Recipe, read_recipe
from isospike.experiment.summaries import Counting, collect_logs, summarise_logs, summarise_seeds
from isospike.experiment.tallies import join_tallies, start_tally, tally
from isospike.graph import SpikingGraph
from isospike.memory import keep_freed_memory
from isospike.simulator import Simulation, simulate
from isospike.zoo.catalogue import Entry

BLOCK = 1000
"""Images behind each digest, so that the first few thousand can be compared without the rest."""

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Answers:
    """What a network answered, as digests.

    Attributes:
        of: "logits" of an integer network (at every step, bit for bit) or "predictions" (the class at every step)
            where floats occur, whose last bits depend on the processor.
        steps: time steps.
        sha256: one digest for each ``BLOCK`` images, the last block may be smaller: of int64, little-endian,
            (images, steps, classes) or (images, steps).
    """

    of: str
    steps: int
    sha256: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"of": self.of, "steps": self.steps, "block": BLOCK, "sha256": list(self.sha256)}


@dataclass(frozen=True)
class Rerun:
    """A network of the zoo, simulated again.

    Attributes:
        images: how many test images.
        snn: accuracy, settled, spikes and SOPs for each step, as in ``metrics.json``.
        answers: digests.
        compared: how many of the images could be compared with the record; 0 where fewer than ``BLOCK`` were run.
        differing: what differs from the record, one line each.
    """

    images: int
    snn: dict[str, Any]
    answers: Answers
    compared: int
    differing: tuple[str, ...]

    @property
    def is_equal(self) -> bool | None:
        """Whether all that was compared is equal; None where nothing was."""
        return not self.differing if self.compared else None


def run(
    entry: Entry,
    data: Path | None = None,
    limit: int | None = None,
    *,
    engine: str = "auto",
    device: str = "cpu",
    advance: Callable[[str, int], Advance] | None = None,
) -> Rerun:
    """Simulate a network on its test images, and compare with its metrics.

    Args:
        entry: the network.
        data: folder of its dataset; None for the hub, or what was downloaded from it.
        limit: the first so many test images; None for all.
        engine: "auto", "cpp" or "torch".
        device: "cpu" or "cuda".
        advance: given a stage and its total, gives a function to call with the number done.

    Raises:
        FileError: the network's files are damaged.
        DataError: the data are not there.
    """
    graph, recipe = entry.load(), read_recipe(entry.recipe_path)
    test = load_test_images(recipe, data, limit)
    follow = None if advance is None else advance("simulate", len(test))
    snn, answers = answer(graph, recipe, test, engine=engine, device=device, follow=follow)
    compared, differing = compare(entry.metrics, len(test), snn, answers)
    return Rerun(len(test), snn, answers, compared, differing)


def load_test_images(recipe: Recipe, data: Path | None, limit: int | None = None) -> ImageSet:
    """The test images as the network takes them.

    Raises:
        DataError: they are not there.
    """
    try:
        return hold_images(recipe.load_data(data, limit)[1])
    except DataError as error:
        if data is not None:
            raise
        raise DataError(f"no test images of {recipe.data.name} at hand: pass --data FOLDER ({error})") from error


@keep_freed_memory()
def answer(
    graph: SpikingGraph,
    recipe: Recipe,
    test: ImageSet,
    *,
    engine: str = "auto",
    device: str = "cpu",
    follow: Advance | None = None,
) -> tuple[dict[str, Any], Answers]:
    """Simulate as the recipe says: the section ``snn`` of the metrics, and digests of the answers."""
    settings = recipe.simulate
    parts, digests = [start_tally(graph, settings.steps)], []
    for start in range(0, len(test), BLOCK):
        images, labels = test.images[start : start + BLOCK], test.labels[start : start + BLOCK]
        simulation = simulate(
            graph,
            images,
            settings.steps,
            engine=engine,
            batch_size=settings.batch_size,
            propagation=settings.propagation,
            device=device,
            on_batch=None if follow is None else _add(follow, start),
        )
        parts.append(tally(simulation, labels, settings.batch_size))
        digests.append(_digest(simulation, graph.is_integer))
    found = join_tallies(parts)
    logs = collect_logs(graph, [found], settings.batch_size, Counting(settings.sops, settings.count_encoder))
    snn = {**summarise_logs(logs), **summarise_seeds([found]), "images": found.total}
    if graph.is_rate_coded:
        snn.update(settled=None, tau=graph.tau)
    return snn, Answers("logits" if graph.is_integer else "predictions", settings.steps, tuple(digests))


def compare(metrics: dict[str, Any], images: int, snn: dict[str, Any], answers: Answers) -> tuple[int, tuple[str, ...]]:
    """How many images could be compared with recorded metrics, and what differs.

    With all images everything is compared; with fewer, the answers of whole blocks.
    """
    recorded, whole = metrics["zoo"]["answers"], metrics["snn"]["images"]
    differing = []
    blocks = len(answers.sha256) if images == whole else images // BLOCK
    pairs = list(zip_longest(answers.sha256[:blocks], recorded["sha256"][:blocks]))
    wrong = [number for number, (ours, theirs) in enumerate(pairs) if ours != theirs]
    if (answers.of, answers.steps) != (recorded["of"], recorded["steps"]):
        differing.append(f"expected {recorded['of']} of {recorded['steps']} steps, got {answers.of} of {answers.steps}")
    elif wrong:
        differing.append(f"{answers.of} of images {_list_blocks(wrong)}")
    if images == whole:
        differing += [key for key, value in metrics["snn"].items() if key not in snn or not _same(snn[key], value)]
    return (images if images == whole else len(pairs) * BLOCK), tuple(differing)


def _list_blocks(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"{number * BLOCK}..{(number + 1) * BLOCK - 1}" for number in numbers[:3])
    return shown + (f" and {len(numbers) - 3} blocks more" if len(numbers) > 3 else "")


def _same(one: Any, other: Any) -> bool:
    """Means over images are sums of integers over their number: equal but for the order of summation."""
    if one is None or other is None:
        return one is other
    return np.shape(one) == np.shape(other) and bool(np.allclose(one, other, rtol=1e-12, atol=0))


def _digest(simulation: Simulation, integer: bool) -> str:
    values = (simulation.logits if integer else simulation.predictions).transpose(0, 1)
    return sha256(np.ascontiguousarray(values.numpy().astype("<i8")).tobytes()).hexdigest()


def _add(follow: Advance, before: int) -> Advance:
    return lambda done: follow(before + done)
