"""Measuring what a rate-coded conversion loses with as many processes as were launched: the numbers of one process."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isospike.conversion.loss import Loss, compare_conversions, compare_outputs, conclude_loss
from isospike.data import Images
from isospike.experiment.sharing import Advance
from isospike.graph import SpikingGraph
from isospike.memory import keep_freed_memory
from isospike.networks import CapturedNetwork
from isospike.training import start_accelerator
from isospike.training.processes import gather_rows
from isospike.training.shares import count_share, share_images


@keep_freed_memory()
def measure_loss_together(
    graph: SpikingGraph,
    model: nn.Module | SpikingGraph,
    data: Images,
    method: str,
    *,
    steps: int,
    batch_size: int,
    calibration: Tensor | None = None,
    propagation: str = "within-step",
    device: str = "cpu",
    follow: Callable[[int], Advance] | None = None,
    **options: Any,
) -> Loss:
    """:func:`isospike.conversion.measure_loss`, each process on its share of the batches; the findings of all, on every
    process."""
    accelerator = start_accelerator(device)
    share = count_share(data, batch_size, accelerator)
    advance = follow(share) if follow is not None else None
    ann, differing = compare_conversions(graph, model, method, calibration, **options)
    reference = CapturedNetwork(ann, dtype=torch.float64, device=device)
    rows, done = [torch.zeros(0, 2, steps, dtype=torch.float64)], 0
    for _, chunk in share_images(data, batch_size, accelerator):
        found = compare_outputs(graph, reference, chunk.images, steps, propagation=propagation, device=device)
        rows.append(found[None])
        done += len(chunk)
        if advance is not None:
            advance(done)
    return conclude_loss(gather_rows(accelerator, torch.cat(rows)), len(data), differing)
