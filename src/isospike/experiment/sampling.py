"""What a report shows beside the metrics: one sample image in detail, and a confusion matrix."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isospike.data import ImageSet, hold_images
from isospike.errors import DataError, FileError
from isospike.experiment.measuring import add_noise, describe_noise, read_conditions
from isospike.experiment.own_data import load_own_data
from isospike.experiment.own_run import OwnRun
from isospike.experiment.own_settings import read_own_network
from isospike.experiment.run_folder import RunFolder
from isospike.experiment.sections import NoiseSection, SimulateSection
from isospike.experiment.stages import Options
from isospike.graph import SpikingGraph
from isospike.report.confusion import Confusion, count_confusions
from isospike.report.run_contents import digest_graph
from isospike.report.sample import Sample
from isospike.report.sample_tracing import trace_sample
from isospike.simulator import simulate

_EMBEDDED = "digits"
_FEW_CLASSES = 20


@dataclass(frozen=True, eq=False)
class Material:
    """A spiking network with its test images.

    Attributes:
        graph: the folder's.
        digest: SHA-256 of its file.
        test: images and labels.
        settings: of the simulation.
        noise: of the run; a sample is shown without.
        seed: of the noise.
        conditions: what the answers depend on, as the metrics say it: ``simulation`` and ``noise``.
    """

    graph: SpikingGraph
    digest: str
    test: ImageSet
    settings: SimulateSection
    noise: NoiseSection
    seed: int
    conditions: dict[str, dict[str, Any]]


def has_data(folder: RunFolder, options: Options) -> bool:
    """Whether the run's images are at hand without a download: a folder was given, or they come with scikit-learn."""
    recipe = (folder.path / "recipe.toml").is_file()
    return options.data is not None or (recipe and folder.read_recipe().data.name == _EMBEDDED)


def gather_material(folder: RunFolder, options: Options) -> Material:
    """The network of a run, and the images that it is tested on.

    Raises:
        FileError: no network in the folder.
        DataError: images that are missing or of another shape.
    """
    graph = folder.read_graph()
    metrics = folder.read_metrics() if (folder.path / "metrics.json").is_file() else {}
    if OwnRun.is_there(folder.path):
        own = read_own_network(folder)
        classes = graph.shapes[graph.readout.name][0]
        test = load_own_data(own.dataset, options, graph.input.shape, classes)[1]
        usual = SimulateSection(steps=int(metrics.get("steps") or graph.t_max or 1))
        return _compose(graph, folder, hold_images(test), usual, NoiseSection(), own.seed, metrics)
    if not (folder.path / "recipe.toml").is_file():
        raise FileError(f"{folder.path}: no recipe.toml, which says on what images the network is tested")
    recipe = folder.read_recipe()
    test = recipe.load_data(options.data, options.limit)[1]
    return _compose(graph, folder, hold_images(test), recipe.simulate, recipe.noise, recipe.seed, metrics)


def _compose(
    graph: SpikingGraph,
    folder: RunFolder,
    test: ImageSet,
    settings: SimulateSection,
    noise: NoiseSection,
    seed: int,
    metrics: dict[str, Any],
) -> Material:
    """What the metrics were measured with, where they say it; a recipe may have gone on since."""
    settings, noise, seeds = read_conditions(folder.path, metrics, settings, noise, seed)
    conditions = {
        "simulation": settings.model_dump(include={"steps", "propagation"}),
        "noise": describe_noise(noise, seeds),
    }
    return Material(graph, digest_graph(folder.path) or "", test, settings, noise, seeds[0], conditions)


def sample_image(material: Material, place: int, command: str) -> Sample:
    """One test image through the network, step by step, without noise.

    Raises:
        DataError: there is no such image.
    """
    if not 0 <= place < len(material.test):
        raise DataError(f"--image: expected 0 to {len(material.test) - 1}, the test images, got {place}")
    return trace_sample(
        material.graph,
        material.test.images[place],
        int(material.test.labels[place]),
        steps=material.settings.steps,
        place=place,
        command=command,
        digest=material.digest,
        propagation=material.settings.propagation,
        conditions={"simulation": material.conditions["simulation"]},
    )


def measure_confusion(material: Material, command: str, on_batch: Callable[[int], None] | None = None) -> Confusion:
    """Which class is taken for which, over all test images, with the noise of the run and its first seed.

    Matrices are kept for every step where there are few classes, else for the last.
    """
    settings, test = material.settings, hold_images(add_noise(material.test, material.noise, material.seed))
    run = simulate(
        material.graph,
        test.images,
        settings.steps,
        engine=settings.engine,
        batch_size=settings.batch_size,
        propagation=settings.propagation,
        encoder_drop=material.noise.encoder_drop,
        seed=material.seed,
        on_batch=on_batch,
    )
    classes = material.graph.shapes[material.graph.readout.name][0]
    steps = range(settings.steps) if classes <= _FEW_CLASSES else range(settings.steps - 1, settings.steps)
    counts = count_confusions(run.predictions[list(steps)], test.labels, classes).tolist()
    return Confusion(
        command,
        material.digest,
        len(test),
        tuple(step + 1 for step in steps),
        tuple(tuple(tuple(row) for row in matrix) for matrix in counts),
        material.conditions,
    )
