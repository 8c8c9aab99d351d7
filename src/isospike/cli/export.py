"""The commands that carry a spiking network out of Python."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from isospike.graph import SpikingGraph

app = typer.Typer(help="Carry a spiking network out of Python: plain C, NIR.", no_args_is_help=True)

Graph = Annotated[
    Path, typer.Argument(metavar="SNN|RUN", help="An snn.safetensors that 'isospike convert' wrote, or a run folder.")
]


@app.command("c")
def export_c(
    graph: Graph,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the C program.")],
    weights: Annotated[
        str, typer.Option("--weights", help="packed (ternary weights take 2 bits each) or bytes (8).")
    ] = "packed",
    name: Annotated[str, typer.Option("--name", help="The prefix of files and functions.")] = "snn",
) -> None:
    """Write an integer network as C99: no library, no heap, no float; the same logits at every step.

    Of a run folder, flash and RAM go into its metrics.json too, as the section c.
    """
    from isospike.export import export_c as write

    started = time.perf_counter()
    program = write(_load(graph), out, weights, name)
    sizes = program.sizes
    if graph.is_dir():
        from isospike.experiment import RunFolder

        seconds = time.perf_counter() - started
        RunFolder(graph).merge_metrics({}, "export c", seconds, {"c": {"weights": weights, **asdict(sizes)}})
    flash = "not measured (no C compiler)" if sizes.flash_bytes is None else f"{sizes.flash_bytes:,} bytes"
    typer.echo(f"written: {out / name}.c, {name}.h, main.c, Makefile, metrics.json")
    typer.echo(
        f"RAM: {sizes.ram_bytes:,} bytes in fixed buffers; flash: {flash}, of which constants: "
        f"{sizes.constant_bytes:,} bytes"
    )


@app.command("nir")
def export_nir(
    graph: Graph,
    out: Annotated[Path, typer.Option("--out", "-o", help="The NIR file (HDF5).")],
    pool: Annotated[str, typer.Option("--pool", help="sum (norse, sinabs) or average (SpikingJelly).")] = "sum",
    v_reset: Annotated[
        bool, typer.Option("--v-reset/--no-v-reset", help="Write v_reset; readers with nir up to 1.0.4 reject it.")
    ] = True,
    time_step: Annotated[float, typer.Option("--time-step", help="Of the reader; R is 1 / time step.")] = 1.0,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of a dataset, to measure the accuracy.")] = None,
    dataset: Annotated[str, typer.Option("--dataset", help="Its name.")] = "mnist",
    steps: Annotated[int | None, typer.Option("--steps", help="Time steps to measure; T_max by default.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Test images to measure.")] = 1000,
) -> None:
    """Write a rate-coded network as NIR; says what NIR cannot say, and with --data the accuracy it leaves."""
    from isospike.export import export_nir as write

    loaded = _load(graph)
    written = write(loaded, out, pool, v_reset, time_step)
    for note in written.notes:
        typer.echo(f"NOTE: {note}", err=True)
    typer.echo(f"written: {out}")
    if data is None:
        return
    from isospike.data import load
    from isospike.export import compare_accuracy

    test = load(dataset, data).test
    found = compare_accuracy(loaded, out, test.images[:limit], test.labels[:limit], steps, time_step)
    typer.echo(f"accuracy over {min(limit, len(test.images)):,} test images, as isospike runs it and as NIR reads it:")
    for step, (ours, theirs) in enumerate(zip(found.graph, found.nir, strict=True), start=1):
        typer.echo(f"{step:4d}  {ours:8.2%}  {theirs:8.2%}")


def _load(place: Path) -> "SpikingGraph":
    """The graph in a file, or that of a run folder."""
    from isospike.graph import load_graph

    return load_graph(place / "snn.safetensors" if place.is_dir() else place)
