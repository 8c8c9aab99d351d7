"""Freed memory is kept while training, and given back after it."""

import platform
import resource

import pytest
import torch

from isospike.training.memory import keep_freed_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library allocates")

MEBIBYTES = 64  # above the 32 from which glibc always asks the system anew
PAGES = MEBIBYTES * 2**20 // resource.getpagesize()


def count_faults() -> int:
    """Fewest page faults of writing a block that is freed again, of several times: the freed block may lack a few bytes
    that something else took, so that the next one comes from elsewhere."""
    faults = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(MEBIBYTES * 2**18)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(faults)


def test_a_block_that_is_freed_and_taken_again_costs_no_faults() -> None:
    with keep_freed_memory():
        assert count_faults() < PAGES / 100


def test_the_usual_ways_come_back_even_after_an_error() -> None:
    with pytest.raises(ValueError, match="stop"), keep_freed_memory():
        raise ValueError("stop")
    # a whole huge page costs one fault; none are asked for here, and a system that gives them anyway gives few
    assert count_faults() >= PAGES / 512
