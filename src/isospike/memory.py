"""Freed memory that stays with the process while it trains or simulates."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Parameters of ``mallopt``, in <malloc.h>."""
_USUAL = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26, _MMAP_MAX: 65536}
"""Where glibc's own thresholds end up once blocks of any size have been freed. They no longer move by themselves after
a call of ``mallopt``, so the ones they begin with would make every block above 128 KiB cost its faults from then on."""
_KEEPING = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}

_guard = Lock()
_open = 0
"""How many blocks are open."""


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let glibc keep what is freed, until the block ends; nothing happens where another C library allocates.

    Each step of a training on a CPU frees its activations and asks for the same again, as each time step of a
    simulation does. glibc gives blocks this large back to the system each time, and every page of them then costs a
    fault and is cleared before its next use. The price is that the process holds the most memory it ever needed, until
    the block ends; of blocks within blocks, or of several threads, until the last one ends.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    _count(libc, 1)
    try:
        yield
    finally:
        _count(libc, -1)


def _count(libc: ctypes.CDLL, change: int) -> None:
    """Note that a block begins or ends."""
    global _open
    with _guard:
        before, _open = _open, _open + change
        if not before:
            _set(libc, _KEEPING)
        elif not _open:
            _set(libc, _USUAL)
            libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        libc.mallopt(parameter, value)
