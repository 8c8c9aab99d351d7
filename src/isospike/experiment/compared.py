"""The networks that methods are compared on: of a recipe's run, of a run of one's own, or of a file of one's own."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor

from isospike import __version__
from isospike.conversion import METHODS
from isospike.data import ImageSet, crop_centre, hold_images
from isospike.experiment.comparison import Choice, Comparison, Scope, compare, write_comparison
from isospike.experiment.comparison_table import read_table
from isospike.experiment.own_data import draw_images, load_own_data
from isospike.experiment.own_network import capture_own
from isospike.experiment.own_run import OwnRun, prepare_own
from isospike.experiment.own_settings import Calibration, OwnNetwork, read_energy, read_own_network
from isospike.experiment.preparation import Preparation
from isospike.experiment.provenance import read_versions
from isospike.experiment.run_folder import RunFolder
from isospike.experiment.sections import list_tables
from isospike.experiment.sharing import Advance
from isospike.experiment.stages import Options, choose_training_images
from isospike.graph import SpikingGraph, load_graph
from isospike.metrics import TABLES, EnergyTable
from isospike.networks import capture

Follow = Callable[[str, int], Advance]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network that methods are compared on.

    Attributes:
        preparation: what each method is given of it.
        test: images and labels.
        seed: of what is drawn.
        facts: ``recipe``, ``dataset``, ``network``: where it came from.
        tables: what operations cost.
    """

    preparation: Preparation
    test: ImageSet
    seed: int
    facts: dict[str, Any]
    tables: tuple[EnergyTable, ...] = TABLES


def open_run(
    folder: RunFolder,
    options: Options,
    given: dict[str, Any],
    follow: Follow | None = None,
    settings: list[str] | None = None,
) -> Subject:
    """The network of a run, of a recipe or of one's own.

    Args:
        folder: of the run.
        options: data, device and limit.
        given: fields of :class:`Calibration` that are to differ from the run's own, or from the defaults.
        follow: as for :class:`Preparation`.
        settings: ``energy.KEY=VALUE``.

    Raises:
        FileError: there is no run.
        RecipeError: a setting that cannot be.
        DataError: no data, or of another shape.
    """
    if OwnRun.is_there(folder.path):
        own = read_own_network(folder)
        own = replace(own, calibration=replace(own.calibration, **given))
        captured = load_graph(folder.path / "captured.safetensors")
        return _open_captured(own, captured, options, follow, read_energy(settings or []))
    recipe = folder.read_recipe(settings)
    train, test = recipe.load_data(options.data, options.limit)

    def draw(number: int) -> Tensor:
        images = draw_images(train, number, recipe.seed).images
        return images if recipe.data.crop is None else crop_centre(images, recipe.data.crop)

    preparation = Preparation(
        capture(folder.read_model(recipe)),
        Calibration(**given),
        draw=draw,
        measure=lambda chosen: choose_training_images(recipe, train, chosen),
        place=recipe.name,
        device=options.device,
        advance=follow,
    )
    facts = {"recipe": recipe.name, "dataset": recipe.data.name, "network": recipe.network.label}
    return Subject(preparation, hold_images(test), recipe.seed, facts, list_tables(recipe.energy))


def open_own(
    own: OwnNetwork, options: Options, follow: Follow | None = None, settings: list[str] | None = None
) -> Subject:
    """A network of the user's own, from its file.

    Raises:
        FileError, ConversionError: it cannot be built, filled or captured.
        DataError: no data, or of another shape.
    """
    tables = read_energy(settings or [])  # what is wrong is said before the network is built
    return _open_captured(own, capture_own(own), options, follow, tables)


def _open_captured(
    own: OwnNetwork,
    captured: SpikingGraph,
    options: Options,
    follow: Follow | None,
    tables: tuple[EnergyTable, ...],
) -> Subject:
    classes = captured.shapes[captured.readout.name][0]
    train, test = load_own_data(own.dataset, options, own.in_shape, classes)
    preparation = prepare_own(own, captured, cache(lambda: train), options.device, follow)
    dataset = own.dataset or (options.data.name if options.data else None)
    facts = {"recipe": None, "dataset": dataset, "network": own.model}
    return Subject(preparation, hold_images(test), own.seed, facts, tables)


def measure_comparison(
    subject: Subject,
    choices: Sequence[Choice],
    scope: Scope,
    folder: Path,
    command: Sequence[str],
    follow: Follow | None = None,
) -> tuple[Comparison, list[Path]]:
    """Compare methods, and write the tables into ``folder`` after each of them, from the first that takes the network.

    Methods that the folder's ``comparison.json`` has already, of the same network, images and scope, stay there, and
    are not tried again: an interrupted command goes on, and methods can be added one by one.

    Returns:
        What was found, and the files.

    Raises:
        ConversionError: no method takes the network; ``--levels`` for one without ReLUs.
        FileError: the files cannot be read or written.
    """
    levelled = [choice.method for choice in choices if not METHODS[choice.method].needs_images]
    for method in levelled[:1]:
        subject.preparation.choose_ann(method)  # a calibration that fails is no method's fault
    key = _find_key(subject, scope)
    facts = {"command": list(command), **subject.facts, "versions": read_versions(), "key": key, "complete": False}
    paths: list[Path] = []

    before = _read_known(folder / "comparison.json", key)
    known = {} if before is None else {trial.method: trial for trial in before.trials if trial.refused is None}

    def write(found: Comparison) -> None:
        if all(trial.refused is not None for trial in found.trials):
            return  # a command that comes to nothing leaves the tables of another
        tried = {trial.method for trial in found.trials}
        others = [trial for method, trial in known.items() if method not in tried]
        levelled = before.levelled if found.levelled is None and before is not None else found.levelled
        whole = replace(found, trials=[*found.trials, *others], levelled=levelled)
        paths[:] = write_comparison(whole, folder, {**facts, "complete": len(found.trials) == len(choices)})

    found = compare(subject.preparation, subject.test, choices, scope, known=known, advance=follow, on_trial=write)
    return found, paths


def _find_key(subject: Subject, scope: Scope) -> str:
    """What trials must share to stand in one table: the network, the images, how they are tried."""
    digest = sha256(__version__.encode())
    preparation = subject.preparation
    levels = preparation.choose_levels("counting")
    settings = (scope.steps, scope.t_max, scope.seed, asdict(replace(preparation.calibration, levels=levels)))
    digest.update(repr(settings).encode())
    if scope.tables != TABLES:
        digest.update(repr(scope.tables).encode())
    for node in preparation.captured:
        digest.update(repr((type(node).__name__, node.name, node.inputs, sorted(node.settings.items()))).encode())
        for name, array in sorted(node.arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    for tensor in (subject.test.images, subject.test.labels):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _read_known(path: Path, key: str) -> Comparison | None:
    """What an earlier command with the same key found; methods that were refused are cheap to ask again."""
    if not path.is_file():
        return None
    found, content = read_table(path)
    return found if content.get("key") == key else None
