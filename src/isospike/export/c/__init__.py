"""A spiking graph as a C99 program: no library, no heap, no float."""

from isospike.export.c.program import CProgram, export_c

__all__ = ["CProgram", "export_c"]
