"""One page about one run, or about several side by side."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from isospike.cli.options import Data, Limit, make_options
from isospike.cli.progress import show_progress
from isospike.errors import FileError
from isospike.experiment import Options, RunFolder

Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders, or folders of log files.")]
Page = Annotated[Path, typer.Option("--out", "-o", help="The page.")]
ImageNumber = Annotated[
    int | None, typer.Option("--image", help="Show this test image, neuron by neuron; by default the first.")
]
Figures = Annotated[bool, typer.Option("--figures", help="Write the figures as SVG and PNG too, beside the page.")]


def report(
    folders: Folders,
    out: Page = Path("report.html"),
    data: Data = None,
    image: ImageNumber = None,
    limit: Limit = None,
    figures: Figures = False,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Images in a batch, where logs do not tell.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Time steps, where logs do not tell.")] = None,
) -> None:
    """Write one self-contained HTML page about one run, or about several side by side.

    With the data at hand (--data, or a recipe on the embedded digits) it also runs a sample image and the test images
    through each network, and keeps what comes of them in the run folder: sample.json and confusion.json.
    """
    from isospike.report import refuse_repeats, write_figures, write_report  # matplotlib is slow to load

    if image is not None and image < 0:
        raise FileError(f"--image: expected the number of a test image, from 0, got {image}")
    refuse_repeats(folders)
    command = shlex.join(["isospike", *sys.argv[1:]])
    options = make_options(data, "cpu", limit)
    with show_progress() as display:
        for folder in folders:
            _look_closer(folder, options, image, command, display.advance)
    written = [write_report(folders, out, command, batch_size=batch_size, steps=steps)]
    if figures:
        target = out.with_name(f"{out.stem}-figures")
        written += write_figures(folders, target, batch_size=batch_size, steps=steps)
    for path in written:
        typer.echo(str(path))


def _look_closer(
    folder: Path,
    options: Options,
    image: int | None,
    command: str,
    advance: Callable[[str, int], Callable[[int], None]],
) -> None:
    """Write the sample and the confusion matrix of a run, where they are missing or were made otherwise."""
    from isospike.experiment import sampling
    from isospike.report import digest_graph, is_outdated, read_confusion, read_sample, write_confusion, write_sample

    digest, run = digest_graph(folder), RunFolder(folder)
    if digest is None:
        return
    metrics = run.read_metrics() if (folder / "metrics.json").is_file() else {}
    sample, confusion = read_sample(folder), read_confusion(folder)
    wants_sample = sample is None or is_outdated(sample, digest, metrics) or image not in (None, sample.image)
    wants_confusion = (
        confusion is None or is_outdated(confusion, digest, metrics) or options.limit not in (None, confusion.images)
    )
    if not (wants_sample or wants_confusion):
        return
    if not sampling.has_data(run, options):
        if image is not None:
            raise FileError(f"--image {image}: the images of {folder} are not at hand: give --data FOLDER")
        return
    material = sampling.gather_material(run, options)
    if wants_sample:
        write_sample(sampling.sample_image(material, image or 0, command), folder)
    if wants_confusion:
        follow = advance("confusion", len(material.test))
        write_confusion(sampling.measure_confusion(material, command, follow), folder)
