"""The spiking graph: nodes, shapes, intervals, files. NumPy only."""

from isospike.graph.intervals import bound_membranes, bound_signals, count_membrane_bits, most_spikes
from isospike.graph.nodes import (
    Activation,
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    IntegrateAndFire,
    MaxPool,
    Node,
    Readout,
    Rectifier,
)
from isospike.graph.spiking_graph import SpikingGraph
from isospike.graph.storage import compare_graphs, load_graph, save_graph

__all__ = [
    "Activation",
    "Add",
    "Affine",
    "AveragePool",
    "BatchNorm",
    "Concatenate",
    "Convolution",
    "CountingNeuron",
    "Dense",
    "Flatten",
    "Input",
    "IntegrateAndFire",
    "MaxPool",
    "Node",
    "Readout",
    "Rectifier",
    "SpikingGraph",
    "bound_membranes",
    "bound_signals",
    "compare_graphs",
    "count_membrane_bits",
    "load_graph",
    "most_spikes",
    "save_graph",
]
