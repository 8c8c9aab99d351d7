"""NIR, the neuromorphic intermediate representation: rate-coded graphs for other simulators and chips, and our reader,
which says what they will make of it."""

from isospike.export.nir.accuracy import NirAccuracy, compare_accuracy
from isospike.export.nir.reading import NirNetwork, NirRecord, read_nir
from isospike.export.nir.writing import NirExport, export_nir

__all__ = ["NirAccuracy", "NirExport", "NirNetwork", "NirRecord", "compare_accuracy", "export_nir", "read_nir"]
