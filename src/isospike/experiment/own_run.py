"""The stages of a network of the user's own: capture, calibrate and convert it; then evaluate, simulate, verify."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from torch import Tensor, nn

from isospike.conversion import METHODS, QuantisedAnn, convert
from isospike.data import Images
from isospike.errors import ConversionError, FileError
from isospike.experiment.costs import summarise_proof_latency
from isospike.experiment.measuring import add_noise, describe_noise, measure_simulation
from isospike.experiment.own_data import draw_images, load_own_data
from isospike.experiment.own_network import capture_own
from isospike.experiment.own_settings import (
    OwnNetwork,
    check_options,
    read_energy,
    read_later_sections,
    read_own_network,
)
from isospike.experiment.precautions import forget_own_conversion
from isospike.experiment.preparation import Preparation
from isospike.experiment.run_folder import RunFolder
from isospike.experiment.sections import NoiseSection, SimulateSection
from isospike.experiment.sharing import Advance, classify_together, verify_together
from isospike.experiment.stages import Options
from isospike.experiment.unfinished import Unfinished
from isospike.graph import Rectifier, SpikingGraph, load_graph, save_graph
from isospike.metrics import count_macs, write_logs
from isospike.networks import CapturedNetwork
from isospike.training import check_device, evaluate, is_main_process, wait_for_others

_DRAWN = 1024
"""Images that are measured, where the method does not say how many."""


class OwnRun:
    """A network of the user's own in a folder: ``captured.safetensors`` as it came, ``ann.safetensors`` with levels,
    ``snn.safetensors``, and ``metrics.json``, whose section ``conversion`` says what was done.

    Args:
        folder: of these files.
        options: data, device and limit.
        advance: given a stage and its total, gives a function to call with the number done.
        settings: ``simulate.KEY=VALUE``, ``noise.KEY=VALUE`` and ``energy.KEY=VALUE``, as for a recipe.
    """

    def __init__(
        self,
        folder: RunFolder,
        options: Options,
        advance: Callable[[str, int], Advance] | None = None,
        settings: list[str] | None = None,
    ) -> None:
        check_device(options.device)
        if is_main_process():
            folder.check()
        self.folder, self.options, self.settings = folder, options, settings or []
        self.advance = advance or (lambda stage, total: lambda done: None)  # noqa: ARG005

    @staticmethod
    def is_there(folder: Path) -> bool:
        """Whether a folder holds such a network."""
        return (folder / "ann.safetensors").is_file() and not (folder / "recipe.toml").is_file()

    def convert(self, own: OwnNetwork) -> dict[str, Any]:
        """Capture, calibrate where levels are missing, convert, and write what came of each.

        Raises:
            FileError: the folder holds the run of a recipe.
            ConversionError: a network, or options, that the method cannot convert.
            DataError: no images where some must be measured.
        """
        started = time.perf_counter()
        if (self.folder.path / "recipe.toml").exists():
            raise FileError(f"{self.folder.path}: it holds the run of a recipe: choose another --out")
        own = replace(own, options=check_options(own.method, own.options, own.seed))
        captured = capture_own(own)
        load_train = cache(lambda: _load(own, captured, self.options)[0])
        preparation = prepare_own(own, captured, load_train, self.options.device, self.advance)
        levels, ann = preparation.choose_levels(own.method), preparation.choose_ann(own.method)
        graph = convert(ann, own.method, images=preparation.choose_images(own.method, own.options), **own.options)
        calibration = None if levels is None else asdict(replace(own.calibration, levels=levels))
        section = {**asdict(own), "weights": None if own.weights is None else str(own.weights)}
        facts = {"steps": graph.t_max}
        sections: dict[str, Any] = {"ann": None, "conversion": {**section, "calibration": calibration}}
        if is_main_process():
            forget_own_conversion(self.folder, sections["conversion"])
            save_graph(captured, self.folder.path / "captured.safetensors")
            save_graph(ann, self.folder.path / "ann.safetensors")
        metrics = self._note("convert", started, own, facts, sections)
        if is_main_process():  # last: whatever graph is there, the metrics say how it was converted
            self.folder.write_graph(graph)
        wait_for_others()
        return metrics

    def evaluate(self) -> dict[str, Any]:
        """Accuracy of the exact quantised ANN, in float32, and of the network as it came."""
        started = time.perf_counter()
        own, ann, test = self._open()
        settings, noise = read_later_sections(self.settings, 1)
        captured = load_graph(self.folder.path / "captured.safetensors")
        device = self.options.device
        seeds = _list_seeds(own, noise) if noise.input else [own.seed]
        noisy = [add_noise(test, noise, seed) for seed in seeds]
        floats, came = (
            [evaluate(_Captured(network, device), images, device=device) for images in noisy]
            for network in (ann, captured)
        )
        exact = floats
        if not any(isinstance(node, Rectifier) for node in ann):
            follow = partial(self.advance, "evaluate")
            reference, size = QuantisedAnn(ann, device), settings.batch_size
            exact = [
                classify_together(reference, images, batch_size=size, device=device, follow=follow) for images in noisy
            ]
        section: dict[str, Any] = {
            "accuracy": fmean(exact),
            "accuracy_float32": fmean(floats),
            "macs_per_image": count_macs(ann, classifier=settings.sops == "negative-spike"),
            "images": len(test),
            "accuracy_as_it_came": fmean(came),
        }
        if len(seeds) > 1:
            section["accuracy_spread"] = stdev(exact)
        return self._note("evaluate", started, own, {}, {"ann": section})

    def simulate(self) -> dict[str, Any]:
        """Run the spiking network over the test images and note accuracy, spikes, SOPs and settling per step."""
        started = time.perf_counter()
        own, _, test = self._open()
        graph = self.folder.read_graph()
        settings, noise = read_later_sections(self.settings, graph.t_max or 1)
        unfinished = self._find_unfinished("simulate", own, settings, noise)
        logs, sections = measure_simulation(
            graph,
            test,
            settings,
            noise,
            seeds=_list_seeds(own, noise),
            device=self.options.device,
            follow=partial(self.advance, "simulate"),
            tables=read_energy(self.settings),
            unfinished=unfinished,
        )
        if is_main_process():
            write_logs(logs, self.folder.logs)
        return self._note("simulate", started, own, {"steps": settings.steps}, sections, unfinished)

    def verify(self) -> dict[str, Any]:
        """Prove the stored graph equal to the stored quantised ANN on every test image.

        Raises:
            ConversionError: a method that approximates.
        """
        started = time.perf_counter()
        own, ann, test = self._open()
        if not METHODS[own.method].lossless:
            raise ConversionError(
                f"{own.method}: it approximates, so there is nothing to prove equal: 'isospike simulate' shows how "
                "close it comes; 'counting' is lossless"
            )
        graph = self.folder.read_graph()
        settings, noise = read_later_sections(self.settings, graph.t_max or 1)
        if noise.encoder_drop > 0:
            return self._note("verify", started, own, {}, {"verify": None})
        unfinished = self._find_unfinished("verify", own, settings, noise)
        findings, whole = verify_together(
            graph,
            ann,
            add_noise(test, noise, own.seed),
            own.method,
            **{"t_max": graph.t_max, **own.options},
            engine=settings.engine,
            batch_size=settings.batch_size,
            device=self.options.device,
            follow=partial(self.advance, "verify"),
            unfinished=unfinished,
        )
        section = {**asdict(findings), "latency": summarise_proof_latency(graph, whole)}
        return self._note("verify", started, own, {}, {"verify": section}, unfinished)

    def _find_unfinished(
        self, stage: str, own: OwnNetwork, settings: SimulateSection, noise: NoiseSection
    ) -> Unfinished:
        """What came of a stage before it was interrupted."""
        facts = {"own": asdict(own), "device": self.options.device}
        facts |= {"simulate": settings.model_dump(), "noise": noise.model_dump()}
        return Unfinished(self.folder.path, stage, facts, ("snn.safetensors", "ann.safetensors"))

    def _open(self) -> tuple[OwnNetwork, SpikingGraph, Images]:
        """What was converted, with its levels, and the test images."""
        own = read_own_network(self.folder)
        ann = load_graph(self.folder.path / "ann.safetensors")
        return own, ann, _load(own, ann, self.options)[1]

    def _note(
        self,
        stage: str,
        started: float,
        own: OwnNetwork,
        more: dict[str, Any],
        sections: dict[str, Any],
        unfinished: Unfinished | None = None,
    ) -> dict[str, Any]:
        """Write a stage's findings into the metrics, and forget what was kept; every process waits for it."""
        seconds = time.perf_counter() - started + (unfinished.seconds if unfinished else 0.0)
        if stage == "verify":
            noise = read_later_sections(self.settings, 1)[1]
            sections = {"noise": describe_noise(noise, _list_seeds(own, noise)), **sections}
        facts = {
            "recipe": None,
            "dataset": own.dataset or (self.options.data.name if self.options.data else None),
            "network": own.model,
            "method": own.method,
            "seed": own.seed,
            **more,
        }
        if is_main_process():
            self.folder.merge_metrics(facts, stage, seconds, sections)
        wait_for_others()
        if unfinished is not None:
            unfinished.clear()
        return self.folder.read_metrics()


