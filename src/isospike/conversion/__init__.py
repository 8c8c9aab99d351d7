"""Conversion: one file per method. ``METHODS`` is a dict keyed by method name."""

from isospike.conversion.all_integer import AllInteger
from isospike.conversion.calibrated import Calibrated
from isospike.conversion.calibration import calibrate
from isospike.conversion.counting import Counting
from isospike.conversion.loss import Loss, measure_loss
from isospike.conversion.methods import METHODS, Method, convert
from isospike.conversion.negative_spike import NegativeSpike
from isospike.conversion.opi import Opi
from isospike.conversion.percentile import Percentile
from isospike.conversion.qcfs import Qcfs
from isospike.conversion.quantised_ann import Evaluation, QuantisedAnn
from isospike.conversion.scatter_gather import ScatterGather
from isospike.conversion.signed_if import SignedIf
from isospike.conversion.srp import Srp
from isospike.conversion.verification import Proof, Verification, verify

__all__ = [
    "METHODS",
    "AllInteger",
    "Calibrated",
    "Counting",
    "Evaluation",
    "Loss",
    "Method",
    "NegativeSpike",
    "Opi",
    "Percentile",
    "Proof",
    "Qcfs",
    "QuantisedAnn",
    "ScatterGather",
    "SignedIf",
    "Srp",
    "Verification",
    "calibrate",
    "convert",
    "measure_loss",
    "verify",
]
