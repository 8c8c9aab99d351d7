"""Metrics: what the network did and what it cost."""

from isospike.metrics.logs import LOGS, RunLogs, read_logs, write_logs
from isospike.metrics.work import Reach, count_macs, measure_reach

__all__ = ["LOGS", "Reach", "RunLogs", "count_macs", "measure_reach", "read_logs", "write_logs"]
