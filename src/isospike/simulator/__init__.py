"""The simulator: the readable time loop in PyTorch, and the same run in the integer engine."""

from isospike.simulator.checks import PROPAGATIONS
from isospike.simulator.faults import (
    DeadNeurons,
    DelayedSpikes,
    DroppedSpikes,
    DuplicatedSpikes,
    Fault,
    SaturatedMembranes,
    StuckNeurons,
)
from isospike.simulator.native import ENGINES
from isospike.simulator.rate_trace import trace_spikes
from isospike.simulator.recording import Simulation
from isospike.simulator.time_loop import simulate

__all__ = [
    "ENGINES",
    "PROPAGATIONS",
    "DeadNeurons",
    "DelayedSpikes",
    "DroppedSpikes",
    "DuplicatedSpikes",
    "Fault",
    "SaturatedMembranes",
    "Simulation",
    "StuckNeurons",
    "simulate",
    "trace_spikes",
]