def _list_seeds(own: OwnNetwork, noise: NoiseSection) -> list[int]:
    """The seeds of the noise."""
    return [own.seed + number for number in range(noise.seeds)]


class _Captured(nn.Module):
    """A captured graph where a module is expected."""

    def __init__(self, ann: SpikingGraph, device: str) -> None:
        super().__init__()
        self.network = CapturedNetwork(ann, device=device)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes)."""
        return self.network.evaluate(images)


def prepare_own(
    own: OwnNetwork,
    captured: SpikingGraph,
    load_train: Callable[[], Images],
    device: str = "cpu",
    advance: Callable[[str, int], Advance] | None = None,
) -> Preparation:
    """What methods are given of a network of the user's own: of its training images, drawn by its seed.

    Args:
        own: what is known of the network.
        captured: the network as it came.
        load_train: gives the training images; called when some are needed.
        device: "cpu" or "cuda".
        advance: given a stage and its total, gives a function to call with the number done.
    """

    def draw(number: int) -> Tensor:
        return draw_images(load_train(), number, own.seed).images

    return Preparation(
        captured,
        own.calibration,
        draw=draw,
        measure=lambda chosen: draw(chosen.get("norm", _DRAWN)),
        place=own.model,
        device=device,
        advance=advance,
    )


def _load(own: OwnNetwork, graph: SpikingGraph, options: Options) -> tuple[Images, Images]:
    return load_own_data(own.dataset, options, own.in_shape, graph.shapes[graph.readout.name][0])
