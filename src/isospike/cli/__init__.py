"""The command line: commands, progress bars, exit codes."""

from isospike.cli.program import main

__all__ = ["main"]
