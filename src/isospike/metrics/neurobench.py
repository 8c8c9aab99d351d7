"""What the NeuroBench benchmark counts, and how its conventions come from our counts."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isospike.graph import SpikingGraph


@dataclass(frozen=True)
class NeuroBench:
    """NeuroBench's complexity metrics; operations are means per image, over all time steps.

    Attributes:
        effective_acs: accumulates: non-zero weights that are met by an input of -1 or 1, where a layer's inputs of a
            step are all -1, 0 or 1; decided for each image by itself.
        effective_macs: the same of layers and steps with other inputs: pixels, counts above 1, average pools.
        dense: synapses of all layers, zeros included, times the steps.
        activation_sparsity: the share of zeros among the outputs of all neurons over all steps.
        connection_sparsity: the share of zeros among the weights.
        footprint_bits: of the parameters as they are stored (:func:`isospike.metrics.measure_footprint`).
        steps: that were run, those before the ones that count included.
        images: that were run.

    Source: Yik et al., "The NeuroBench framework for benchmarking neuromorphic computing algorithms and systems", 2025.
    Theirs is the footprint in bytes of the tensors as PyTorch holds them; ours is in bits of packed integers.
    """

    effective_acs: float
    effective_macs: float
    dense: float
    activation_sparsity: float
    connection_sparsity: float
    footprint_bits: int
    steps: int
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def measure_connection_sparsity(graph: SpikingGraph) -> float:
    """The share of zeros among the weights of all synapses."""
    weights = [node.arrays["weight"] for node in graph.synapses]
    return 1 - sum(int(np.count_nonzero(weight)) for weight in weights) / sum(weight.size for weight in weights)
