"""Simulating, verifying and measuring with as many processes as were launched: the numbers of one process."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from isospike.conversion import QuantisedAnn, Verification, verify
from isospike.data import Images, ImageStream
from isospike.errors import SimulationError
from isospike.experiment.tallies import Tally, gather_tallies, join_tallies, start_tally, tally
from isospike.graph import SpikingGraph
from isospike.memory import keep_freed_memory
from isospike.simulator import Simulation, simulate
from isospike.training import start_accelerator
from isospike.training.processes import gather_rows, gather_sum
from isospike.training.shares import count_share, share_images

Advance = Callable[[int], None]
_MOST_IMAGES = 2000
_MOST_LOGITS = 1 << 27
"""How many images, and how many numbers of their logits over time, are in memory at once beside the data."""


@keep_freed_memory()
def simulate_together(
    graph: SpikingGraph,
    data: Images,
    steps: int,
    *,
    batch_size: int,
    seed: int = 0,
    device: str = "cpu",
    follow: Callable[[int], Advance] | None = None,
    **options: Any,
) -> Tally:
    """Run a spiking network over labelled images, each process on its share of the batches.

    What is lost of the encoder's spikes depends on ``seed`` and on where a batch begins, so that it is the same for any
    number of processes.

    Args:
        graph: a converted graph.
        data: images and labels.
        steps: time steps.
        batch_size: images simulated together.
        seed: of spikes that are lost.
        device: "cpu" or "cuda".
        follow: given the number of images of this process, gives a function to call with the number done.
        options: of :func:`isospike.simulate`.

    Returns:
        The tally of all batches, in their order, on every process.

    Raises:
        SimulationError: images of the wrong shape, no images, more steps than T_max.
        DeviceError: the device or the other processes are not there.
    """
    if not len(data):
        raise SimulationError("simulate: expected at least one image, got none")
    accelerator = start_accelerator(device)
    advance = (follow or _ignore)(count_share(data, batch_size, accelerator))
    classes = graph.shapes[graph.readout.name][0]
    most = min(_MOST_IMAGES, _MOST_LOGITS // (classes * steps))
    parts, done = [start_tally(graph, steps)], 0
    for start, chunk in share_images(data, batch_size, most, accelerator):
        simulation = simulate(
            graph,
            chunk.images,
            steps,
            batch_size=batch_size,
            seed=seed + start,
            device=device,
            on_batch=_add(advance, done),
            **options,
        )
        parts.append(tally(simulation, chunk.labels, batch_size))
        done += len(chunk)
    return gather_tallies(accelerator, join_tallies(parts))


@keep_freed_memory()
def classify_together(
    reference: QuantisedAnn,
    data: Images,
    *,
    batch_size: int,
    device: str = "cpu",
    follow: Callable[[int], Advance] | None = None,
) -> float:
    """The accuracy of the exact quantised ANN, each process on its share of the batches."""
    accelerator = start_accelerator(device)
    advance = (follow or _ignore)(count_share(data, batch_size, accelerator))
    right, done = 0, 0
    for _, chunk in share_images(data, batch_size, batch_size, accelerator):
        right += int((reference.classify(chunk.images) == chunk.labels).sum())
        done += len(chunk)
        advance(done)
    right, done = gather_sum(accelerator, torch.tensor([right, done], device=accelerator.device)).tolist()
    return right / done


def verify_together(
    graph: SpikingGraph,
    model: nn.Module | SpikingGraph,
    data: Images,
    method: str,
    *,
    batch_size: int,
    device: str = "cpu",
    follow: Callable[[int], Advance] | None = None,
    on_simulation: Callable[[Simulation], None] | None = None,
    **options: Any,
) -> tuple[Verification, Tally]:
    """:func:`isospike.verify`, each process on its share of the batches.

    Args:
        graph: the spiking graph under test.
        model: the network it came from, or its capture.
        data: images and labels.
        method: the method's name.
        batch_size: images compared together.
        device: "cpu" or "cuda".
        follow: given the number of images of this process, gives a function to call with the number done.
        on_simulation: called with what happened in each batch of this process.
        options: of :func:`isospike.verify`.

    Returns:
        The findings, and the tally of all T_max steps of the simulations that they are about: those of all processes,
        on every process.
    """
    accelerator = start_accelerator(device)
    share = count_share(data, batch_size, accelerator)
    advance = (follow or _ignore)(share)
    found, parts, done = [], [start_tally(graph, graph.t_max or 1)], 0
    most = _MOST_IMAGES if isinstance(data, ImageStream) else share + batch_size  # what is in memory goes at once
    for _, chunk in share_images(data, batch_size, most, accelerator):
        found.append(
            verify(
                graph,
                model,
                chunk.images,
                method,
                batch_size=batch_size,
                device=device,
                on_batch=_add(advance, done),
                on_simulation=partial(_note, parts, chunk.labels, on_simulation),
                **options,
            )
        )
        done += len(chunk)
    return _combine(graph, accelerator, found), gather_tallies(accelerator, join_tallies(parts))


def _note(
    parts: list[Tally],
    labels: Tensor,
    on_simulation: Callable[[Simulation], None] | None,
    first: int,
    simulation: Simulation,
) -> None:
    """Add a batch, whose first image has the place ``first`` among the labels, to the tallies."""
    batch = simulation.settled.shape[1]
    parts.append(tally(simulation, labels[first : first + batch], batch))
    if on_simulation is not None:
        on_simulation(simulation)


def _combine(graph: SpikingGraph, accelerator: Accelerator, found: list[Verification]) -> Verification:
    """The findings of all processes as one; a process without images has none."""
    names = [*(node.name for node in graph.spiking), graph.readout.name]
    own = [
        [each.images, each.unsettled, each.settled_by or 0, each.mismatches]
        + [each.differing_layers.get(name, 0) for name in names]
        for each in found
    ]
    rows = gather_rows(accelerator, torch.tensor(own, dtype=torch.int64).view(-1, 4 + len(names)))
    images, unsettled, _, mismatches, *layers = (int(number) for number in rows.sum(0))
    # fewer batches than processes leave some without, but never the first, which writes what was found
    return replace(
        found[0] if found else Verification(0, 0, 0, 0, None, {}, {}),
        images=images,
        mismatches=mismatches,
        unsettled=unsettled,
        settled_by=None if unsettled else int(rows[:, 2].max()),
        differing_layers={name: number for name, number in zip(names, layers, strict=True) if number},
    )


def _ignore(_total: int) -> Advance:
    return lambda done: None  # noqa: ARG005


def _add(advance: Advance, before: int) -> Advance:
    return lambda done: advance(before + done)
