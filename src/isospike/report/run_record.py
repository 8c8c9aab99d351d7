"""What the figures know of one run, read from its metrics or from its logs alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isospike.errors import FileError
from isospike.files import read_json
from isospike.metrics.logs import LOGS, RunLogs, read_logs
from isospike.report.numbers import read_finite

Steps = tuple[float, ...]


@dataclass(frozen=True)
class LayerRecord:
    """The spikes of one layer, as cumulative means per image after each time step.

    Attributes:
        name: of the layer.
        neurons: how many it has; None where that is not known.
        positive: positive spikes.
        negative: negative spikes, as positive numbers.
        encoding: whether pixels alone reach it.
    """

    name: str
    neurons: int | None
    positive: Steps
    negative: Steps
    encoding: bool = False


@dataclass(frozen=True)
class ProofRecord:
    """What ``isospike verify`` found.

    Attributes:
        images: how many were compared with the ANN, the unsettled ones included.
        neurons: counts of an image.
        mismatches: counts and logits that differ from the ANN's.
        unsettled: images that had not settled by T_max.
        settled_by: the step by which all others had.
        differing_tensors: stored tensors that are not those of a fresh conversion.
    """

    images: int
    neurons: int
    mismatches: int
    unsettled: int
    settled_by: int | None
    differing_tensors: tuple[str, ...]

    @property
    def fault(self) -> str:
        """What differs from the ANN, in a few words; empty where nothing does."""
        words = [f"{self.mismatches:,} mismatches"] if self.mismatches else []
        words += [f"stored tensors differ: {', '.join(self.differing_tensors)}"] if self.differing_tensors else []
        return "; ".join(words)


@dataclass(frozen=True)
class RunRecord:
    """One run. What cannot be known is None, or empty for ``layers``.

    Attributes:
        folder: where it was read.
        name: of the recipe, or else of the folder.
        steps: time steps.
        images: number of test images that were simulated.
        ann_accuracy: fraction of the images that the quantised ANN classifies right.
        macs: multiply-accumulates of one image through the ANN; None too where operations are counted in a unit that
            they cannot be compared in.
        accuracy: fraction of the images classified right after each step; the mean, with several noise seeds.
        accuracy_spread: its standard deviation over the seeds.
        seeds: number of noise seeds.
        spikes: cumulative |spikes| per image.
        sops: cumulative synaptic operations per image.
        settled: fraction of the images that have settled.
        counting: whose convention ``sops`` follows: "hidden", "scatter-gather" or "negative-spike".
        count_encoder: whether ``spikes`` are the encoder's too.
        tau: steps of a rate-coded network before those that count.
        proof: what verification found.
        agreement: fraction of the images on which a rate-coded network gives the ANN's class, after each step.
        layers: encoder first. Logs tell layers 2 to the last hidden one in sum only: then one entry without neurons.
    """

    folder: Path
    name: str
    steps: int
    images: int | None = None
    ann_accuracy: float | None = None
    macs: float | None = None
    accuracy: Steps | None = None
    accuracy_spread: Steps | None = None
    seeds: int = 1
    spikes: Steps | None = None
    sops: Steps | None = None
    settled: Steps | None = None
    counting: str = "hidden"
    count_encoder: bool = False
    tau: int = 0
    proof: ProofRecord | None = None
    agreement: Steps | None = None
    layers: tuple[LayerRecord, ...] = ()


def read_run(folder: Path, batch_size: int | None = None, steps: int | None = None) -> RunRecord:
    """Read a run folder; or a folder that holds some of the six logs, itself or under ``logs/``.

    Args:
        folder: with ``metrics.json``, else with logs.
        batch_size: images in a batch, where logs do not tell; metrics do.
        steps: time steps, likewise.

    Raises:
        FileError: nothing of a run in the folder, a file that does not parse, or logs that do not tell enough.
    """
    for option, number in (("--batch-size", batch_size), ("--steps", steps)):
        if number is not None and number < 1:
            raise FileError(f"{option}: expected at least 1, got {number}")
    if not folder.is_dir():
        raise FileError(
            f"{folder}: {'a file' if folder.exists() else 'not found'}; give the folder of a run, or of its logs"
        )
    path = folder / "metrics.json"
    if path.is_file():
        return _read_metrics(path)
    for place in (folder, folder / "logs"):
        if any((place / f"{name}.txt").is_file() for name in LOGS):
            _check_metrics(folder, batch_size)
            return _summarise_logs(folder, place, read_logs(place, batch_size=batch_size, steps=steps))
    names = ", ".join(f"{name}.txt" for name in LOGS)
    raise FileError(f"{folder}: neither metrics.json nor a log ({names}), here or under logs/; give a run folder")


def _check_metrics(folder: Path, batch_size: int | None) -> None:
    """Logs stand in for the metrics of a run of ours only where their batch size is given."""
    ours = any((folder / name).is_file() for name in ("recipe.toml", "snn.safetensors"))
    if ours and batch_size is None:
        raise FileError(
            f"{folder}: metrics.json is missing; run 'isospike simulate --out {folder}', or give --batch-size to read "
            "the logs alone"
        )


def _read_metrics(path: Path) -> RunRecord:
    metrics = read_json(path)
    folder = path.parent
    try:
        ann, snn, verify, loss = (metrics.get(key) or {} for key in ("ann", "snn", "verify", "loss"))
        images, simulation = snn.get("images", verify.get("images")), metrics.get("simulation") or {}
        counting = str(simulation.get("sops", "hidden"))
        macs = simulation.get("macs_per_image", ann.get("macs_per_image"))
        record = RunRecord(
            folder=folder,
            name=str(metrics.get("recipe") or _name_folder(folder)),
            steps=max((len(values) for values in snn.values() if isinstance(values, list)), default=0),
            images=_whole(images),
            ann_accuracy=_number(ann.get("accuracy")),
            macs=None if counting == "scatter-gather" else _number(macs),
            accuracy=_read_steps(snn, "accuracy"),
            accuracy_spread=_read_steps(snn, "accuracy_spread"),
            seeds=max(1, len((metrics.get("noise") or {}).get("seeds") or [])),
            spikes=_read_steps(snn, "spikes_per_image"),
            sops=_read_steps(snn, "sops_per_image"),
            settled=_numbers(snn.get("settled")),  # null: a rate-coded network, which never settles
            counting=counting,
            count_encoder=bool(simulation.get("count_encoder")),
            tau=_whole(snn.get("tau")) or 0,
            proof=_read_proof(verify) if "mismatches" in verify else None,
            agreement=_numbers(loss.get("agreement")),
            layers=_read_layers(metrics.get("layers") or []),
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileError(
            f"{path}: not the metrics of a run ({type(error).__name__}: {error}); "
            f"run 'isospike simulate --out {folder}'"
        ) from error
    _check_steps(path, record)
    return record


def _read_steps(snn: dict[str, Any], key: str) -> Steps | None:
    """A list of the section snn; None where it has no such key, but null is none of the values that we write."""
    if key in snn and snn[key] is None:
        raise ValueError(f"snn.{key} is null, expected one number for each step")
    return _numbers(snn.get(key))


def _has_spikes(layer: dict[str, Any]) -> bool:
    """Whether it is a layer that fires; the classifier has no spikes (null)."""
    return layer.get("positive") is not None and layer.get("negative") is not None


def _read_layers(layers: list[dict[str, Any]]) -> tuple[LayerRecord, ...]:
    """The layers that fire. Those of the encoder have no SOPs (null); in files without SOPs it is the first."""
    told = any("sops" in layer for layer in layers)
    return tuple(
        _read_layer(layer, layer.get("sops") is None if told else not place)
        for place, layer in enumerate(layers)
        if _has_spikes(layer)
    )


def _read_layer(layer: dict[str, Any], encoding: bool) -> LayerRecord:
    positive, negative = _numbers(layer["positive"]), _numbers(layer["negative"])
    neurons = _whole(layer.get("neurons"))
    if neurons is not None and neurons < 1:
        raise ValueError(f"layers.{layer['name']}.neurons is {neurons}, expected 1 or more")
    return LayerRecord(str(layer["name"]), neurons, positive or (), negative or (), encoding)


def _read_proof(verify: dict[str, Any]) -> ProofRecord:
    images, neurons, mismatches, unsettled = (
        int(verify.get(key) or 0) for key in ("images", "neurons", "mismatches", "unsettled")
    )
    tensors = tuple(map(str, verify.get("differing_tensors") or ()))
    return ProofRecord(images, neurons, mismatches, unsettled, _whole(verify.get("settled_by")), tensors)


def _check_steps(path: Path, record: RunRecord) -> None:
    """Every list over time must have one entry per step."""
    found = {
        "snn.accuracy": record.accuracy,
        "snn.accuracy_spread": record.accuracy_spread,
        "snn.spikes_per_image": record.spikes,
        "snn.sops_per_image": record.sops,
        "snn.settled": record.settled,
        **{f"layers.{layer.name}.positive": layer.positive for layer in record.layers},
        **{f"layers.{layer.name}.negative": layer.negative for layer in record.layers},
    }
    for key, values in found.items():
        if values is not None and len(values) != record.steps:
            raise FileError(
                f"{path}: {key} has {len(values)} entries, expected one for each of the {record.steps} steps; "
                f"run 'isospike simulate --out {record.folder}'"
            )


def _summarise_logs(folder: Path, place: Path, logs: RunLogs) -> RunRecord:
    """Means per image. Where the logs do not give the number of images, every batch is taken to be whole."""
    images = logs.images
    if images is None:
        raise FileError(f"{place}: the logs do not tell how many images a batch has; give it with --batch-size")
    accuracy = _average(logs.accuracy, images)
    if accuracy is not None and max(accuracy) > 1:
        right = round(max(accuracy) * images)
        raise FileError(
            f"{place / 'accuracy.txt'}: {right} correct predictions, but {images} images in {logs.batches} batches; "
            "give the true --batch-size (and --steps)"
        )
    spikes = _average(_accumulate(logs.spike_num, logs.abs_spike), images)
    signed = _average(_accumulate(logs.spike_collect, logs.sum_spike), images)
    layers: tuple[LayerRecord, ...] = ()
    if spikes is not None and signed is not None:
        pairs = list(zip(spikes, signed, strict=True))
        positive, negative = ((a + b) / 2 for a, b in pairs), ((a - b) / 2 for a, b in pairs)
        layers = (LayerRecord("hidden layers", None, tuple(positive), tuple(negative)),)
    return RunRecord(
        folder=folder,
        name=_name_folder(folder),
        steps=logs.steps,
        images=images,
        accuracy=accuracy,
        spikes=spikes,
        sops=_average(logs.sop_num, images),
        layers=layers,
    )


def _accumulate(cumulative: np.ndarray | None, single: np.ndarray | None) -> np.ndarray | None:
    """The cumulative log, made from the one of single steps where only that is there."""
    if cumulative is not None or single is None:
        return cumulative
    return np.asarray(single.cumsum(axis=1))


def _average(values: np.ndarray | None, images: int) -> Steps | None:
    """(batches, steps) to the mean per image after each step."""
    return None if values is None else tuple((values.sum(axis=0) / images).tolist())


def _name_folder(folder: Path) -> str:
    path = folder.resolve()
    return path.parent.name if path.name == "logs" else path.name


def _number(value: Any) -> float | None:
    return None if value is None else read_finite(value)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _numbers(values: Any) -> Steps | None:
    return None if values is None else tuple(read_finite(value) for value in values)
