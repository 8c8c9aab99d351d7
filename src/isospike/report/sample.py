"""``sample.json``: who fired when for one image, and how potentials and thresholds of some neurons moved."""

import base64
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from isospike.errors import FileError
from isospike.files import read_json, write_json
from isospike.report.numbers import read_conditions, read_finite

_FILE = "sample.json"


@dataclass(frozen=True)
class SpikeTrain:
    """The spikes of one neuron: at each step how many, negative ones below 0.

    Attributes:
        neuron: its place in the layer: (channel, row, column), or (feature,).
        spikes: one entry for each step.
    """

    neuron: tuple[int, ...]
    spikes: tuple[int, ...]


@dataclass(frozen=True)
class MembraneTrace:
    """One neuron over time; one entry for each step in every list.

    Attributes:
        neuron: its place in the layer.
        membrane: V after the step's current has come in (of integrate-and-fire neurons: after their reset too).
        count: positive minus negative spikes, after the step.
        rise: the threshold that V met in this step: at or above it the neuron fires +1. None where there is no higher
            level.
        fall: below this it takes a spike back, -1; None where it has none to take back.
    """

    neuron: tuple[int, ...]
    membrane: tuple[float, ...]
    count: tuple[int, ...]
    rise: tuple[float | None, ...]
    fall: tuple[float | None, ...]


@dataclass(frozen=True)
class LayerTrace:
    """The neurons of one layer.

    Attributes:
        name: of the layer of neurons.
        neurons: how many there are.
        fired: how many fired at all.
        spikes: |spikes| of all, at each step.
        raster: those that fired most.
        traces: the one that fired most, one that took spikes back, and one of middling activity, as far as there are.
    """

    name: str
    neurons: int
    fired: int
    spikes: tuple[int, ...]
    raster: tuple[SpikeTrain, ...]
    traces: tuple[MembraneTrace, ...]


@dataclass(frozen=True)
class Sample:
    """What a network did with one image.

    Attributes:
        command: that made this.
        graph: SHA-256 of the file of the graph, in hexadecimal.
        image: its place among the test images.
        label: its class.
        predictions: the class with the largest logit, after each step.
        settled: the step from which every neuron agrees with its membrane; None where none, or no such claim.
        tau: steps before those that count.
        picture: the image as PNG, in base64.
        layers: from the encoder to the last hidden layer.
        conditions: what else it depends on: steps and propagation (``simulation``).
    """

    command: str
    graph: str
    image: int
    label: int
    predictions: tuple[int, ...]
    settled: int | None
    tau: int
    picture: str
    layers: tuple[LayerTrace, ...] = ()
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.predictions)


def write_sample(sample: Sample, folder: Path) -> Path:
    """Write ``sample.json`` into a run folder; gives its path."""
    write_json(folder / _FILE, asdict(sample))
    return folder / _FILE


def read_sample(folder: Path) -> Sample | None:
    """The sample that a run folder holds, if any.

    Raises:
        FileError: a file that is no such trace.
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        if not content["predictions"]:
            raise ValueError("no predictions, expected one for each step")
        layers = tuple(_read_layer(layer, len(content["predictions"])) for layer in content["layers"])
        return Sample(
            command=str(content["command"]),
            graph=str(content["graph"]),
            image=int(content["image"]),
            label=int(content["label"]),
            predictions=_read_whole(content["predictions"]),
            settled=None if content["settled"] is None else int(content["settled"]),
            tau=int(content["tau"]),
            picture=_check_picture(content["picture"]),
            layers=layers,
            conditions=read_conditions(content),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FileError(
            f"{path}: not the trace of a sample ({type(error).__name__}: {error}); delete it, and 'isospike report' "
            "writes it anew"
        ) from error


def _check_picture(text: Any) -> str:
    content = base64.b64decode(str(text), validate=True)
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("the picture is no PNG")
    return base64.b64encode(content).decode()


def _read_layer(layer: dict[str, Any], steps: int) -> LayerTrace:
    def check(values: Any) -> Any:
        if len(values) != steps:
            raise ValueError(f"{layer['name']}: {len(values)} entries, expected one for each of {steps} steps")
        return values

    raster = tuple(
        SpikeTrain(_read_whole(train["neuron"]), _read_whole(check(train["spikes"]))) for train in layer["raster"]
    )
    traces = tuple(
        MembraneTrace(
            _read_whole(trace["neuron"]),
            tuple(read_finite(value) for value in check(trace["membrane"])),
            _read_whole(check(trace["count"])),
            _read_ends(check(trace["rise"])),
            _read_ends(check(trace["fall"])),
        )
        for trace in layer["traces"]
    )
    spikes = _read_whole(check(layer["spikes"]))
    return LayerTrace(str(layer["name"]), int(layer["neurons"]), int(layer["fired"]), spikes, raster, traces)


def _read_whole(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _read_ends(values: Any) -> tuple[float | None, ...]:
    return tuple(None if value is None else read_finite(value) for value in values)
