"""The command line: commands, progress bars, exit codes."""

import os
import sys


def main() -> None:
    """Run the command line and leave with its exit code (see :func:`isospike.cli.program.run`)."""
    # Tensors of 2 MiB and more in huge pages, where the system has them; PyTorch reads this once, at its first tensor.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        from isospike.cli.program import run  # slow to load, and Ctrl-C must find a way out meanwhile

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        print("isospike: interrupted before anything was begun", file=sys.stderr)
        code = 130
    sys.exit(code)


__all__ = ["main"]
