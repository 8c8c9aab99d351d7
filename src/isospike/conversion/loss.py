"""How much a rate-coded conversion loses: there is nothing to prove, so it is measured."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isospike.conversion.methods import convert
from isospike.errors import ConversionError
from isospike.graph import SpikingGraph, compare_graphs
from isospike.memory import keep_freed_memory
from isospike.networks import CapturedNetwork, capture
from isospike.simulator import simulate


@dataclass(frozen=True)
class Loss:
    """How far a rate-coded network is from its ANN.

    Attributes:
        images: images compared.
        agreement: share of the images whose prediction is the ANN's, for each time step.
        logit_error: mean of |SNN logit - ANN logit|, for each time step.
        differing_tensors: layers whose stored tensors or settings differ from a fresh conversion.
    """

    images: int
    agreement: list[float]
    logit_error: list[float]
    differing_tensors: list[str] = field(default_factory=list)


@keep_freed_memory()
def measure_loss(
    graph: SpikingGraph,
    model: nn.Module | SpikingGraph,
    images: Tensor,
    method: str,
    *,
    steps: int | None = None,
    calibration: Tensor | None = None,
    propagation: str = "within-step",
    batch_size: int = 250,
    device: str = "cpu",
    on_batch: Callable[[int], None] | None = None,
    **options: Any,
) -> Loss:
    """Compare a rate-coded graph with its ANN, step by step, and its tensors with a fresh conversion.

    The ANN is evaluated in float64 (its staircases included, where it has any); the graph runs in float32.

    Args:
        graph: the rate-coded graph under test.
        model: the network it came from, or its capture.
        images: such as the network takes.
        method: the method's name, for the fresh conversion.
        steps: time steps; the graph's T_max by default.
        calibration: the training images that the conversion was given, for methods that measure them.
        propagation: as for :func:`isospike.simulate`.
        batch_size: images compared together.
        device: "cpu" or "cuda".
        on_batch: called with the number of images done after each batch.
        options: of the method, as it was converted; ``t_max`` is the graph's by default.

    Raises:
        ConversionError: a graph of counting neurons; a model of other shape; images missing.
        SimulationError: images of the wrong shape or type, too many steps.
    """
    ann, differing = compare_conversions(graph, model, method, calibration, **options)
    reference = CapturedNetwork(ann, dtype=torch.float64, device=device)
    rows, done = [], 0
    for batch in images.split(batch_size):
        rows.append(compare_outputs(graph, reference, batch, steps, propagation=propagation, device=device))
        done += len(batch)
        if on_batch is not None:
            on_batch(done)
    return conclude_loss(torch.stack(rows), done, differing)


def compare_conversions(
    graph: SpikingGraph, model: nn.Module | SpikingGraph, method: str, calibration: Tensor | None, **options: Any
) -> tuple[SpikingGraph, list[str]]:
    """The captured ANN, and the layers where ``graph`` is not what a fresh conversion makes of it; arguments as for
    :func:`measure_loss`."""
    if not graph.is_rate_coded:
        raise ConversionError("measure_loss: expected a rate-coded graph, got one of counting neurons: use verify")
    ann = model if isinstance(model, SpikingGraph) else capture(model)
    return ann, compare_graphs(graph, convert(ann, method, images=calibration, **{"t_max": graph.t_max, **options}))


def compare_outputs(
    graph: SpikingGraph, reference: CapturedNetwork, images: Tensor, steps: int | None = None, **options: Any
) -> Tensor:
    """For each time step, how many of ``images`` are classified as by the ANN, and the sum over them of the mean
    |logit error|: float64 (2, time).

    Args:
        graph: rate-coded.
        reference: its ANN.
        images: of one batch.
        steps: time steps; T_max by default.
        options: of :func:`isospike.simulate`.
    """
    run = simulate(graph, images, steps, batch_size=len(images), **options)
    wanted = reference.evaluate(images).cpu().double()
    if wanted.shape != run.logits.shape[1:]:
        raise ConversionError("measure_loss: the graph and the model are not of the same network: convert it anew")
    agreeing = (run.predictions == wanted.argmax(1)).sum(1)
    logits = run.logits
    if graph.is_integer:  # sums over time, in units of the readout
        logits = logits * graph.readout.scale / torch.arange(1, len(logits) + 1).reshape(-1, 1, 1)
    return torch.stack([agreeing.double(), (logits - wanted).abs().mean(2).sum(1)])


def conclude_loss(rows: Tensor, images: int, differing: list[str]) -> Loss:
    """Batches of :func:`compare_outputs`, (batches, 2, time), as means over ``images``."""
    agreement, error = (rows.sum(0) / images).tolist()
    return Loss(images, agreement, error, differing)
