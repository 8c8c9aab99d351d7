"""SRP: QCFS with the neurons silenced whose residual potential shows that they should not have fired."""

from dataclasses import dataclass

from isospike.conversion.rate_coding import Dynamics, RateConversion, prepare, read_bounds
from isospike.conversion.rounded_rates import round_rates
from isospike.errors import ConversionError
from isospike.graph import SpikingGraph

RESIDUAL = 1e-3
"""In thresholds: what the potential after ``tau`` steps must exceed."""


@dataclass(frozen=True)
class Srp:
    """Options of :func:`convert_srp`.

    Attributes:
        t_max: the most time steps that the graph may run, the ``tau`` before them not counted.
        tau: steps after which residual potentials are looked at.
        integer_bits: 8 or 16: a graph of integers, with weights of so many bits (:func:`round_rates`); None: floats.
    """

    t_max: int = 128
    tau: int = 4
    integer_bits: int | None = None


def convert_srp(ann: SpikingGraph, config: Srp) -> SpikingGraph:
    """QCFS neurons that first run ``tau`` steps; then those whose potential is not above 1e-3 thresholds are silenced,
    everything begins anew, and T steps give the answer.

    An answer after T steps takes ``tau + T`` steps. A potential below 0 after tau steps is a sign that the neuron fired
    on spikes that came too early, where the ANN's activation is 0.

    Args:
        ann: as for :func:`isospike.conversion.qcfs.convert_qcfs`.
        config: options.

    Raises:
        ConversionError: a ReLU, an activation without a highest level, ``tau`` below 1.

    Source: Hao et al., AAAI 2023 ("Reducing ANN-SNN conversion error through residual membrane potential"). The 1e-3 is
    that of the authors' code; the paper's text has 0.
    """
    if config.tau < 1:
        raise ConversionError(f"srp: expected tau of 1 step or more, got {config.tau}; without it the method is qcfs")
    ann = prepare(ann, config.t_max)
    dynamics = Dynamics(initial=0.5, residual=RESIDUAL, tau=config.tau)
    graph = RateConversion(ann, config.t_max, read_bounds(ann, "srp"), dynamics).run()
    return round_rates(graph, config.integer_bits)
