"""The compiled module, or why there is none."""

import os
from importlib import import_module
from typing import Any

from isospike.errors import SimulationError

try:
    _native: Any = import_module("isospike.engine._native")
except ImportError as error:
    _native = None
    _reason = str(error)

REMEDY = "install a C++20 compiler and isospike anew (pip install --force-reinstall --no-deps .)"


def is_available() -> bool:
    """Whether the engine was compiled when isospike was installed."""
    return _native is not None


def require_native() -> Any:
    """The compiled module.

    Raises:
        SimulationError: it was not compiled, or cannot be loaded.
    """
    if _native is None:
        raise SimulationError(
            f"engine: the compiled module isospike.engine._native is not there ({_reason}): {REMEDY}, or use "
            "engine='torch'"
        )
    return _native


def list_isas() -> list[str]:
    """The instruction sets that the engine and this processor have in common, the best first.

    Raises:
        SimulationError: the engine was not compiled.
    """
    return list(require_native().list_isas())


def choose_isa() -> str:
    """What the environment variable ``ISOSPIKE_ISA`` asks for, or the best instruction set there is.

    Raises:
        SimulationError: it names an instruction set that is unknown or not there; the engine was not compiled.
    """
    known = list_isas()
    wanted = os.environ.get("ISOSPIKE_ISA", "").strip().lower()
    if wanted and wanted not in known:
        raise SimulationError(f"ISOSPIKE_ISA: expected one of {', '.join(known)}, got {wanted!r}: unset it or name one")
    return wanted or known[0]


def choose_threads(threads: int | None) -> int:
    """The number of threads: ``threads``, else ``OMP_NUM_THREADS``, else one for each processor this process may use.

    Raises:
        SimulationError: fewer than one thread.
    """
    if threads is None:
        first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        if first.isdigit() and int(first) >= 1:
            return int(first)
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise SimulationError(f"threads: expected at least 1, got {threads}: leave it out for all processors")
    return threads
