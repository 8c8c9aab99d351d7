"""Report: figures of what happened in a run."""

from isospike.report.figures import draw_figures
from isospike.report.run_record import LayerRecord, RunRecord, read_run

__all__ = ["LayerRecord", "RunRecord", "draw_figures", "read_run"]
