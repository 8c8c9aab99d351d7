"""Thresholds of a layer as DESIGN writes them: synapses, then a BatchNorm perhaps, then the activation."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from isospike.conversion.forms import Form, Term, normalise_form, to_rationals
from isospike.conversion.thresholds import Staircase, derive_staircases
from isospike.graph import Activation, BatchNorm


def derive_layer(
    activation: Activation, norm: BatchNorm | None, bias: np.ndarray | None, units: Sequence[Fraction]
) -> list[Staircase]:
    """The thresholds on ``u``, of which one unit is worth ``units``, with a bias of the synapses."""
    constant = [Fraction(0)] * len(units) if bias is None else to_rationals(bias)
    form = Form((Term("u", list(units)),), constant)
    form = form if norm is None else normalise_form(form, norm)
    return derive_staircases(activation, form.terms[0].gains, form.constant)
