"""The methods by name, and the one function that applies them."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from isospike.conversion.all_integer import AllInteger, convert_all_integer
from isospike.conversion.negative_spike import NegativeSpike, convert_negative_spike
from isospike.conversion.scatter_gather import ScatterGather, convert_scatter_gather
from isospike.errors import ConversionError
from isospike.graph import SpikingGraph
from isospike.networks import capture


@dataclass(frozen=True)
class Method:
    """A conversion method: its options and its function."""

    config: type[Any]
    function: Callable[[SpikingGraph, Any], SpikingGraph]


METHODS: dict[str, Method] = {
    "all-integer": Method(AllInteger, convert_all_integer),
    "negative-spike": Method(NegativeSpike, convert_negative_spike),
    "scatter-gather": Method(ScatterGather, convert_scatter_gather),
}


def convert(model: nn.Module | SpikingGraph, method: str, **options: Any) -> SpikingGraph:
    """Turn a trained network into a spiking one.

    Args:
        model: a network built from the notation, or a graph from :func:`isospike.capture`.
        method: a key of ``METHODS``.
        options: fields of the method's config, e.g. ``t_max``, the most time steps that the graph may run.

    Returns:
        The spiking graph.

    Raises:
        ConversionError: unknown method or option, or a network that the method cannot convert.
    """
    if method not in METHODS:
        raise ConversionError(f"method: unknown method {method!r}; expected one of {', '.join(METHODS)}")
    known = [field.name for field in fields(METHODS[method].config)]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ConversionError(f"{method}: unknown option {unknown[0]!r}; expected one of {', '.join(known)}")
    ann = model if isinstance(model, SpikingGraph) else capture(model)
    return METHODS[method].function(ann, METHODS[method].config(**options))


