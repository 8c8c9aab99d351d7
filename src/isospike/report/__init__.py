"""Report: figures of what happened in a run, and one page about it."""

from isospike.report.comparison_figures import draw_comparison
from isospike.report.comparison_record import parse_comparison
from isospike.report.confusion import Confusion, read_confusion, write_confusion
from isospike.report.figures import draw_figures
from isospike.report.more_figures import write_figures
from isospike.report.page import write_report
from isospike.report.run_contents import RunContents, digest_graph, is_outdated, read_contents, refuse_repeats
from isospike.report.run_record import LayerRecord, RunRecord, read_run
from isospike.report.sample import Sample, read_sample, write_sample

__all__ = [
    "Confusion",
    "LayerRecord",
    "RunContents",
    "RunRecord",
    "Sample",
    "digest_graph",
    "draw_comparison",
    "draw_figures",
    "is_outdated",
    "parse_comparison",
    "read_confusion",
    "read_contents",
    "read_run",
    "read_sample",
    "refuse_repeats",
    "write_confusion",
    "write_figures",
    "write_report",
    "write_sample",
]
