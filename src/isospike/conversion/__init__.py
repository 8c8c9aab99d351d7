"""Conversion: one file per method. ``METHODS`` is a dict keyed by method name."""

from isospike.conversion.all_integer import AllInteger
from isospike.conversion.methods import METHODS, Method, convert
from isospike.conversion.negative_spike import NegativeSpike
from isospike.conversion.quantised_ann import Evaluation, QuantisedAnn
from isospike.conversion.scatter_gather import ScatterGather
from isospike.conversion.verification import Verification, verify

__all__ = [
    "METHODS",
    "AllInteger",
    "Evaluation",
    "Method",
    "NegativeSpike",
    "QuantisedAnn",
    "ScatterGather",
    "Verification",
    "convert",
    "verify",
]
