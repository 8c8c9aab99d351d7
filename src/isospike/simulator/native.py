"""Running a graph in the integer engine, where it can."""

import logging
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from isospike.engine import Engine, EngineRecord, is_available, prepare
from isospike.engine.native_module import REMEDY
from isospike.errors import GraphError, SimulationError
from isospike.graph import SpikingGraph
from isospike.simulator.recording import Simulation, join

ENGINES = ("auto", "cpp", "torch")
# What the engine does of the simulator's options.
_SERVED = {"dtype": "auto", "device": "cpu", "propagation": "within-step", "encoder_drop": 0, "faults": ()}


def prepare_engine(wanted: str, graph: SpikingGraph, steps: int, **options: object) -> Engine | None:
    """The integer engine made ready, or None where PyTorch is to run.

    Args:
        wanted: "cpp"; "torch"; or "auto": the engine for integer graphs and options that it serves, else PyTorch. The
            results are the same. Where the engine would run but was not compiled, the user is told, once.
        graph: a spiking graph.
        steps: time steps.
        options: of :func:`isospike.simulate`: dtype, device, propagation, encoder_drop and faults.

    Raises:
        GraphError: "cpp", and the engine cannot run the graph; the message names the layer.
        SimulationError: "cpp", and the engine was not compiled or lacks an option; an unknown engine; ``ISOSPIKE_ISA``
            names what is not there.
    """
    if wanted not in ENGINES:
        raise SimulationError(f"engine: expected one of {', '.join(ENGINES)}, got {wanted!r}")
    if wanted == "torch":
        return None
    lacking = [f"{name}={value}" for name, value in options.items() if value != _SERVED[name]]
    if wanted == "cpp":
        if lacking:
            raise SimulationError(f"engine: 'cpp' cannot run with {', '.join(lacking)}: use engine='torch'")
        return prepare(graph, steps)
    if lacking or not graph.is_integer:
        return None
    if not is_available():
        _say_once()
        return None
    try:
        return prepare(graph, steps)
    except GraphError:  # a graph that the engine does not know, or of more than 32 bits
        return None


def run_engine(
    engine: Engine, images: Tensor, batch_size: int, keep_counts: bool, on_batch: Callable[[int], None] | None
) -> Simulation:
    """Simulate uint8 images (batch, channel, height, width) on as many threads as PyTorch uses."""
    parts: list[Simulation] = []
    done = 0
    for batch in images.cpu().split(batch_size):
        record = engine.run(batch.numpy(), threads=torch.get_num_threads(), keep_counts=keep_counts)
        parts.append(_as_simulation(record))
        done += len(batch)
        if on_batch is not None:
            on_batch(done)
    return join(parts)


@cache
def _say_once() -> None:
    logging.getLogger("isospike").warning(
        "isospike: the integer engine was not compiled, so PyTorch simulates, with the same results but more slowly: "
        "%s; engine='torch' keeps this line away",
        REMEDY,
    )


def _as_simulation(record: EngineRecord) -> Simulation:
    return Simulation(
        torch.from_numpy(record.logits).to(torch.float64),
        {name: torch.from_numpy(spikes) for name, spikes in record.positive.items()},
        {name: torch.from_numpy(spikes) for name, spikes in record.negative.items()},
        {name: torch.from_numpy(sops) for name, sops in record.sops.items()},
        torch.from_numpy(record.settled),
        {name: torch.from_numpy(counts).to(torch.int64) for name, counts in record.counts.items()},
    )
