"""The commands."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from isospike import __version__
from isospike.cli.progress import show_progress
from isospike.errors import DataError
from isospike.experiment import Experiment, Options, Recipe, RunFolder, list_recipes, load_recipe
from isospike.training import is_main_process

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

RecipeName = Annotated[str, typer.Argument(help="A built-in recipe ('isospike recipes' lists them) or a .toml file.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the dataset (parquet, as on the hub).")]
Out = Annotated[Path, typer.Option("--out", help="The run folder.")]
OptionalOut = Annotated[Path | None, typer.Option("--out", help="The run folder; runs/RECIPE by default.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Sops = Annotated[
    str | None, typer.Option("--sops", help="hidden (the default), scatter-gather or negative-spike: whose counting.")
]
CountEncoder = Annotated[bool, typer.Option("--count-encoder", help="Count the encoder's spikes too.")]
Limit = Annotated[int | None, typer.Option("--limit", help="Use this many test images.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"isospike {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Turn a trained image classifier into a spiking neural network that computes the same answer, and prove it."""


@app.command()
def recipes() -> None:
    """List the recipes: source, network, data, published numbers."""
    found = [load_recipe(name) for name in list_recipes()]
    if not sys.stdout.isatty():
        for recipe in found:
            typer.echo("\t".join(_describe(recipe)))
        return
    table = Table("recipe", "source", "network", "data", "published (%)")
    for recipe in found:
        table.add_row(*_describe(recipe))
    Console().print(table)


@app.command()
def run(
    recipe: RecipeName,
    data: Data = None,
    out: OptionalOut = None,
    settings: Set = None,
    device: Device = "cpu",
    limit: Limit = None,
    sops: Sops = None,
    count_encoder: CountEncoder = False,
) -> None:
    """Train, evaluate, convert, simulate and verify a recipe."""
    loaded = load_recipe(recipe, _add_counting(settings, sops, count_encoder))
    folder = RunFolder(out or Path("runs") / loaded.name)
    with show_progress() as display:
        experiment = Experiment(loaded, folder, _options(data, device, limit), display.advance)
        experiment.train(display.follow_training(loaded.train))
        metrics = experiment.evaluate()
        if loaded.is_convertible:
            experiment.convert()
            experiment.simulate()
            metrics = experiment.verify()
    _print_ann(metrics)
    if not loaded.is_convertible:
        _print("full precision (quantise.levels=none): there is nothing to convert without loss")
        return
    _print_snn(metrics)
    if is_main_process():
        _draw([folder.path], folder.figures)
    _conclude(metrics)


@app.command()
def train(
    recipe: RecipeName,
    out: Out,
    data: Data = None,
    settings: Set = None,
    device: Device = "cpu",
    limit: Limit = None,
) -> None:
    """Train a recipe's network; creates the run folder, or goes on with a training that was interrupted."""
    loaded = load_recipe(recipe, settings)
    with show_progress() as display:
        experiment = Experiment(loaded, RunFolder(out), _options(data, device, limit), display.advance)
        experiment.train(display.follow_training(loaded.train))
    _print(f"trained {loaded.name}: {out / 'model.safetensors'}")


@app.command()
def evaluate(out: Out, data: Data = None, settings: Set = None, device: Device = "cpu", limit: Limit = None) -> None:
    """Measure the accuracy of the quantised ANN, exactly, and of PyTorch's float32 evaluation of it."""
    with show_progress() as display:
        metrics = _resume(out, data, settings, device, limit, display).evaluate()
    _print_ann(metrics)


@app.command()
def convert(out: Out, data: Data = None, settings: Set = None, device: Device = "cpu", limit: Limit = None) -> None:
    """Convert the trained network; writes snn.safetensors."""
    with show_progress() as display:
        _resume(out, data, settings, device, limit, display).convert()
    _print(f"converted: {out / 'snn.safetensors'}")


@app.command()
def simulate(
    out: Out,
    data: Data = None,
    settings: Set = None,
    device: Device = "cpu",
    limit: Limit = None,
    sops: Sops = None,
    count_encoder: CountEncoder = False,
) -> None:
    """Run the spiking network over the test images, step by step."""
    settings = _add_counting(settings, sops, count_encoder)
    with show_progress() as display:
        metrics = _resume(out, data, settings, device, limit, display).simulate()
    _print_snn(metrics)


