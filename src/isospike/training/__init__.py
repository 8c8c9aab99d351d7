"""Training a network and measuring its accuracy, on one process or many."""

from isospike.training.configuration import TrainingConfig, schedule_rate
from isospike.training.evaluation import evaluate
from isospike.training.history import EpochReport
from isospike.training.loop import train
from isospike.training.processes import check_device, leave_processes, start_accelerator
from isospike.training.ranks import is_main_process, wait_for_others

__all__ = [
    "EpochReport",
    "TrainingConfig",
    "check_device",
    "evaluate",
    "is_main_process",
    "leave_processes",
    "schedule_rate",
    "start_accelerator",
    "train",
    "wait_for_others",
]
