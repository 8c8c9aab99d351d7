"""Sections layer by layer, and neuron by neuron."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isospike.errors import FileError
from isospike.metrics import NodeDescription
from isospike.report.bars import draw_layer_bars
from isospike.report.neuron_drawings import draw_membrane, draw_raster, write_place
from isospike.report.numbers import read_finite
from isospike.report.over_time import find_source
from isospike.report.pieces import Figure, Gap, Section, Source, Table, Value, write_count, write_percent
from isospike.report.run_contents import RunContents
from isospike.report.sample import LayerTrace, Sample

_SYNAPSES = ("Convolution", "Dense")
_HOLDERS = ("CountingNeuron", "IntegrateAndFire", "Readout")


@dataclass(frozen=True)
class LayerPanel:
    """One layer of a sample: a raster, and potentials of some neurons."""

    name: str
    note: str
    raster: Figure | None
    membranes: tuple[Figure, ...]


@dataclass(frozen=True)
class SamplePanel:
    """One sample image in one network.

    Attributes:
        label: of the run.
        place: of the run.
        picture: PNG in base64.
        words: what happened to the image.
        layers: from the encoder to the last hidden layer.
        liveliest: the layer to show first: where the potentials that are shown make their neurons fire most.
        sources: of all this.
    """

    label: str
    place: int
    picture: str
    words: str
    layers: tuple[LayerPanel, ...]
    liveliest: int
    sources: tuple[Source, ...]


def compose_layers(runs: Sequence[RunContents]) -> Section:
    """The table of layers, and their spikes as bars."""
    rows: list[tuple[Value, ...]] = []
    figures, gaps, sources = [], [], []
    several = len(runs) > 1
    for run in runs:
        found = _list_layers(run)
        if not found:
            gaps.append(Gap(f"{run.label}: no spikes by layer", f"isospike simulate --out {run.quoted}"))
            continue
        rows += [((Value(run.label),) if several else ()) + row for row in found]
        source = find_source(run, run.numbers, "simulate")
        sources.append(source)
        if run.record.layers:
            figures.append(
                Figure(
                    draw_layer_bars(run.record.layers, run.label),
                    run.label,
                    "Above: positive spikes. Below: negative spikes, which take one back.",
                    (source,),
                )
            )
    head = (
        "layer",
        "neurons",
        "spikes +",
        "spikes −",
        "per neuron",
        "sparsity",
        "SOPs",
        "share",
        "membrane",
        "fraction",
    )
    caption = (
        "Means per image up to the last step. Sparsity: share of neurons and steps without a spike, where a neuron "
        "fires at most once a step. SOPs: of the spikes that come in. Membrane and fraction: bits."
    )
    table = Table(caption, (("run",) if several else ()) + head, tuple(rows), sortable=True, words=2 if several else 1)
    tables = (table,) if rows else ()
    return Section("layers", "Layers", tables=tables, figures=tuple(figures), gaps=tuple(gaps), sources=tuple(sources))


def compose_samples(runs: Sequence[RunContents], page: str) -> tuple[list[SamplePanel], list[Gap]]:
    """What each network does with its sample image, and which runs have none."""
    panels, gaps = [], []
    for run in runs:
        if run.sample is None:
            note = "made with another graph or other settings" if "sample.json" in run.stale else ""
            command = f"isospike report {run.quoted} --data FOLDER -o {page}"
            gaps.append(Gap(f"{run.label}: no sample image", command, note))
            continue
        panels.append(_compose_sample(run, run.sample))
    return panels, gaps


def _list_layers(run: RunContents) -> list[tuple[Value, ...]]:
    """One row for each layer of the metrics."""
    layers = run.metrics.get("layers")
    if not isinstance(layers, list):
        return []
    try:
        total = sum(layer["sops"][-1] for layer in layers if layer.get("sops"))
        return [_compose_row(run, layer, total) for layer in layers]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise FileError(
            f"{run.folder / 'metrics.json'}: layers are not those of a run ({type(error).__name__}: {error}); "
            f"run 'isospike simulate --out {run.folder}'"
        ) from error


def _compose_row(run: RunContents, layer: dict[str, Any], total: float) -> tuple[Value, ...]:
    def last(key: str) -> float | None:
        return read_finite(layer[key][-1]) if layer.get(key) else None

    name, neurons = str(layer["name"]), int(layer["neurons"])
    if neurons < 1:
        raise ValueError(f"{name} has {neurons} neurons, expected 1 or more")
    positive, negative, sops = last("positive"), last("negative"), last("sops")
    spikes = None if positive is None or negative is None else positive + negative
    membrane, fraction = _find_bits(run, name)
    each = None if spikes is None else spikes / neurons
    silent = None
    if each is not None and _fires_once(run, name):
        silent = 1 - each / (run.record.steps + run.record.tau)
    return (
        Value(name),
        write_count(neurons),
        write_count(positive, 1),
        write_count(negative, 1),
        Value("–") if each is None else Value(f"{each:.3f}", each),
        write_percent(silent if silent is not None and silent >= 0 else None),
        write_count(sops),
        write_percent(sops / total if sops is not None and total else None),
        write_count(membrane),
        write_count(fraction),
    )


def _fires_once(run: RunContents, layer: str) -> bool:
    """Whether the neurons of a layer fire at most once in a step, as far as graph or method tell."""
    holder = _find_holder(run, layer)
    if holder is not None:
        return holder.limit in (None, 1)
    return run.metrics.get("method") != "scatter-gather"


def _find_bits(run: RunContents, layer: str) -> tuple[int | None, int | None]:
    """Bits of the membrane that the layer's current goes to, and of its thresholds' fraction."""
    holder = _find_holder(run, layer)
    if holder is not None:
        return holder.membrane_bits, holder.fraction_bits
    found: Any = run.metrics.get("verify") or {}
    names = (f"{layer}.neuron", layer, "readout" if layer == "classifier" else layer)
    bits = []
    for key in ("membrane_bits", "fraction_bits"):
        section = found.get(key) or {}
        bits.append(next((int(section[name]) for name in names if section.get(name) is not None), None))
    return bits[0], bits[1]


def _find_holder(run: RunContents, layer: str) -> NodeDescription | None:
    """The neurons (or the readout) behind a layer, the first that its current comes to."""
    if run.graph is None:
        return None
    reached = {layer}
    for node in run.graph.nodes:
        if reached.intersection(node.inputs):
            if node.kind in _HOLDERS:
                return node
            if node.kind not in _SYNAPSES:
                reached.add(node.name)
    return None


def _compose_sample(run: RunContents, sample: Sample) -> SamplePanel:
    right = [answer == sample.label for answer in sample.predictions]
    last = "right" if right[-1] else f"wrong, answered {sample.predictions[-1]}"
    rated = run.graph is not None and run.graph.kind == "rate-coded"
    settled = f" It settled at step {sample.settled}." if sample.settled else " It did not settle in these steps."
    first = right.index(True) + 1 if any(right) else None
    early = f", for the first time at step {first}" if right[-1] and first else ""
    answer = f"{last} after {sample.steps} steps{early}.{'' if rated else settled}"
    words = f"Test image {sample.image}, class {sample.label}: {answer}"
    source = Source(run.folder / "sample.json", sample.command)
    panels = tuple(_compose_panel(run, layer, sample) for layer in sample.layers)
    return SamplePanel(run.label, run.place, sample.picture, words, panels, _find_liveliest(sample), (source,))


def _find_liveliest(sample: Sample) -> int:
    """The layer whose traced neurons take most spikes back, then fire most."""

    def rate(layer: LayerTrace) -> tuple[int, int]:
        changes = [
            now - was for trace in layer.traces for now, was in zip(trace.count, (0, *trace.count[:-1]), strict=True)
        ]
        return -sum(min(0, change) for change in changes), sum(max(0, change) for change in changes)

    return max(range(len(sample.layers)), key=lambda index: rate(sample.layers[index]), default=0)


def _compose_panel(run: RunContents, layer: LayerTrace, sample: Sample) -> LayerPanel:
    total = sum(layer.spikes)
    note = f"{layer.fired:,} of {layer.neurons:,} neurons fired, {total:,} spikes in {sample.steps} steps"
    raster = None
    if layer.raster:
        title = f"Spikes of the {len(layer.raster)} most active neurons"
        caption = "Bars: +1. Small triangles: −1. Names: channel, row, column."
        raster = Figure(draw_raster(layer, run.label), title, caption)
    rated = run.graph is not None and run.graph.kind == "rate-coded"
    membranes = tuple(
        Figure(
            draw_membrane(layer, trace, sample),
            f"Neuron {write_place(trace.neuron)}",
            "Potential after the reset, below its fixed threshold."
            if rated
            else "Potential (line) between the thresholds met in each step: at the upper the neuron fires (▲) and both "
            "move up a level, below the lower it takes a spike back (▼) and both move down.",
            table=Table(
                f"Neuron {write_place(trace.neuron)} of {layer.name}",
                ("step", "potential", "fires at", "falls below", "count after"),
                tuple(
                    (
                        Value(str(step), step),
                        Value(f"{membrane:g}", membrane),
                        *(Value("–") if end is None else Value(f"{end:g}", end) for end in (rise, fall)),
                        Value(str(count), count),
                    )
                    for step, (membrane, rise, fall, count) in enumerate(
                        zip(trace.membrane, trace.rise, trace.fall, trace.count, strict=True), start=1
                    )
                ),
            ),
        )
        for trace in layer.traces
    )
    return LayerPanel(layer.name, note, raster, membranes)
