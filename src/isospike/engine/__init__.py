"""The integer engine: a spiking graph run as what it is, in C++: events, additions, comparisons.

It needs NumPy and the graph only, and is bit-identical to the simulator in ``int64``.
"""

from isospike.engine.native_module import is_available, list_isas
from isospike.engine.record import EngineRecord
from isospike.engine.running import Engine, prepare, run

__all__ = ["Engine", "EngineRecord", "is_available", "list_isas", "prepare", "run"]
