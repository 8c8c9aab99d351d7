"""The training loop: one process, several CPU processes or several GPUs, by the same code."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from isospike.data import Augmentation, Images, ImageStream, augment
from isospike.errors import TrainingError
from isospike.memory import keep_freed_memory
from isospike.training.averaging import finish_average, start_average
from isospike.training.checkpoints import describe_run, read_checkpoint, write_checkpoint
from isospike.training.configuration import TrainingConfig, schedule_rate
from isospike.training.convolution import choose_gradients
from isospike.training.feeding import Batch, Feed, make_feed, seed_from
from isospike.training.history import EpochReport
from isospike.training.objective import Objective, ask_teacher
from isospike.training.optimisers import build_optimiser
from isospike.training.processes import gather_sum, share_buffers, start_accelerator
from isospike.training.pruning import Pruning
from isospike.training.relaxation import Relaxation
from isospike.training.resizing import Reduction

_MEASURED = 100
"""Batches that BatchNorm's statistics are measured on, with averaged weights."""


def train(
    model: nn.Module,
    data: Images,
    config: TrainingConfig,
    *,
    augmentation: Augmentation | None = None,
    teacher: nn.Module | None = None,
    folder: Path | None = None,
    device: str = "cpu",
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> list[EpochReport]:
    """Train a network in place, by cross-entropy.

    With ``folder``, each epoch leaves a checkpoint there, and a call with the same arguments goes on after the last
    one, to the same weights bit by bit as without the interruption (by as many processes of the same machine).

    Arguments:
        model: takes uint8 images (n, channel, height, width), returns logits (n, classes); left in training mode.
        data: the images: a set is held on ``device`` whole, and each process takes its slice of each batch of a common
            order; of a stream each process reads its share.
        config: the settings.
        augmentation: how to vary the images; None leaves them.
        teacher: a trained network that answers the same images, for ``config.distil``; moved to ``device``.
        folder: where checkpoints go; with several machines, a folder that all of them see. None writes nothing.
        device: "cpu" or "cuda".
        on_epoch: called on every process after each epoch's checkpoint; may call :func:`evaluate`.
        on_step: called on every process with the number of steps done and to do, of this epoch.

    Returns:
        A report of each epoch, those before a resumption included.

    Raises:
        TrainingError: too few images or classes, a loss that is not finite, or a checkpoint of another training.
        DeviceError: the device or the other processes are not there.
        FileError: a checkpoint that cannot be read or written whole.
    """
    accelerator = start_accelerator(device, config.precision)
    _check_sizes(model, data, config, accelerator)
    _check_teacher(teacher, config)
    run = describe_run(model, config, augmentation, data, teacher)
    model.to(accelerator.device)
    _lay_out(model, torch.channels_last if config.channels_last else torch.contiguous_format)
    optimiser = build_optimiser(model, config)
    average = start_average(model, config.average) if config.average else None
    pruning = Pruning(len(data), config).to(accelerator.device) if config.prune_images else None
    kept = {name: part for name, part in (("average", average), ("pruning", pruning)) if part is not None}
    history = [] if folder is None else read_checkpoint(folder, run, model, optimiser, kept)
    _check_agreement(accelerator, len(history))
    objective = Objective(model, config, _find_highest(data))
    if config.compiled:
        objective.compile()
    objective = accelerator.prepare_model(objective)
    session = _Session(
        accelerator=accelerator,
        model=model,
        objective=objective,
        optimiser=optimiser,
        average=average,
        pruning=pruning,
        kept=kept,
        relaxation=Relaxation(model, config),
        reduction=Reduction(model, config),
        gradients=choose_gradients(accelerator.device.type, config.compiled),
        teacher=None if teacher is None else teacher.to(accelerator.device).eval(),
        feed=make_feed(data, config.batch_size, config.seed, accelerator, pruning),
        steps=len(data) // config.batch_size,
        config=config,
        augmentation=augmentation or Augmentation(),
        on_step=on_step,
    )
    try:
        with keep_freed_memory():
            for report in _run_epochs(session, history, run, folder):
                if on_epoch is not None:
                    on_epoch(report)
            session.relaxation.apply(1.0)
            if average is not None:
                _take_average(session, average)
    finally:
        session.relaxation.apply(1.0)
        session.reduction.close()
        _lay_out(model, torch.contiguous_format)
    accelerator.wait_for_everyone()
    return history


@dataclass(frozen=True)
class _Session:
    """What stays the same from step to step."""

    accelerator: Accelerator
    model: nn.Module
    objective: nn.Module
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None
    pruning: Pruning | None
    kept: Mapping[str, nn.Module]
    relaxation: Relaxation
    reduction: Reduction
    gradients: AbstractContextManager[object]
    teacher: nn.Module | None
    feed: Feed
    steps: int
    config: TrainingConfig
    augmentation: Augmentation
    on_step: Callable[[int, int], None] | None


def _run_epochs(
    session: _Session, history: list[EpochReport], run: dict[str, Any], folder: Path | None
) -> Iterator[EpochReport]:
    """The epochs after those of ``history``, which each is added to, each reported once its checkpoint is written."""
    accelerator, model, config = session.accelerator, session.model, session.config
    for epoch in range(len(history), config.epochs):
        model.train()
        report = _run_epoch(session, epoch)
        _check_loss(report, config, folder)
        share_buffers(accelerator, model)
        history.append(report)
        if folder is not None and accelerator.is_main_process:
            write_checkpoint(folder, run, history, model, session.optimiser, session.kept)
        yield report


def _run_epoch(session: _Session, epoch: int) -> EpochReport:
    started = time.perf_counter()
    config, accelerator, steps = session.config, session.accelerator, session.steps
    device = accelerator.device
    generator = seed_from(torch.Generator(device), config.seed, epoch, accelerator.process_index + 1)
    total, rate = torch.zeros((), dtype=torch.float64, device=device), 0.0
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # Layers that draw, such as dropout, draw the same after a resumption.
        torch.manual_seed(generator.initial_seed())
        for step, batch in enumerate(session.feed.read(epoch)):
            done, whole = epoch * steps + step, config.epochs * steps
            rate = schedule_rate(config, done, whole)
            session.relaxation.apply(done / whole)
            # The sum stays on the device: reading it at each step would make the device wait for Python.
            total += _run_step(session, batch, generator, rate, done / whole)
            if session.on_step is not None:
                session.on_step(step + 1, steps)
    if session.pruning is not None:
        session.pruning.finish_epoch(accelerator)
    mean = float(gather_sum(accelerator, total)) / (steps * accelerator.num_processes)
    seconds = time.perf_counter() - started
    return EpochReport(epoch + 1, config.epochs, mean, rate, seconds, steps * config.batch_size / seconds)


def _run_step(session: _Session, batch: Batch, generator: torch.Generator, rate: float, progress: float) -> Tensor:
    accelerator, objective, config = session.accelerator, session.objective, session.config
    whole = _vary(session, batch, generator)
    images = _arrange(session.reduction.apply(whole, progress), config)
    parts = min(config.accumulation, len(images))
    # Slices may differ by one image, and gradients are averaged over processes: each image weighs the same so.
    shares = batch.weights * (accelerator.num_processes / config.batch_size)
    pieces = (tensor.tensor_split(parts) for tensor in (images, whole, batch.images.labels, shares))
    losses: list[Tensor] = []
    for number, (some, shown, labels, share) in enumerate(zip(*pieces, strict=True), start=1):
        # processes exchange gradients with the last slice only
        with accelerator.no_sync(objective) if number < parts else nullcontext():
            answers = ask_teacher(session.teacher, shown, accelerator)
            with session.gradients:
                loss = objective(some, labels, answers)
            accelerator.backward((loss * share).sum())
        losses.append(loss.detach())
    if config.gradient_clip is not None:
        accelerator.clip_grad_norm_(objective.parameters(), config.gradient_clip)
    for group in session.optimiser.param_groups:
        group["lr"] = rate
    session.optimiser.step()
    session.optimiser.zero_grad(set_to_none=True)
    if session.average is not None:
        session.average.update_parameters(session.model)
    of_images = torch.cat(losses)
    if session.pruning is not None and batch.places is not None:
        session.pruning.record(batch.places, of_images)
    return (of_images * shares).sum()


def _vary(session: _Session, batch: Batch, generator: torch.Generator) -> Tensor:
    """The images of a batch, whole, as training varies them."""
    images = augment(batch.images.images, session.augmentation, generator, batch.mirrored)
    return _arrange(images, session.config)


def _take_average(session: _Session, average: AveragedModel) -> None:
    config, accelerator = session.config, session.accelerator
    generator = seed_from(
        torch.Generator(accelerator.device), config.seed, config.epochs, accelerator.process_index + 1
    )
    whole = (_vary(session, batch, generator) for batch in islice(session.feed.read(config.epochs), _MEASURED))
    batches = (some for images in whole for some in images.tensor_split(min(config.accumulation, len(images))))
    with torch.random.fork_rng([accelerator.device] if accelerator.device.type == "cuda" else []):
        torch.manual_seed(generator.initial_seed())
        with accelerator.autocast():
            finish_average(session.model, average, batches)
    share_buffers(accelerator, session.model)


def _arrange(images: Tensor, config: TrainingConfig) -> Tensor:
    """Images with the channels innermost in memory, where the training wants them so. One channel is innermost however
    it is placed, but PyTorch then takes the strides that say so for the other layout, and every later operation pays
    for two layouts that meet."""
    if not config.channels_last:
        return images
    placed = images.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = placed.shape
    return placed.as_strided(placed.shape, (channels * height * width, 1, width * channels, channels))


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    """Order the elements of the 4-d parameters in memory; the numbers stay."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def _check_loss(report: EpochReport, config: TrainingConfig, folder: Path | None) -> None:
    if math.isfinite(report.loss):
        return
    done = report.epoch - 1
    kept = f"; the checkpoint of epoch {done} in {folder} is whole" if folder is not None and done else ""
    raise TrainingError(
        f"epoch {report.epoch}: the loss is {report.loss}, expected a finite number{kept}: lower "
        f"train.learning_rate ({config.learning_rate}) or set train.gradient_clip"
    )


def _find_highest(data: Images) -> int:
    """The highest label that may come."""
    return data.classes - 1 if isinstance(data, ImageStream) else int(data.labels.max())


def _check_teacher(teacher: nn.Module | None, config: TrainingConfig) -> None:
    if (teacher is None) == (config.distil > 0):
        got = "no teacher" if teacher is None else "a teacher"
        raise TrainingError(
            f"train.distil: got {config.distil} and {got}, expected both or neither: give a share above 0 and "
            "network.teacher"
        )


def _check_sizes(model: nn.Module, data: Images, config: TrainingConfig, accelerator: Accelerator) -> None:
    if isinstance(data, ImageStream) and config.prune_images:  # its images have no places to keep losses for
        raise TrainingError(
            f"train.prune_images: got {config.prune_images} for a stream of images, expected images held in memory: "
            "leave it out"
        )
    if len(data) < config.batch_size:
        raise TrainingError(
            f"train.batch_size: got {config.batch_size}, expected at most {len(data)}, the number of training "
            "images: lower it"
        )
    smallest = config.batch_size // accelerator.num_processes // config.accumulation
    if config.accumulation > 1 and smallest < 2:  # BatchNorm takes no batch of one image
        raise TrainingError(
            f"train.accumulation: got {config.accumulation} for {config.batch_size} images on "
            f"{accelerator.num_processes} processes, expected slices of 2 images or more: lower it"
        )
    if config.batch_size < accelerator.num_processes:
        raise TrainingError(
            f"train.batch_size: got {config.batch_size} for {accelerator.num_processes} processes, expected an "
            "image or more for each: raise it"
        )
    if smallest == 1 and any(isinstance(module, nn.BatchNorm1d) for module in model.modules()):
        raise TrainingError(
            f"train.batch_size: got {config.batch_size} for {accelerator.num_processes} processes, expected 2 images "
            "or more for each, as BatchNorm behind a dense layer needs: raise it"
        )


def _check_agreement(accelerator: Accelerator, done: int) -> None:
    if accelerator.num_processes == 1:
        return
    total = gather_sum(accelerator, torch.tensor([done], device=accelerator.device))
    if int(total) != done * accelerator.num_processes:
        raise TrainingError(
            f"process {accelerator.process_index} found a checkpoint of epoch {done}, others found another; expected "
            "one folder for all processes: write to a folder that all machines see"
        )
