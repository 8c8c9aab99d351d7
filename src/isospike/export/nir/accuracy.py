"""The accuracy that a target will have: the same images in our simulator, and in NIR's semantics."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isospike.export.nir.reading import read_nir
from isospike.graph import SpikingGraph
from isospike.simulator import simulate

_BATCH = 100


@dataclass(frozen=True)
class NirAccuracy:
    """Part of the images classified as labelled, after each step: by the graph, and by its NIR file."""

    graph: list[float]
    nir: list[float]


def compare_accuracy(
    graph: SpikingGraph,
    path: str | Path,
    images: Tensor,
    labels: Tensor,
    steps: int | None = None,
    time_step: float = 1.0,
) -> NirAccuracy:
    """Measure what the reset to a value costs.

    Args:
        graph: what was exported.
        path: its NIR file.
        images: uint8 (batch, channel, height, width).
        labels: (batch,).
        steps: time steps; the graph's T_max by default.
        time_step: with which the file was written.
    """
    simulation = simulate(graph, images, steps)
    network = read_nir(path, time_step=time_step)
    offset = torch.from_numpy(graph.input.offset.astype(np.float32))[:, None, None]
    answers = [
        network.run(batch.float() - offset, len(simulation.logits)).predictions for batch in images.split(_BATCH)
    ]
    ours = simulation.logits.argmax(2)
    return NirAccuracy(*((each == labels).double().mean(1).tolist() for each in (ours, torch.cat(answers, 1))))
