"""What computed the numbers: versions of the packages, and the machine."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from torch import distributed

from isospike import __version__

_PROCESSORS = Path("/proc/cpuinfo")


def read_versions() -> dict[str, str]:
    """Versions of what computed the numbers, and the machine's kind."""
    packages = {name: version(name) for name in ("torch", "numpy", "datasets", "accelerate", "safetensors")}
    return {
        "isospike": __version__,
        "python": platform.python_version(),
        **packages,
        "platform": f"{sys.platform}-{platform.machine()}",
        "machine": describe_machine("cpu"),
    }


def describe_machine(device: str) -> str:
    """The machine in words: ``"AMD EPYC, 2 cores"``, or ``"2 x NVIDIA H200"`` where two processes have one each.

    Args:
        device: "cpu" or "cuda".
    """
    if torch.device(device).type == "cuda":
        processes = distributed.get_world_size() if distributed.is_initialized() else 1
        name = torch.cuda.get_device_name()
        return name if processes == 1 else f"{processes} x {name}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_name_processor()}, {cores} core{'' if cores == 1 else 's'}"


def _name_processor() -> str:
    """What the processor calls itself; the architecture where it does not say."""
    if _PROCESSORS.is_file():
        for line in _PROCESSORS.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()