@app.command()
def verify(out: Out, data: Data = None, settings: Set = None, device: Device = "cpu", limit: Limit = None) -> None:
    """Prove the spiking network equal to the quantised ANN; exit code 1 and the layers that differ if it is not."""
    with show_progress() as display:
        metrics = _resume(out, data, settings, device, limit, display).verify()
    _conclude(metrics)


@app.command()
def figures(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders, or folders of log files.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where they go; DIR/figures for one DIR, else ./figures.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Images in a batch, where logs do not tell.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Time steps, where logs do not tell.")] = None,
) -> None:
    """Draw the figures of a run, or of several over one another."""
    target = out or (RunFolder(folders[0]).figures if len(folders) == 1 else Path("figures"))
    for path in _draw(folders, target, batch_size, steps):
        _print(str(path))


def _draw(folders: list[Path], target: Path, batch_size: int | None = None, steps: int | None = None) -> list[Path]:
    from isospike.report import draw_figures, read_run  # matplotlib is slow to load, and no other command needs it

    return draw_figures([read_run(folder, batch_size, steps) for folder in folders], target)


def _add_counting(settings: list[str] | None, sops: str | None, count_encoder: bool) -> list[str]:
    """The settings, with what --sops and --count-encoder stand for."""
    more = [] if sops is None else [f"simulate.sops={sops}"]
    return [*(settings or []), *more, *(["simulate.count_encoder=true"] if count_encoder else [])]


def _options(data: Path | None, device: str, limit: int | None) -> Options:
    if limit is not None and limit < 1:
        raise DataError(f"--limit: expected at least 1 test image, got {limit}")
    return Options(data, device, limit)


def _resume(
    out: Path, data: Path | None, settings: list[str] | None, device: str, limit: int | None, display: Any
) -> Experiment:
    folder = RunFolder(out)
    return Experiment(folder.read_recipe(settings), folder, _options(data, device, limit), display.advance)


def _describe(recipe: Recipe) -> tuple[str, ...]:
    about = recipe.about
    return recipe.name, about.source, recipe.network.notation, recipe.data.name, about.published


def _print(line: str) -> None:
    if is_main_process():
        typer.echo(line)


def _print_ann(metrics: dict[str, Any]) -> None:
    ann = metrics["ann"]
    _print(f"ANN accuracy {ann['accuracy']:.2%} (PyTorch float32 {ann['accuracy_float32']:.2%})")


def _print_snn(metrics: dict[str, Any]) -> None:
    snn = metrics["snn"]
    _print("step  accuracy   settled  spikes/image     SOPs/image")
    rows = zip(snn["accuracy"], snn["settled"], snn["spikes_per_image"], snn["sops_per_image"], strict=True)
    for step, (accuracy, settled, spikes, sops) in enumerate(rows, start=1):
        _print(f"{step:4d}  {accuracy:8.2%}  {settled:8.2%}  {spikes:12,.1f}  {sops:13,.0f}")


def _conclude(metrics: dict[str, Any]) -> None:
    """Say what the proof found; leave with exit code 1 if anything differs."""
    found = metrics["verify"]
    if found is None:
        _print("not verified: where spikes are dropped there is nothing to prove equal")
        return
    when = f"all settled by step {found['settled_by']}" if found["settled_by"] else f"{found['unsettled']} unsettled"
    _print(
        f"verified {found['images']:,} images x {found['neurons']:,} counts: {found['mismatches']} mismatches, {when}"
    )
    for layer, number in found["differing_layers"].items():
        _print(f"differs: {layer}: {number} {'logits' if layer == 'readout' else 'counts'}")
    for layer in found["differing_tensors"]:
        _print(f"differs: {layer}: stored tensors are not those of a fresh conversion")
    if found["unsettled"] == found["images"]:
        _print("nothing was proved: no image settled; raise convert.t_max")
    if found["mismatches"] or found["differing_tensors"] or found["unsettled"] == found["images"]:
        raise typer.Exit(1)
