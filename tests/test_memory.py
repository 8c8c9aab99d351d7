"""Freed memory is kept while training, and given back after it."""

import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isospike.memory import keep_freed_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library allocates")

MEBIBYTES = 64  # above the 32 from which glibc always asks the system anew
PAGES = MEBIBYTES * 2**20 // resource.getpagesize()


def count_faults(mebibytes: int = MEBIBYTES) -> int:
    """Fewest page faults of writing a block that is freed again, of several times: the freed block may lack a few bytes
    that something else took, so that the next one comes from elsewhere."""
    faults = []
    for _ in range(12):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(mebibytes * 2**18)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(faults)


def test_a_block_that_is_freed_and_taken_again_costs_no_faults() -> None:
    with keep_freed_memory():
        assert count_faults() < PAGES / 100


AFTER_AN_ERROR = """
from contextlib import suppress
from isospike.memory import keep_freed_memory
from tests.test_memory import count_faults
with suppress(ValueError), keep_freed_memory():
    raise ValueError
print(count_faults())
"""


def test_the_usual_ways_come_back_even_after_an_error() -> None:
    """In a process of its own: what other tests left on the heap may have room for a block."""
    command = [sys.executable, "-c", AFTER_AN_ERROR]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    # a whole huge page costs one fault; none are asked for here, and a system that gives them anyway gives few
    assert int(done.stdout) >= PAGES / 512


def test_a_block_within_a_block_leaves_it_open() -> None:
    with keep_freed_memory():
        with keep_freed_memory():
            pass
        assert count_faults() < PAGES / 100


AFTER_A_BLOCK = """
from isospike.memory import keep_freed_memory
from tests.test_memory import count_faults
with keep_freed_memory():
    pass
print(count_faults(4))
"""


def test_blocks_of_usual_size_cost_no_faults_afterwards() -> None:
    command = [sys.executable, "-c", AFTER_A_BLOCK]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10
