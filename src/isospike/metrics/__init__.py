"""Metrics: what the network did and what it cost."""

from isospike.metrics.description import Description, NodeDescription, describe
from isospike.metrics.logs import LOGS, RunLogs, read_logs, write_logs
from isospike.metrics.work import Reach, count_macs, list_working_layers, measure_reach

__all__ = [
    "LOGS",
    "Description",
    "NodeDescription",
    "Reach",
    "RunLogs",
    "count_macs",
    "describe",
    "list_working_layers",
    "measure_reach",
    "read_logs",
    "write_logs",
]
