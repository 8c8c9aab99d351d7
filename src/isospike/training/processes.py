"""One process or many: started by ``torchrun``, tied together by accelerate."""

import gc
import os
import warnings

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor, distributed

from isospike.errors import DeviceError, TrainingError

RENDEZVOUS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
MIXED = {"float32": "no", "bf16": "bf16"}


def start_accelerator(device: str, precision: str = "float32") -> Accelerator:
    """Join the processes that were launched together, or start alone.

    May be called again in one process with other settings: accelerate keeps its state in singletons, which are made
    anew. The processes' group stays until :func:`leave_processes`.

    Arguments:
        device: "cpu" or "cuda"; with several GPUs each process takes its own.
        precision: "float32" or "bf16".

    Raises:
        DeviceError: a device that is not there; processes that were announced but have not met.
        TrainingError: an unknown precision.
    """
    if precision not in MIXED:
        raise TrainingError(f"precision: got {precision!r}, expected one of {', '.join(MIXED)}")
    check_device(device)
    announced = _count_announced()
    backend = {"cpu": "gloo", "cuda": "nccl"}[device]
    if distributed.is_initialized() and distributed.get_backend() != backend:
        distributed.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    try:
        with warnings.catch_warnings():
            # accelerate says so whenever it sets the number of threads itself.
            warnings.filterwarnings("ignore", message="OMP_NUM_THREADS")
            accelerator = Accelerator(
                cpu=device == "cpu",
                mixed_precision=MIXED[precision],
                # Buffers are shared at the end of each epoch instead: see share_buffers.
                kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
            )
    except (ValueError, distributed.DistError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DeviceError(
            f"{announced} processes on {device}: they cannot be started ({reason}); expected processes launched "
            "together: launch them with torchrun"
        ) from error
    if accelerator.device.type != device:
        raise DeviceError(
            f"device {device}: accelerate chose {accelerator.device}; expected {device}: unset ACCELERATE_USE_CPU and "
            "ACCELERATE_TORCH_DEVICE"
        )
    if accelerator.num_processes != announced:
        raise DeviceError(
            f"{announced} processes were announced (WORLD_SIZE), but accelerate found {accelerator.num_processes}; "
            "expected the same: launch with torchrun, or unset WORLD_SIZE"
        )
    return accelerator


def leave_processes() -> None:
    """Take this process out of its group, if it is in one: the last thing that a launched program does."""
    if distributed.is_available() and distributed.is_initialized():
        # What still holds tensors of the group (wrapped models, in cycles) could reach its threads while the
        # interpreter ends, where they abort: see https://github.com/pytorch/pytorch/pull/179291
        gc.collect()
        distributed.destroy_process_group()


def own_slice(n: int, accelerator: Accelerator) -> range:
    """The part of 0 to n - 1 that this process works on.

    The parts of all processes are disjoint, contiguous, cover everything, and differ in length by at most one.
    """
    share, rest = divmod(n, accelerator.num_processes)
    rank = accelerator.process_index
    start = rank * share + min(rank, rest)
    return range(start, start + share + (rank < rest))


def gather_sum(accelerator: Accelerator, tensor: Tensor) -> Tensor:
    """The sum of each process's ``tensor``, on every process; exact for integers. Same shape and type."""
    total: Tensor = accelerator.reduce(tensor, reduction="sum")
    return total


def gather_rows(accelerator: Accelerator, rows: Tensor) -> Tensor:
    """The rows (dimension 0) of every process's tensor one after another, in the order of the processes; on every
    process. They may have different numbers of rows, none included."""
    if accelerator.num_processes == 1:
        return rows
    place = accelerator.device
    lengths = accelerator.gather(torch.tensor([len(rows)], device=place)).tolist()
    padded = rows.new_zeros(max(lengths), *rows.shape[1:], device=place)
    padded[: len(rows)] = rows.to(place)
    parts = accelerator.gather(padded[None])
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)]).to(rows.device)


def share_buffers(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Give all processes the same buffers.

    The running statistics of BatchNorm become their mean over the processes, each of which has seen its own images;
    all other buffers become those of the first process.
    """
    if accelerator.num_processes == 1:
        return
    with torch.no_grad():
        for module in model.modules():
            running = isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
            for buffer in module.buffers(recurse=False):
                if running and buffer.is_floating_point():
                    distributed.all_reduce(buffer)
                    buffer /= accelerator.num_processes
                else:
                    distributed.broadcast(buffer, src=0)


def check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise DeviceError(f"device {device!r}: expected cpu or cuda; choose one GPU with CUDA_VISIBLE_DEVICES")
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device cuda: PyTorch sees no GPU here, expected at least one: pass --device cpu")
    local_rank = os.environ.get("LOCAL_RANK", "0")
    if device == "cuda" and local_rank.isdecimal() and int(local_rank) >= torch.cuda.device_count():
        raise DeviceError(
            f"device cuda: process {local_rank} of this machine finds {torch.cuda.device_count()} GPUs, expected one "
            "for each process: launch fewer with torchrun --nproc-per-node"
        )


def _count_announced() -> int:
    """How many processes there should be, by the group that exists already or by the environment."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    announced = os.environ.get("WORLD_SIZE", "1")
    if not announced.isdecimal() or int(announced) < 1:
        raise DeviceError(f"WORLD_SIZE: got {announced!r}, expected a number of processes: unset it")
    missing = [name for name in RENDEZVOUS if not os.environ.get(name)]
    if int(announced) > 1 and missing:
        raise DeviceError(
            f"WORLD_SIZE={announced} announces {announced} processes, but {', '.join(missing)} is not set; expected "
            "a launch by torchrun: use it, or unset WORLD_SIZE"
        )
    return int(announced)
