"""The run folder: what a run leaves on disk, each file whole."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isospike import __version__
from isospike.errors import FileError
from isospike.experiment.provenance import read_versions
from isospike.experiment.reading import change_recipe, read_recipe
from isospike.experiment.recipe import Recipe, dump_recipe
from isospike.experiment.toml_writer import format_toml
from isospike.experiment.unfinished import clear_unfinished
from isospike.files import read_json, read_tensors, write_json, write_tensors, write_text
from isospike.graph import SpikingGraph, load_graph, save_graph
from isospike.networks import Network

_FIRST_KEYS = ("recipe", "dataset", "network", "method", "steps", "seed", "versions", "seconds", "ann", "snn", "verify")

_MEASURED = ("snn", "simulation", "layers", "noise", "activity", "energy", "latency", "neurobench", "verify", "loss")
_TABLES = ("json", "csv", "md")
_STALE_AFTER = {"convert": (*_MEASURED, "c")}


@dataclass(frozen=True)
class RunFolder:
    """``recipe.toml``, ``model.safetensors``, ``snn.safetensors`` and ``metrics.json`` under ``path``."""

    path: Path

    @property
    def training(self) -> Path:
        """Where checkpoints of a training in progress are."""
        return self.path / "training"

    @property
    def logs(self) -> Path:
        """Where the six log files are."""
        return self.path / "logs"

    @property
    def figures(self) -> Path:
        """Where the figures are."""
        return self.path / "figures"

    def check(self) -> None:
        """Find out before hours of work whether what comes of them can be kept.

        Raises:
            FileError: the folder is a file or cannot be written, or its metrics are damaged.
        """
        missing = [place for place in (self.path, *self.path.parents) if not place.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
            with suppress(OSError):  # another command may have put something there meanwhile
                for place in missing:
                    place.rmdir()
        except OSError as error:
            raise FileError(
                f"--out {self.path}: cannot be written ({error.strerror or error}); expected a folder, or a place for "
                "one: choose another --out"
            ) from error
        metrics = self.path / "metrics.json"
        if metrics.exists():
            try:
                read_json(metrics)
            except FileError as error:
                raise FileError(f"{error}, or delete it") from error

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the resolved recipe."""
        text = format_toml(dump_recipe(recipe))
        write_text(self.path / "recipe.toml", f"# resolved by isospike {__version__}\n{text}")

    def read_recipe(self, settings: list[str] | None = None) -> Recipe:
        """The recipe of this run, with settings applied that a trained network can still take.

        Raises:
            RecipeError: a setting of another network or training.
            FileError: there is no run in this folder.
        """
        path = self.path / "recipe.toml"
        if not path.is_file():
            raise FileError(f"{path}: not found; start the run with 'isospike train RECIPE --out {self.path}'")
        recipe = read_recipe(path)
        return change_recipe(recipe, settings) if settings else recipe

    def write_model(self, model: Network) -> None:
        """Write the state of the trained network."""
        state = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in model.state_dict().items()}
        write_tensors(self.path / "model.safetensors", state, {"network": model.notation})

    def read_model(self, recipe: Recipe) -> Network:
        """The trained network.

        Raises:
            FileError: no model, a damaged one, or one of another network.
        """
        path = self.path / "model.safetensors"
        if not path.is_file():
            raise FileError(f"{path}: not found; run 'isospike train {recipe.name} --out {self.path}' first")
        model = recipe.build()
        load_state(model, path)
        return model.eval()

    def write_graph(self, graph: SpikingGraph) -> None:
        """Write the spiking graph."""
        save_graph(graph, self.path / "snn.safetensors")

    def read_graph(self) -> SpikingGraph:
        """The spiking graph.

        Raises:
            FileError: there is none, or a damaged one.
        """
        path = self.path / "snn.safetensors"
        if not path.is_file():
            raise FileError(f"{path}: not found; run 'isospike convert --out {self.path}' first")
        return load_graph(path)

    def update_metrics(self, recipe: Recipe, stage: str, seconds: float, sections: dict[str, Any]) -> None:
        """Merge a stage's findings into ``metrics.json``."""
        facts = {
            "recipe": recipe.name,
            "dataset": recipe.data.name,
            "network": recipe.network.label,
            "method": recipe.convert.method,
            "steps": recipe.simulate.steps,
            "seed": recipe.seed,
        }
        self.merge_metrics(facts, stage, seconds, sections)

    def merge_metrics(self, facts: dict[str, Any], stage: str, seconds: float, sections: dict[str, Any]) -> None:
        """Merge a stage's findings, and ``facts`` about the whole run, into ``metrics.json``."""
        path = self.path / "metrics.json"
        metrics = read_json(path) if path.is_file() else {}
        stale: tuple[str, ...] = _STALE_AFTER.get(stage, ())
        if stage == "verify" and "noise" in metrics:  # a simulation has the first word
            sections = {key: value for key, value in sections.items() if key != "noise"}
        if stage == "simulate" and "noise" in metrics and metrics["noise"] != sections.get("noise"):
            stale = ("verify", "loss")
        metrics = _drop(metrics, stale)
        by_stage = {**metrics.get("stage_seconds", {}), stage: round(seconds, 2)}
        metrics.update(
            facts,
            versions=read_versions(),
            seconds=round(sum(by_stage.values()), 2),
            stage_seconds=by_stage,
            **sections,
        )
        write_json(path, _order(metrics))

    def read_metrics(self) -> dict[str, Any]:
        """The metrics so far."""
        return read_json(self.path / "metrics.json")

    def clear_results(self) -> None:
        """Remove what an earlier training left, so that no result outlives its model."""
        for name in ("model.safetensors", "metrics.json", *(f"comparison/comparison.{kind}" for kind in _TABLES)):
            (self.path / name).unlink(missing_ok=True)
        self.clear_conversion()

    def clear_conversion(self) -> None:
        """Remove what an earlier conversion left, so that no result outlives its spiking network."""
        path = self.path / "metrics.json"
        if path.is_file():
            write_json(path, _order(_drop(read_json(path), _STALE_AFTER["convert"])))
        for name in ("snn.safetensors", "sample.json", "confusion.json", "robustness.json", "robustness.csv"):
            (self.path / name).unlink(missing_ok=True)
        for stale in (*self.logs.glob("*.txt"), *self.figures.glob("*.svg"), *self.figures.glob("*.png")):
            stale.unlink()
        clear_unfinished(self.path)


