"""The methods by name, and the one function that applies them."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from isospike.conversion.all_integer import AllInteger, convert_all_integer
from isospike.conversion.calibrated import Calibrated, convert_calibrated
from isospike.conversion.counting import Counting, convert_counting
from isospike.conversion.negative_spike import NegativeSpike, convert_negative_spike
from isospike.conversion.opi import Opi, convert_opi
from isospike.conversion.percentile import Percentile, convert_percentile
from isospike.conversion.qcfs import Qcfs, convert_qcfs
from isospike.conversion.scatter_gather import ScatterGather, convert_scatter_gather
from isospike.conversion.signed_if import SignedIf, convert_signed_if
from isospike.conversion.srp import Srp, convert_srp
from isospike.errors import ConversionError
from isospike.graph import SpikingGraph
from isospike.networks import capture


@dataclass(frozen=True)
class Method:
    """A conversion method.

    Attributes:
        config: its options.
        function: takes a captured ANN and the options; and images, where the method needs them.
        lossless: whether what it makes can equal the ANN, so that :func:`isospike.verify` has something to prove.
        needs_images: whether it measures activations on training images.
    """

    config: type[Any]
    function: Callable[..., SpikingGraph]
    lossless: bool = True
    needs_images: bool = False


METHODS: dict[str, Method] = {
    "all-integer": Method(AllInteger, convert_all_integer),
    "calibrated": Method(Calibrated, convert_calibrated, lossless=False, needs_images=True),
    "counting": Method(Counting, convert_counting),
    "negative-spike": Method(NegativeSpike, convert_negative_spike),
    "opi": Method(Opi, convert_opi, lossless=False, needs_images=True),
    "percentile": Method(Percentile, convert_percentile, lossless=False, needs_images=True),
    "qcfs": Method(Qcfs, convert_qcfs, lossless=False),
    "scatter-gather": Method(ScatterGather, convert_scatter_gather),
    "signed-if": Method(SignedIf, convert_signed_if, lossless=False),
    "srp": Method(Srp, convert_srp, lossless=False),
}


def convert(
    model: nn.Module | SpikingGraph, method: str, *, images: Tensor | None = None, **options: Any
) -> SpikingGraph:
    """Turn a trained network into a spiking one.

    Args:
        model: a network built from the notation, or a graph from :func:`isospike.capture`.
        method: a key of ``METHODS``.
        images: training images such as the network takes, for the methods that measure activations; the method draws
            as many of them as its options say.
        options: fields of the method's config, e.g. ``t_max``, the most time steps that the graph may run.

    Returns:
        The spiking graph.

    Raises:
        ConversionError: unknown method or option, images missing, or a network that the method cannot convert.
    """
    if method not in METHODS:
        raise ConversionError(f"method: unknown method {method!r}; expected one of {', '.join(METHODS)}")
    known = [field.name for field in fields(METHODS[method].config)]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ConversionError(f"{method}: unknown option {unknown[0]!r}; expected one of {', '.join(known)}")
    ann = model if isinstance(model, SpikingGraph) else capture(model)
    config = METHODS[method].config(**options)
    if not METHODS[method].needs_images:
        return METHODS[method].function(ann, config)
    if images is None:
        raise ConversionError(f"{method}: measures activations on training images, and got none: give images=")
    return METHODS[method].function(ann, config, images)
