"""The simulator: the readable time loop in PyTorch."""

from isospike.simulator.recording import Simulation
from isospike.simulator.time_loop import PROPAGATIONS, simulate

__all__ = ["PROPAGATIONS", "Simulation", "simulate"]
