"""The stages of a run: train, evaluate, convert, simulate, verify. Each reads and writes the run folder."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from isospike.conversion import METHODS, Loss, QuantisedAnn, convert
from isospike.data import Images, ImageStream, crop_centre
from isospike.errors import ConversionError, RecipeError
from isospike.experiment.costs import summarise_proof_latency
from isospike.experiment.initial import begin, note
from isospike.experiment.measuring import add_noise, describe_noise, measure_simulation, summarise_runs
from isospike.experiment.precautions import check_conversion, check_training, forget_conversion
from isospike.experiment.provenance import describe_machine
from isospike.experiment.recipe import Recipe, dump_recipe
from isospike.experiment.run_folder import RunFolder
from isospike.experiment.sections import list_tables
from isospike.experiment.sharing import classify_together, verify_together
from isospike.experiment.sharing_loss import measure_loss_together
from isospike.experiment.tallies import Tally, cut_tally
from isospike.experiment.unfinished import Unfinished
from isospike.graph import SpikingGraph
from isospike.metrics import RunLogs, count_macs, write_logs
from isospike.networks import Network, capture
from isospike.training import EpochReport, check_device, evaluate, is_main_process, train, wait_for_others

Advance = Callable[[int], None]
_DRAWN = 1024
"""Images of a stream that are measured, where the method does not say how many."""


@dataclass(frozen=True)
class Options:
    """What a command line says beside the recipe.

    Attributes:
        data: folder of the dataset; None for the hub.
        device: "cpu" or "cuda".
        limit: number of test images; None for all.
    """

    data: Path | None = None
    device: str = "cpu"
    limit: int | None = None


class Experiment:
    """One recipe in one run folder.

    Args:
        recipe: resolved.
        folder: the run folder.
        options: device, data and limit.
        advance: given a stage and its total, gives a function to call with the number done; for progress bars.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        options: Options,
        advance: Callable[[str, int], Advance] | None = None,
    ) -> None:
        check_device(options.device)
        if is_main_process():
            folder.check()
        self.recipe, self.folder, self.options = recipe, folder, options
        self.advance = advance or (lambda stage, total: lambda done: None)  # noqa: ARG005
        self.images: tuple[Images, Images] | None = None
        self.training_begun = False
        self.initial: dict[str, str] | None = None

    def train(self, on_epoch: Callable[[EpochReport], None] | None = None) -> None:
        """Train the network, or go on where an interrupted training stopped; write recipe and model."""
        recipe, started = self.recipe, time.perf_counter()
        check_training(self.folder, recipe)
        train_images, _ = self._load()
        torch.manual_seed(recipe.seed)
        model = recipe.build()
        if recipe.network.initial is not None:
            draw = partial(choose_training_images, recipe, train_images, {})
            self.initial = begin(model, recipe.network.initial, self.folder, draw)
        reports = train(
            model,
            train_images,
            recipe.train_config,
            augmentation=recipe.augment,
            teacher=self._read_teacher(),
            folder=self.folder.training,
            device=self.options.device,
            on_epoch=on_epoch,
            on_step=self._begin_training,
        )
        seconds = sum(report.seconds for report in reports)
        if is_main_process():
            forget_conversion(self.folder, recipe)
            self.folder.write_recipe(recipe)
            self.folder.write_model(model)
        section: dict[str, Any] = {
            "epochs": len(reports),
            "loss": reports[-1].loss,
            "seconds": round(seconds, 2),
            "machine": describe_machine(self.options.device),
        }
        if self.initial is not None:
            section["initial"] = self.initial
        self._note("train", min(started, time.perf_counter() - seconds), {"training": section})

    def evaluate(self) -> dict[str, Any]:
        """Accuracy of the network: the exact quantised ANN's, and PyTorch's in float32 beside it."""
        started = time.perf_counter()
        check_conversion(self.folder, self.recipe)
        test = self._test_images()
        model = self._read_model()
        seeds = self.recipe.noise_seeds if self.recipe.noise.input else [self.recipe.seed]
        noisy = [self._add_noise(test, seed) for seed in seeds]
        floats = [evaluate(model, images, device=self.options.device) for images in noisy]
        exact = floats
        section: dict[str, Any] = {
            "accuracy": None,
            "accuracy_float32": fmean(floats),
            "macs_per_image": None,
            "images": len(test),
        }
        if self.recipe.is_convertible:
            ann = capture(model)
            if self.recipe.has_levels:
                reference = QuantisedAnn(ann, self.options.device)
                exact = [self._measure_exactly(reference, images) for images in noisy]
            classifier = self.recipe.simulate.sops == "negative-spike"
            section["macs_per_image"] = count_macs(ann, classifier)
        section["accuracy"] = fmean(exact)
        if len(seeds) > 1:
            section["accuracy_spread"] = stdev(exact)
        return self._note("evaluate", started, {"ann": section})

    def _measure_exactly(self, reference: QuantisedAnn, test: Images) -> float:
        """Accuracy of the exact quantised ANN."""
        return classify_together(
            reference,
            test,
            batch_size=self.recipe.simulate.batch_size,
            device=self.options.device,
            follow=partial(self.advance, "evaluate"),
        )

    def convert(self) -> None:
        """Convert the trained network and write the spiking graph."""
        started = time.perf_counter()
        self._require_levels()
        recipe = self.recipe
        graph = convert(
            self._read_model(), recipe.convert.method, images=self._calibration_images(), **recipe.convert_options
        )
        if is_main_process():
            forget_conversion(self.folder, recipe)
            self.folder.write_recipe(recipe)
            self.folder.write_graph(graph)
        wait_for_others()
        self._note("convert", started, {})

    def simulate(self) -> dict[str, Any]:
        """Run the spiking network over the test images and note accuracy, spikes, SOPs and settling per step."""
        started = time.perf_counter()
        self._require_levels()
        check_conversion(self.folder, self.recipe)
        test, graph = self._test_images(), self.folder.read_graph()
        unfinished = self._find_unfinished("simulate")
        logs, sections = measure_simulation(
            graph,
            test,
            self.recipe.simulate,
            self.recipe.noise,
            seeds=self.recipe.noise_seeds,
            device=self.options.device,
            follow=partial(self.advance, "simulate"),
            tables=list_tables(self.recipe.energy),
            unfinished=unfinished,
        )
        return self._note_simulation(started, logs, sections, unfinished)

    def simulate_and_verify(self) -> dict[str, Any]:
        """:meth:`simulate` and :meth:`verify`, in one pass where what is proved is the simulation that is measured:
        a lossless method, spikes that pass within the step and none of them dropped, one noise at most.

        The time of the pass is that of ``verify``.
        """
        started, recipe = time.perf_counter(), self.recipe
        self._require_levels()
        check_conversion(self.folder, recipe)
        graph = self.folder.read_graph()
        same = METHODS[recipe.convert.method].lossless and recipe.simulate.propagation == "within-step"
        same &= recipe.noise.encoder_drop == 0 and len(recipe.noise_seeds) == 1
        if not same or recipe.simulate.steps > (graph.t_max or 0):
            self.simulate()
            return self.verify()
        unfinished = self._find_unfinished("verify")
        section, whole = self._prove(graph, unfinished)
        proved = time.perf_counter()
        logs, sections = summarise_runs(
            graph,
            [cut_tally(whole, recipe.simulate.steps)],
            self._test_images(),
            recipe.simulate,
            recipe.noise,
            seeds=recipe.noise_seeds,
            device=self.options.device,
            tables=list_tables(recipe.energy),
        )
        self._note_simulation(proved, logs, sections)
        started += time.perf_counter() - proved
        return self._note("verify", started, {"verify": section, "loss": None}, unfinished)

    def _note_simulation(
        self, started: float, logs: RunLogs, sections: dict[str, Any], unfinished: Unfinished | None = None
    ) -> dict[str, Any]:
        if is_main_process():
            write_logs(logs, self.folder.logs)
        return self._note("simulate", started, sections, unfinished)

    def verify(self) -> dict[str, Any]:
        """Prove the stored graph equal to the stored model on every test image.

        Where spikes are dropped there is nothing to verify, and the section is null. For a rate-coded method it is null
        too, and the section ``loss`` says how far from its ANN the network is.
        """
        started = time.perf_counter()
        self._require_levels()
        if not METHODS[self.recipe.convert.method].lossless:
            return self._note("verify", started, {"verify": None, "loss": asdict(self._measure_loss())})
        if self.recipe.noise.encoder_drop > 0:
            return self._note("verify", started, {"verify": None})
        unfinished = self._find_unfinished("verify")
        section, _ = self._prove(self.folder.read_graph(), unfinished)
        return self._note("verify", started, {"verify": section, "loss": None}, unfinished)

    def _find_unfinished(self, stage: str) -> Unfinished:
        """What came of a stage before it was interrupted."""
        facts = {"recipe": dump_recipe(self.recipe), "device": self.options.device}
        return Unfinished(self.folder.path, stage, facts, ("snn.safetensors", "model.safetensors"))

    def _prove(self, graph: SpikingGraph, unfinished: Unfinished) -> tuple[dict[str, Any], Tally]:
        """The section ``verify``, and the tally of the simulations that were verified, all T_max steps."""
        findings, whole = verify_together(
            graph,
            self._read_model(),
            self._add_noise(self._test_images(), self.recipe.seed),
            self.recipe.convert.method,
            **self.recipe.convert_options,
            engine=self.recipe.simulate.engine,
            batch_size=self.recipe.simulate.batch_size,
            device=self.options.device,
            follow=partial(self.advance, "verify"),
            unfinished=unfinished,
        )
        return {**asdict(findings), "latency": summarise_proof_latency(graph, whole)}, whole

    def _measure_loss(self) -> Loss:
        """How far the stored rate-coded graph is from the stored model, on every test image."""
        settings = self.recipe.simulate
        return measure_loss_together(
            self.folder.read_graph(),
            self._read_model(),
            self._add_noise(self._test_images(), self.recipe.seed),
            self.recipe.convert.method,
            steps=settings.steps,
            batch_size=settings.batch_size,
            calibration=self._calibration_images(),
            propagation=settings.propagation,
            device=self.options.device,
            follow=partial(self.advance, "verify"),
            **self.recipe.convert_options,
        )

    def _calibration_images(self) -> Tensor | None:
        """The training images, as large as what enters the network, where the method measures activations on them."""
        if not METHODS[self.recipe.convert.method].needs_images:
            return None
        return choose_training_images(self.recipe, self._load()[0], self.recipe.convert_options)

    def _read_teacher(self) -> Network | None:
        """The trained network that this one learns from.

        Raises:
            RecipeError: it takes other images.
        """
        if self.recipe.network.teacher is None:
            return None
        folder = RunFolder(Path(self.recipe.network.teacher))
        recipe = folder.read_recipe()
        if recipe.in_shape != self.recipe.in_shape:
            raise RecipeError(
                f"network.teacher {folder.path}: takes images of {recipe.in_shape}, expected {self.recipe.in_shape}: "
                "take one that was trained on the same images"
            )
        return folder.read_model(recipe)

    def _begin_training(self, done: int, _steps: int) -> None:
        """With the first step, and not before it is known that there will be one, earlier results go."""
        if done == 1 and is_main_process() and not self.training_begun:
            self.training_begun = True
            self.folder.clear_results()
            self.folder.write_recipe(self.recipe)
            if self.initial is not None:
                note(self.folder, self.initial)

    def _load(self) -> tuple[Images, Images]:
        if self.images is None:
            self.images = self.recipe.load_data(self.options.data, self.options.limit)
        return self.images

    def _test_images(self) -> Images:
        return self._load()[1]

    def _add_noise(self, test: Images, seed: int) -> Images:
        return add_noise(test, self.recipe.noise, seed)

    def _read_model(self) -> Network:
        return self.folder.read_model(self.recipe)

    def _require_levels(self) -> None:
        if not self.recipe.is_convertible:
            raise ConversionError(
                "quantise.levels: a full-precision network (levels=none) has no spike counts to equal: train with "
                "quantise.levels=median or qcfs"
            )

    def _note(
        self, stage: str, started: float, sections: dict[str, Any], unfinished: Unfinished | None = None
    ) -> dict[str, Any]:
        """Write a stage's findings into the metrics, and forget what was kept; every process waits for it."""
        seconds = time.perf_counter() - started + (unfinished.seconds if unfinished else 0.0)
        if stage == "verify":
            sections = {"noise": describe_noise(self.recipe.noise, self.recipe.noise_seeds), **sections}
        if is_main_process():
            self.folder.write_recipe(self.recipe)  # with the settings of this stage, so that file and metrics agree
            self.folder.update_metrics(self.recipe, stage, seconds, sections)
        wait_for_others()
        if unfinished is not None:
            unfinished.clear()
        return self.folder.read_metrics()


def choose_training_images(recipe: Recipe, train: Images, options: dict[str, Any]) -> Tensor:
    """The training images, as large as what enters the network: all that are in memory; of a stream, as many as the
    method's options say, drawn by the recipe's seed."""
    if isinstance(train, ImageStream):
        images = train.draw(options.get("norm", _DRAWN), recipe.seed).images
    else:
        images = train.images
    return images if recipe.data.crop is None else crop_centre(images, recipe.data.crop)
