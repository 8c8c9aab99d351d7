"""The report: one HTML page that asks nothing of any network."""

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from isospike import __version__
from isospike.errors import FileError
from isospike.files import write_text
from isospike.report.cost_sections import compose_energy
from isospike.report.curves import draw_swatch
from isospike.report.headline import compose_headline
from isospike.report.layer_sections import compose_layers, compose_samples
from isospike.report.other_sections import (
    compose_confusions,
    compose_methods,
    compose_recipes,
    compose_robustness,
)
from isospike.report.over_time import compose_accuracy, compose_readout, compose_settling, compose_work
from isospike.report.run_contents import RunContents, read_contents

LARGEST = 3_000_000
_TEMPLATES = Path(__file__).with_name("templates")


def write_report(
    folders: Sequence[Path],
    out: Path,
    command: str = "",
    *,
    batch_size: int | None = None,
    steps: int | None = None,
) -> Path:
    """Write one self-contained HTML page about one run, or about several side by side.

    Args:
        folders: run folders, or folders of log files; each with whatever it holds.
        out: the page.
        command: that the page says it was made with.
        batch_size: images in a batch, for logs that do not tell.
        steps: time steps, likewise.

    Returns:
        ``out``.

    Raises:
        FileError: a folder with nothing of a run in it, a damaged file, a page that would be too large, or one that
            cannot be written.
    """
    if not folders:
        raise FileError("report: expected at least one run folder, got none")
    page = render_report(read_contents(folders, batch_size, steps), out, command)
    page = page.encode(errors="replace").decode()  # names of files and texts of JSON may hold what UTF-8 cannot
    size = len(page.encode())
    if size > LARGEST:
        raise FileError(f"{out}: the page would have {size} bytes, expected at most {LARGEST}: give fewer run folders")
    write_text(out, page)
    return out


def render_report(runs: Sequence[RunContents], out: Path, command: str = "") -> str:
    """The page as text; links to files are relative to the folder of ``out``."""
    home = out.resolve().parent

    def link(path: Path) -> str:
        return quote(os.fsencode(Path(os.path.relpath(path.resolve(), home)).as_posix()))

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["link"] = link
    style, script = (_read_template(name) for name in ("page.css", "page.js"))
    samples, confusions = compose_samples(runs, str(out)), compose_confusions(runs, str(out))
    readout = compose_readout(runs)
    data = {"readout": None if readout is None else readout.data, "confusions": [each.data for each in confusions[0]]}
    return environment.get_template("page.html.j2").render(
        title=" · ".join(run.label for run in runs[:4]) + (" …" if len(runs) > 4 else ""),
        runs=runs,
        swatches=[draw_swatch(run.place) for run in runs],
        version=__version__,
        command=command,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=data,
        headline=compose_headline(runs),
        readout=readout,
        accuracy=compose_accuracy(runs),
        work=compose_work(runs),
        energy=compose_energy(runs),
        settling=compose_settling(runs),
        layers=compose_layers(runs),
        samples=samples,
        robustness=compose_robustness(runs),
        methods=compose_methods(runs),
        confusions=confusions,
        recipes=compose_recipes(runs),
    )


def _read_template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """As a Content-Security-Policy names what it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
