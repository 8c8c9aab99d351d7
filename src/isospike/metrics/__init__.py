"""Metrics: what the network did and what it cost."""

from isospike.metrics.description import Description, NodeDescription, describe
from isospike.metrics.energy import (
    FLOAT32,
    INT8,
    INT32,
    TABLES,
    EnergyTable,
    LayerWork,
    Scaling,
    compare_equal_bits,
    count_bits,
)
from isospike.metrics.footprint import Footprint, measure_footprint
from isospike.metrics.latency import Settling, bound_latency, summarise_settling
from isospike.metrics.logs import LOGS, RunLogs, read_logs, write_logs
from isospike.metrics.neurobench import NeuroBench, measure_connection_sparsity
from isospike.metrics.work import (
    Reach,
    count_macs,
    list_encoders,
    list_encoding_layers,
    list_working_layers,
    measure_macs,
    measure_pixel_macs,
    measure_reach,
)

__all__ = [
    "FLOAT32",
    "INT8",
    "INT32",
    "LOGS",
    "TABLES",
    "Description",
    "EnergyTable",
    "Footprint",
    "LayerWork",
    "NeuroBench",
    "NodeDescription",
    "Reach",
    "RunLogs",
    "Scaling",
    "Settling",
    "bound_latency",
    "compare_equal_bits",
    "count_bits",
    "count_macs",
    "describe",
    "list_encoders",
    "list_encoding_layers",
    "list_working_layers",
    "measure_connection_sparsity",
    "measure_footprint",
    "measure_macs",
    "measure_pixel_macs",
    "measure_reach",
    "read_logs",
    "summarise_settling",
    "write_logs",
]
