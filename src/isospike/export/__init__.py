"""Ways out of Python: plain C, and NIR."""

from isospike.export.c import CProgram, export_c
from isospike.export.nir import (
    NirAccuracy,
    NirExport,
    NirNetwork,
    NirRecord,
    compare_accuracy,
    export_nir,
    read_nir,
)

__all__ = [
    "CProgram",
    "NirAccuracy",
    "NirExport",
    "NirNetwork",
    "NirRecord",
    "compare_accuracy",
    "export_c",
    "export_nir",
    "read_nir",
]
