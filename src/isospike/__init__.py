"""isospike turns a trained image classifier into a spiking neural network that computes the same answer.

The public functions are loaded when they are first used, so that importing the package costs nothing and reading a
graph needs no PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isospike.conversion import calibrate, convert, verify
    from isospike.graph import SpikingGraph, load_graph, save_graph
    from isospike.metrics import describe
    from isospike.networks import build_network, capture
    from isospike.simulator import simulate
    from isospike.training import evaluate, train

__version__ = "0.1.0"

_HOMES = {
    "SpikingGraph": "graph",
    "build_network": "networks",
    "calibrate": "conversion",
    "capture": "networks",
    "convert": "conversion",
    "describe": "metrics",
    "evaluate": "training",
    "load_graph": "graph",
    "save_graph": "graph",
    "simulate": "simulator",
    "train": "training",
    "verify": "conversion",
}

__all__ = [
    "SpikingGraph",
    "build_network",
    "calibrate",
    "capture",
    "convert",
    "describe",
    "evaluate",
    "load_graph",
    "save_graph",
    "simulate",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'isospike' has no attribute {name!r}")
    return getattr(import_module(f"isospike.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
