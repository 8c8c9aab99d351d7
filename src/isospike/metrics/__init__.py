"""Metrics: what the network did and what it cost."""

from isospike.metrics.work import Reach, count_macs, measure_reach

__all__ = ["Reach", "count_macs", "measure_reach"]