def _drop(metrics: dict[str, Any], stale: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key not in stale}


def _order(metrics: dict[str, Any]) -> dict[str, Any]:
    """The keys that every reader looks for, first and in their order; null where there is nothing yet."""
    return {**dict.fromkeys(_FIRST_KEYS), **metrics}


def load_state(model: Network, path: Path) -> None:
    """Fill ``model`` from a safetensors file of its state.

    Raises:
        FileError: the file is damaged, or its tensors are not those of this network.
    """
    tensors, _ = read_tensors(path)
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            raise FileError(f"{path}: the tensor {name} is missing: a checkpoint of another network; train anew")
        if tensors[name].shape != tuple(tensor.shape):
            raise FileError(
                f"{path}: {name} has the shape {tensors[name].shape}, expected {tuple(tensor.shape)}: a checkpoint of "
                "another network; give its own recipe or train anew"
            )
        kind = str(tensor.dtype).removeprefix("torch.")
        if str(tensors[name].dtype) != kind:
            raise FileError(
                f"{path}: {name} is of {tensors[name].dtype}, expected {kind}: a file that isospike did not write so; "
                "convert it, or train anew"
            )
    extra = [name for name in tensors if name not in expected]
    if extra:
        raise FileError(f"{path}: unknown tensor {extra[0]}: a checkpoint of another network; train anew")
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in tensors.items()})
