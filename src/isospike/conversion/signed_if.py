"""Signed integrate-and-fire neurons: spikes that came too early may be taken back."""

from dataclasses import dataclass

from isospike.conversion.rate_coding import Dynamics, RateConversion, prepare, read_bounds
from isospike.conversion.rounded_rates import round_rates
from isospike.errors import ConversionError
from isospike.graph import SpikingGraph


@dataclass(frozen=True)
class SignedIf:
    """Options of :func:`convert_signed_if`.

    Attributes:
        t_max: the most time steps that the graph may run.
        margin: in thresholds, how far below 0 the potential must have fallen before a spike is taken back.
        integer_bits: 8 or 16: a graph of integers, with weights of so many bits (:func:`round_rates`); None: floats.
    """

    t_max: int = 128
    margin: float = 0.0
    integer_bits: int | None = None


def convert_signed_if(ann: SpikingGraph, config: SignedIf) -> SpikingGraph:
    """QCFS neurons that fire -1 where ``V < -margin * theta`` while they have fired more often than taken back.

    A negative spike is reset by addition, so the spike count follows the membrane's whole input; a neuron that has
    fired nothing takes nothing back, so that outputs stay rectified.

    Args:
        ann: as for :func:`isospike.conversion.qcfs.convert_qcfs`.
        config: options.

    Raises:
        ConversionError: a ReLU, an activation without a highest level, a ``margin`` below 0.

    Source: margin 0 is the signed neuron of Li, Ma and Furber, Frontiers in Neuroscience 2022, and of Fast-SNN (Hu et
    al., TPAMI 2023), margin 1 the signed neuron with memory of Wang et al., IJCAI 2022. Both train or normalise with
    their own quantisers; here the network is whatever level activations it was trained with.
    """
    if not config.margin >= 0:
        raise ConversionError(f"signed-if: expected a margin of 0 thresholds or more, got {config.margin}")
    ann = prepare(ann, config.t_max)
    dynamics = Dynamics(initial=0.5, lower=-config.margin)
    graph = RateConversion(ann, config.t_max, read_bounds(ann, "signed-if"), dynamics).run()
    return round_rates(graph, config.integer_bits)
