"""A spiking network over test images, with and without noise, as the sections of ``metrics.json``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from isospike.data import Images, ImageSet, ImageStream, add_input_noise
from isospike.errors import FileError
from isospike.experiment.costs import (
    summarise_activity,
    summarise_energy,
    summarise_latency,
    summarise_neurobench,
)
from isospike.experiment.sections import NoiseSection, SimulateSection
from isospike.experiment.sharing import Advance, simulate_together
from isospike.experiment.summaries import Counting, collect_logs, summarise_layers, summarise_logs, summarise_seeds
from isospike.experiment.tallies import Tally
from isospike.experiment.unfinished import Unfinished
from isospike.graph import SpikingGraph
from isospike.metrics import TABLES, EnergyTable, RunLogs, count_macs


def describe_noise(noise: NoiseSection, seeds: Sequence[int]) -> dict[str, Any]:
    """The section ``noise`` of the metrics."""
    return {**noise.model_dump(exclude={"seeds"}), "seeds": list(seeds)}


def describe_simulation(graph: SpikingGraph, settings: SimulateSection) -> dict[str, Any]:
    """The section ``simulation`` of the metrics: what numbers over time steps depend on, what they count, and the
    multiply-accumulates of the layers whose operations they count."""
    described = settings.model_dump(include={"steps", "propagation", "sops", "count_encoder"})
    return {**described, "macs_per_image": count_macs(graph, classifier=settings.sops == "negative-spike")}


def read_conditions(
    folder: Path, metrics: dict[str, Any], settings: SimulateSection, noise: NoiseSection, seed: int
) -> tuple[SimulateSection, NoiseSection, list[int]]:
    """How a run was simulated, by the sections ``simulation`` and ``noise`` of its metrics; where they say nothing, the
    given settings stay.

    Args:
        folder: of the run.
        metrics: of the run.
        settings: of the simulation.
        noise: on pixels and spikes.
        seed: of the run.

    Returns:
        The settings, the noise and its seeds.

    Raises:
        FileError: sections that are damaged.
    """
    try:
        said = metrics.get("simulation") or {}
        kept = {key: said[key] for key in ("steps", "propagation") if key in said}
        settings = SimulateSection(**{**settings.model_dump(), **kept})
        seeds = [seed + number for number in range(noise.seeds)]
        if metrics.get("noise"):
            seeds = [int(number) for number in metrics["noise"]["seeds"]]
            known = {key: value for key, value in metrics["noise"].items() if key != "seeds"}
            noise = NoiseSection(**known, seeds=len(seeds))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise FileError(
            f"{folder / 'metrics.json'}: simulation and noise are not those of a run ({type(error).__name__}: "
            f"{reason}); run 'isospike simulate --out {folder}'"
        ) from error
    return settings, noise, seeds


def add_noise(test: Images, noise: NoiseSection, seed: int) -> Images:
    """The images with the noise of the recipe on their pixels."""
    if isinstance(test, ImageStream):
        return test.add_noise(noise.input, seed)
    return ImageSet(add_input_noise(test.images, noise.input, seed), test.labels)


def measure_simulation(
    graph: SpikingGraph,
    test: Images,
    settings: SimulateSection,
    noise: NoiseSection,
    *,
    seeds: Sequence[int],
    device: str,
    follow: Callable[[int], Advance],
    tables: Sequence[EnergyTable] = TABLES,
    unfinished: Unfinished | None = None,
) -> tuple[RunLogs, dict[str, Any]]:
    """Simulate, once for each seed of the noise, by all processes together.

    Args:
        graph: a converted graph.
        test: images and labels.
        settings: steps, batches, engine, and what is counted.
        noise: on pixels and spikes.
        seeds: of the noise.
        device: "cpu" or "cuda".
        follow: given the number of images of this process, gives a function to call with the number done.
        tables: what operations cost.
        unfinished: where batches are kept, and may be already.

    Returns:
        The six logs; and the sections ``snn``, ``simulation``, ``noise``, ``layers``, ``activity``, ``energy``,
        ``latency`` and ``neurobench`` of the metrics (docs/metrics.md).
    """
    runs = [
        simulate_together(
            graph,
            add_noise(test, noise, seed),
            settings.steps,
            engine=settings.engine,
            batch_size=settings.batch_size,
            propagation=settings.propagation,
            encoder_drop=noise.encoder_drop,
            seed=seed,
            device=device,
            follow=follow,
            unfinished=unfinished,
        )
        for seed in seeds
    ]
    return summarise_runs(graph, runs, test, settings, noise, seeds=seeds, device=device, tables=tables)


def summarise_runs(
    graph: SpikingGraph,
    runs: Sequence[Tally],
    test: Images,
    settings: SimulateSection,
    noise: NoiseSection,
    *,
    seeds: Sequence[int],
    device: str,
    tables: Sequence[EnergyTable] = TABLES,
) -> tuple[RunLogs, dict[str, Any]]:
    """The logs and sections of :func:`measure_simulation`, of simulations that have been run: one for each seed."""
    logs = collect_logs(graph, runs, settings.batch_size, Counting(settings.sops, settings.count_encoder))
    snn = {**summarise_logs(logs), **summarise_seeds(runs), "images": runs[0].total}
    if graph.is_rate_coded:  # rates never settle; steps that found whom to silence are part of the latency
        snn.update(settled=None, tau=graph.tau)
    sections = {
        "snn": snn,
        "simulation": describe_simulation(graph, settings),
        "noise": describe_noise(noise, seeds),
        "layers": summarise_layers(graph, runs),
        "activity": summarise_activity(graph, runs),
        "energy": summarise_energy(graph, runs, tables),
        "latency": summarise_latency(graph, runs),
        "neurobench": summarise_neurobench(graph, add_noise(test, noise, seeds[0]), settings, noise, seeds[0], device),
    }
    return logs, sections
