"""All-integer networks with dynamic thresholds: no float from pixel to logit."""

from dataclasses import dataclass

from isospike.conversion.base import CountingConversion
from isospike.errors import ConversionError
from isospike.graph import Convolution, Dense, SpikingGraph
from isospike.graph.nodes import is_integer


@dataclass(frozen=True)
class AllInteger:
    """Options of :func:`convert_all_integer`.

    Attributes:
        t_max: the most time steps that the graph may run; it bounds every membrane.
    """

    t_max: int = 32


def convert_all_integer(ann: SpikingGraph, config: AllInteger) -> SpikingGraph:
    """Counting neurons with m = 1, integer weights, integer thresholds and integer logits.

    The two thresholds of a neuron move with its count ("dynamic threshold adaptation").

    Args:
        ann: from :func:`isospike.networks.capture`; every weight quantised.
        config: options.

    Raises:
        ConversionError: a layer has float weights; the message names it.

    Source: Zou et al., Frontiers in Neuroscience 2024 (doi:10.3389/fnins.2024.1449020). Their thresholds are multiplied
    by 10000 and rounded, which is approximate; here they have the fewest fraction bits that decide exactly as the real
    thresholds do.
    """
    for node in ann:
        if isinstance(node, Convolution | Dense) and not is_integer(node.weight):
            raise ConversionError(
                f"{node.name}: all-integer conversion expects integer weights, got {node.weight.dtype}: train with "
                "quantise.weights=ternary (or binary, int8) and quantise.ends=int8"
            )
    return CountingConversion(ann, config.t_max, limit=1).run()
