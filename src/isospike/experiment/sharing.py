"""Simulating, verifying and measuring with as many processes as were launched: the numbers of one process."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from isospike.conversion import Proof, QuantisedAnn, Verification
from isospike.data import Images, ImageSet
from isospike.errors import SimulationError
from isospike.experiment.tallies import (
    Tally,
    gather_tallies,
    join_tallies,
    read_tally,
    start_tally,
    tally,
    write_tally,
)
from isospike.experiment.unfinished import Beginning, Unfinished
from isospike.graph import SpikingGraph
from isospike.memory import keep_freed_memory
from isospike.simulator import simulate
from isospike.training import start_accelerator
from isospike.training.processes import gather_rows, gather_sum
from isospike.training.shares import count_share, share_images

Advance = Callable[[int], None]
_PROOF = "proof"


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
    unfinished: Unfinished | None = None,
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
        unfinished: where batches are kept, and may be already.
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
    beginning = _open(unfinished, data, accelerator, steps=steps, seed=seed, batch_size=batch_size, **options)
    parts = [_read_tally(beginning, graph, steps)]
    with beginning:
        done = beginning.go_on(parts[0].total)
        advance(done)
        for start, batch in _share_rest(data, batch_size, accelerator, done):
            simulation = simulate(
                graph, batch.images, steps, batch_size=batch_size, seed=seed + start, device=device, **options
            )
            parts.append(tally(simulation, batch.labels, batch_size))
            beginning.keep(partial(_write_down, parts, len(parts)))
            done += len(batch)
            advance(done)
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
    for _, batch in share_images(data, batch_size, accelerator):
        right += int((reference.classify(batch.images) == batch.labels).sum())
        done += len(batch)
        advance(done)
    right, done = gather_sum(accelerator, torch.tensor([right, done], device=accelerator.device)).tolist()
    return right / done


@keep_freed_memory()
def verify_together(
    graph: SpikingGraph,
    model: nn.Module | SpikingGraph,
    data: Images,
    method: str,
    *,
    batch_size: int,
    device: str = "cpu",
    follow: Callable[[int], Advance] | None = None,
    unfinished: Unfinished | None = None,
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
        unfinished: where batches are kept, and may be already.
        options: of :func:`isospike.verify`.

    Returns:
        The findings, and the tally of all T_max steps of the simulations that they are about: those of all processes,
        on every process.
    """
    accelerator = start_accelerator(device)
    advance = (follow or _ignore)(count_share(data, batch_size, accelerator))
    proof = Proof(graph, model, method, device=device, **options)
    beginning = _open(unfinished, data, accelerator, method=method, batch_size=batch_size, **options)
    parts = [_take_up(proof, beginning, graph)]
    with beginning:
        done = beginning.go_on(parts[0].total)
        advance(done)
        for _, batch in _share_rest(data, batch_size, accelerator, done):
            parts.append(tally(proof.check(batch.images), batch.labels, batch_size))
            beginning.keep(partial(_write_down, parts, len(parts), proof.write_down()))
            done += len(batch)
            advance(done)
    return _combine(graph, accelerator, proof.conclude()), gather_tallies(accelerator, join_tallies(parts))


def _open(unfinished: Unfinished | None, data: Images, accelerator: Accelerator, **settings: Any) -> Beginning:
    return Beginning() if unfinished is None else unfinished.open(data, accelerator, **settings)


def _write_down(parts: list[Tally], number: int, proof: list[int] | None = None) -> dict[str, np.ndarray]:
    """The first so many parts, and what a proof had found by then."""
    arrays = write_tally(join_tallies(parts[:number]))
    return arrays if proof is None else {**arrays, _PROOF: np.array(proof)}


def _share_rest(data: Images, batch_size: int, accelerator: Accelerator, done: int) -> Iterator[tuple[int, ImageSet]]:
    """This process's batches, without those of the first ``done`` images."""
    return islice(share_images(data, batch_size, accelerator), -(-done // batch_size), None)


def _read_tally(beginning: Beginning, graph: SpikingGraph, steps: int) -> Tally:
    """What was kept; nothing, where it is not of this graph."""
    with suppress(ValueError):
        return read_tally(beginning.arrays, graph, steps)
    return start_tally(graph, steps)


def _take_up(proof: Proof, beginning: Beginning, graph: SpikingGraph) -> Tally:
    """The same, for the proof too."""
    before = _read_tally(beginning, graph, graph.t_max or 1)
    if before.total:
        try:
            numbers = beginning.arrays[_PROOF].tolist()
            if numbers[0] != before.total:
                return start_tally(graph, graph.t_max or 1)
            proof.take_up(numbers)
        except (KeyError, ValueError, TypeError, IndexError):
            return start_tally(graph, graph.t_max or 1)
    return before


def _combine(graph: SpikingGraph, accelerator: Accelerator, own: Verification) -> Verification:
    """The findings of all processes as one."""
    names = [*(node.name for node in graph.spiking), graph.readout.name]
    numbers = [own.images, own.unsettled, own.settled_by or 0, own.mismatches]
    numbers += [own.differing_layers.get(name, 0) for name in names]
    rows = gather_rows(accelerator, torch.tensor([numbers], dtype=torch.int64))
    images, unsettled, _, mismatches, *layers = (int(number) for number in rows.sum(0))
    # fewer batches than processes leave some without, but never the first, which writes what was found
    return replace(
        own,
        images=images,
        mismatches=mismatches,
        unsettled=unsettled,
        settled_by=None if unsettled else int(rows[:, 2].max()),
        differing_layers={name: number for name, number in zip(names, layers, strict=True) if number},
    )


def _ignore(_total: int) -> Advance:
    return lambda done: None  # noqa: ARG005
