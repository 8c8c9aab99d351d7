"""The commands."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from isospike import __version__
from isospike.cli import export
from isospike.cli.compare import compare_methods
from isospike.cli.inspect import inspect
from isospike.cli.options import Data, Dataset, Device, Limit, Out, Set, make_options
from isospike.cli.own_network import convert
from isospike.cli.progress import show_progress
from isospike.errors import FileError
from isospike.experiment import Experiment, Recipe, RunFolder, list_recipes, load_recipe
from isospike.experiment.graph_file import simulate_file
from isospike.experiment.own_run import OwnRun
from isospike.training import is_main_process

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(export.app, name="export")

RecipeName = Annotated[str, typer.Argument(help="A built-in recipe ('isospike recipes' lists them) or a .toml file.")]
OptionalOut = Annotated[Path | None, typer.Option("--out", help="The run folder; runs/RECIPE by default.")]
Sops = Annotated[
    str | None, typer.Option("--sops", help="hidden (the default), scatter-gather or negative-spike: whose counting.")
]
CountEncoder = Annotated[bool, typer.Option("--count-encoder", help="Count the encoder's spikes too.")]
Engine = Annotated[str | None, typer.Option("--engine", help="auto (the default), cpp or torch: what simulates.")]


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
    engine: Engine = None,
) -> None:
    """Train, evaluate, convert, simulate and verify a recipe."""
    loaded = load_recipe(recipe, _add_engine(_add_counting(settings, sops, count_encoder), engine))
    folder = RunFolder(out or Path("runs") / loaded.name)
    with show_progress() as display:
        experiment = Experiment(loaded, folder, make_options(data, device, limit), display.advance)
        experiment.train(display.follow_training(loaded.train))
        metrics = experiment.evaluate()
        if loaded.is_convertible:
            experiment.convert()
            metrics = experiment.simulate_and_verify()
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
        experiment = Experiment(loaded, RunFolder(out), make_options(data, device, limit), display.advance)
        experiment.train(display.follow_training(loaded.train))
    _print(f"trained {loaded.name}: {out / 'model.safetensors'}")


@app.command()
def evaluate(out: Out, data: Data = None, settings: Set = None, device: Device = "cpu", limit: Limit = None) -> None:
    """Measure the accuracy of the quantised ANN, exactly, and of PyTorch's float32 evaluation of it."""
    with show_progress() as display:
        metrics = _resume(out, data, settings, device, limit, display).evaluate()
    _print_ann(metrics)


app.command()(convert)
app.command()(inspect)
app.command("compare")(compare_methods)


@app.command()
def simulate(
    out: Annotated[Path | None, typer.Option("--out", help="The run folder; with --graph, where metrics go.")] = None,
    data: Data = None,
    settings: Set = None,
    device: Device = "cpu",
    limit: Limit = None,
    sops: Sops = None,
    count_encoder: CountEncoder = False,
    engine: Engine = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Time steps; as simulate.steps.")] = None,
    graph: Annotated[Path | None, typer.Option("--graph", help="Any snn.safetensors, without its run folder.")] = None,
    dataset: Dataset = None,
) -> None:
    """Run the spiking network over the test images, step by step."""
    settings = _add_engine(_add_counting(settings, sops, count_encoder), engine)
    settings += [] if steps is None else [f"simulate.steps={steps}"]
    if out is None and graph is None:
        raise FileError("simulate: expected --out, a run folder, or --graph, an snn.safetensors: give one of them")
    if graph is None and dataset is not None:
        raise FileError("--dataset: belongs to --graph; a run folder knows its own: leave it out")
    with show_progress() as display:
        if graph is not None:
            options = make_options(data, device, limit)
            metrics = simulate_file(graph, options, display.advance, dataset=dataset, settings=settings, out=out)
        else:
            metrics = _resume(out or Path(), data, settings, device, limit, display).simulate()
    _print_snn(metrics)


@app.command()
def verify(
    out: Out,
    data: Data = None,
    settings: Set = None,
    device: Device = "cpu",
    limit: Limit = None,
    engine: Engine = None,
) -> None:
    """Prove the spiking network equal to the quantised ANN.

    Exit code 1, and the layers that differ, if it is not; exit code 1 too if no image settles.
    """
    settings = _add_engine(settings, engine)
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
    # matplotlib is slow to load, and no other command needs it
    from isospike.report import draw_figures, read_run, refuse_repeats

    refuse_repeats(folders)
    return draw_figures([read_run(folder, batch_size, steps) for folder in folders], target)


