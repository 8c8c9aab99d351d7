"""Which of the launched processes this is."""

import os

from torch import distributed


def is_main_process() -> bool:
    """Whether this process is the one that writes files and prints: rank 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_others() -> None:
    """Return when every process of the group has come here; at once where there is no group."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
