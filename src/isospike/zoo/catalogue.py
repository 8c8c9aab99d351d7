"""What is in the zoo, and where: a folder for each network."""

import difflib
import tomllib
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from isospike.errors import FileError
from isospike.files import read_bytes, read_json
from isospike.graph import SpikingGraph, load_graph

FOLDER = Path(__file__).parent / "networks"
GRAPH, RECIPE, METRICS = "snn.safetensors", "recipe.toml", "metrics.json"


@dataclass(frozen=True)
class Entry:
    """One network of the zoo: ``snn.safetensors``, ``recipe.toml`` and ``metrics.json`` in ``folder``.

    The metrics are those of the run that made it, with a section ``zoo``: ``bytes`` and ``sha256`` of the graph's file,
    ``step`` (the number of steps whose accuracy is shown), ``source`` and ``licence``, ``rounded`` (what float weights
    were rounded to, or null), and ``answers`` (digests of what the network answered; see
    :class:`isospike.zoo.running.Answers`).
    """

    name: str
    folder: Path

    @property
    def graph_path(self) -> Path:
        """Where the spiking graph is."""
        return self.folder / GRAPH

    @property
    def recipe_path(self) -> Path:
        """Where the recipe is."""
        return self.folder / RECIPE

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The metrics.

        Raises:
            FileError: they are not there or damaged.
        """
        path = self.folder / METRICS
        metrics = read_json(path)
        if not isinstance(metrics.get("zoo"), dict):
            raise FileError(f"{path}: the section 'zoo' is missing: add the network with benchmarks/zoo.py")
        return metrics

    def load(self) -> SpikingGraph:
        """The spiking graph, after a look whether the file is the recorded one.

        Raises:
            FileError: the file is not there, or another one than the metrics speak of.
            GraphError: it holds no graph.
        """
        found, recorded = sha256(read_bytes(self.graph_path)).hexdigest(), self.metrics["zoo"]["sha256"]
        if found != recorded:
            raise FileError(
                f"{self.graph_path}: expected the file of SHA-256 {recorded[:16]}, got {found[:16]}: reinstall isospike"
            )
        return load_graph(self.graph_path)

    def describe(self) -> dict[str, Any]:
        """A row of the list: plain values, for tables and JSON; accuracies are fractions, ``step`` is T."""
        metrics, zoo = self.metrics, self.metrics["zoo"]
        return {
            "name": self.name,
            "data": metrics["dataset"],
            "method": metrics["method"],
            "network": metrics["network"],
            "ann_accuracy": metrics["ann"]["accuracy"],
            "snn_accuracy": metrics["snn"]["accuracy"][zoo["step"] - 1],
            "step": zoo["step"],
            "bytes": zoo["bytes"],
            "weights": self._name_weights(),
            "source": zoo["source"],
            "licence": zoo["licence"],
            "path": str(self.graph_path),
        }

    def _name_weights(self) -> str:
        quantise = tomllib.loads(read_bytes(self.recipe_path).decode())["quantise"]
        weights = quantise["weights"]
        ends = quantise["ends"]
        return str(weights) if weights in ("float", ends) else f"{weights}, {ends} ends"


def names() -> list[str]:
    """The names of the networks, in alphabetical order."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{GRAPH}"))


def find(name: str) -> Entry:
    """The network called ``name``.

    Raises:
        FileError: there is none; the message has the nearest names.
    """
    known = names()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"there are {', '.join(known) or 'none yet'}"
        raise FileError(f"zoo: expected the name of a network, got {name!r}; {hint} ('isospike zoo list' shows all)")
    return Entry(name, FOLDER / name)


def load(name: str) -> SpikingGraph:
    """Load the spiking graph called ``name``: ready for :func:`isospike.simulate`.

    Raises:
        FileError: there is none of this name, or its file is damaged.
    """
    return find(name).load()