def _add_counting(settings: list[str] | None, sops: str | None, count_encoder: bool) -> list[str]:
    """The settings, with what --sops and --count-encoder stand for."""
    more = [] if sops is None else [f"simulate.sops={sops}"]
    return [*(settings or []), *more, *(["simulate.count_encoder=true"] if count_encoder else [])]


def _add_engine(settings: list[str] | None, engine: str | None) -> list[str]:
    """The settings, with what --engine stands for."""
    return [*(settings or []), *([] if engine is None else [f"simulate.engine={engine}"])]


def _resume(
    out: Path, data: Path | None, settings: list[str] | None, device: str, limit: int | None, display: Any
) -> Experiment | OwnRun:
    folder = RunFolder(out)
    if OwnRun.is_there(out):
        return OwnRun(folder, make_options(data, device, limit), display.advance, settings)
    return Experiment(folder.read_recipe(settings), folder, make_options(data, device, limit), display.advance)


def _describe(recipe: Recipe) -> tuple[str, ...]:
    about = recipe.about
    return recipe.name, about.source, recipe.network.label, recipe.data.name, about.published


def _print(line: str) -> None:
    if is_main_process():
        typer.echo(line)


def _print_ann(metrics: dict[str, Any]) -> None:
    ann = metrics["ann"]
    came = ann.get("accuracy_as_it_came")
    more = "" if came is None else f"; as it came {came:.2%}"
    _print(f"ANN accuracy {ann['accuracy']:.2%} (PyTorch float32 {ann['accuracy_float32']:.2%}){more}")


def _print_snn(metrics: dict[str, Any]) -> None:
    snn = metrics["snn"]
    if snn["settled"] is None:
        _print_rates(snn)
        return
    _print("step  accuracy   settled  spikes/image     SOPs/image")
    rows = zip(snn["accuracy"], snn["settled"], snn["spikes_per_image"], snn["sops_per_image"], strict=True)
    for step, (accuracy, settled, spikes, sops) in enumerate(rows, start=1):
        _print(f"{step:4d}  {accuracy:8.2%}  {settled:8.2%}  {spikes:12,.1f}  {sops:13,.0f}")


def _print_rates(snn: dict[str, Any]) -> None:
    """Of a rate-coded network: T, and T + tau where tau steps come before; the work of those is in the first step."""
    tau = snn["tau"]
    _print(f"   T{'  T+tau' if tau else ''}  accuracy  spikes/image     SOPs/image")
    rows = zip(snn["accuracy"], snn["spikes_per_image"], snn["sops_per_image"], strict=True)
    for step, (accuracy, spikes, sops) in enumerate(rows, start=1):
        total = f"  {step + tau:5d}" if tau else ""
        _print(f"{step:4d}{total}  {accuracy:8.2%}  {spikes:12,.1f}  {sops:13,.0f}")


def _report_loss(found: dict[str, Any]) -> None:
    """Say how far a rate-coded network is from its ANN; leave with exit code 1 if its tensors are not as converted."""
    steps = len(found["agreement"])
    _print(f"rate-coded, so nothing to prove: {found['images']:,} images against the ANN in float64")
    _print("   T  same class  logit error")
    for step in [step for step in (1, 2, 4, 8, 16, 32, 64, 128) if step < steps] + [steps]:
        _print(f"{step:4d}  {found['agreement'][step - 1]:10.2%}  {found['logit_error'][step - 1]:11.4g}")
    for layer in found["differing_tensors"]:
        _print(f"differs: {layer}: stored tensors are not those of a fresh conversion")
    if found["differing_tensors"]:
        raise typer.Exit(1)


def _conclude(metrics: dict[str, Any]) -> None:
    """Say what the proof found; leave with exit code 1 if anything differs, or no image settled."""
    if metrics.get("loss") is not None:
        _report_loss(metrics["loss"])
        return
    found = metrics["verify"]
    if found is None:
        _print("not verified: where spikes are dropped there is nothing to prove equal")
        return
    compared = found["images"] - found["unsettled"]
    settled = f"all settled by step {found['settled_by']}"
    number = f"{compared:,} images"
    if found["unsettled"]:
        settled = f"{found['unsettled']:,} unsettled at T_max, about which nothing is proved: raise t_max"
        number = f"{compared:,} of {found['images']:,} images"
    _print(f"verified {number} x {found['neurons']:,} counts: {found['mismatches']} mismatches, {settled}")
    for layer, number in found["differing_layers"].items():
        _print(f"differs: {layer}: {number} {'logits' if layer == 'readout' else 'counts'}")
    for layer in found["differing_tensors"]:
        _print(f"differs: {layer}: stored tensors are not those of a fresh conversion")
    if found["mismatches"] or found["differing_tensors"] or not compared:
        raise typer.Exit(1)
