"""Progress on standard error, and results on standard output."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from isospike.training import EpochReport, TrainingConfig, is_main_process


class Display:
    """Bars for the stages of a run; silent in all processes but the first."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.shown = is_main_process()

    def advance(self, stage: str, total: int) -> Callable[[int], None]:
        """A bar for ``stage``; call what comes back with the number of images done."""
        if not self.shown:
            return lambda done: None  # noqa: ARG005
        task = self.progress.add_task(stage, total=total)
        return lambda done: self.progress.update(task, completed=done)

    def follow_training(self, config: TrainingConfig) -> Callable[[EpochReport], None]:
        """A bar for the epochs, with a line for each."""
        advance = self.advance("train (epochs)", config.epochs)

        def report(epoch: EpochReport) -> None:
            advance(epoch.epoch)
            if self.shown:
                self.progress.console.print(
                    f"epoch {epoch.epoch}/{epoch.epochs}  loss {epoch.loss:.4f}  rate {epoch.learning_rate:.2e}  "
                    f"{epoch.images_per_second:,.0f} images/s",
                    highlight=False,
                )

        return report


@contextmanager
def show_progress() -> Iterator[Display]:
    """Show bars while a command runs; plain lines where standard error is no terminal."""
    console = Console(stderr=True, soft_wrap=True)
    columns = (
        TextColumn("{task.description:>14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        yield Display(progress)
