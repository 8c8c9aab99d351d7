"""Any spiking graph in a file, over any test images."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from isospike.errors import FileError
from isospike.experiment.measuring import measure_simulation
from isospike.experiment.own_data import load_own_data
from isospike.experiment.own_settings import read_energy, read_later_sections
from isospike.experiment.run_folder import RunFolder
from isospike.experiment.sharing import Advance
from isospike.experiment.stages import Options
from isospike.files import write_json
from isospike.graph import load_graph
from isospike.metrics import write_logs
from isospike.training import is_main_process, wait_for_others


def simulate_file(
    path: Path,
    options: Options,
    advance: Callable[[str, int], Advance],
    *,
    dataset: str | None = None,
    settings: list[str] | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Simulate a graph that :func:`isospike.save_graph` wrote.

    Args:
        path: of the graph.
        options: data, device and limit.
        advance: given a stage and its total, gives a function to call with the number done.
        dataset: one of the known datasets; None for a folder of the user's own.
        settings: ``simulate.KEY=VALUE``, ``noise.KEY=VALUE`` and ``energy.KEY=VALUE``, as for a recipe.
        out: a folder for ``metrics.json`` and the six logs; None writes nothing.

    Returns:
        The metrics: ``graph``, ``steps``, and the sections of
        :func:`~isospike.experiment.measuring.measure_simulation`.

    Raises:
        FileError, GraphError: the file is no graph; ``out`` cannot be written, or holds a run.
        DataError: images that the graph does not take.
        SimulationError: a graph that is not converted, or more steps than it may run.
    """
    if out is not None and is_main_process():
        if any((out / name).exists() for name in ("recipe.toml", "ann.safetensors")):
            raise FileError(f"--out {out}: it holds a run, whose metrics would be lost: choose another --out")
        RunFolder(out).check()
    graph = load_graph(path)
    simulation, noise = read_later_sections(settings or [], graph.t_max or 1)
    _, test = load_own_data(dataset, options, graph.input.shape, graph.shapes[graph.readout.name][0])
    logs, sections = measure_simulation(
        graph,
        test,
        simulation,
        noise,
        seeds=list(range(noise.seeds)),
        device=options.device,
        follow=partial(advance, "simulate"),
        tables=read_energy(settings or []),
    )
    metrics = {"graph": str(path), "steps": simulation.steps, **sections}
    if out is not None and is_main_process():
        write_json(out / "metrics.json", metrics)
        write_logs(logs, out / "logs")
    wait_for_others()
    return metrics
