"""The first thing that a reader sees of a run: how right, how equal, how much work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isospike.report.charts import write_number
from isospike.report.cost_record import read_spendings
from isospike.report.curves import write_energy
from isospike.report.pieces import Value, write_points, write_share
from isospike.report.run_contents import RunContents

CLOSE = 0.001
"""A tenth of a percentage point."""


@dataclass(frozen=True)
class Measure:
    """One measure of all runs.

    Attributes:
        name: of the measure.
        meaning: what it is, in one line.
        values: one for each run.
    """

    name: str
    meaning: str
    values: tuple[Value, ...]


def compose_headline(runs: Sequence[RunContents]) -> list[Measure]:
    """The measures that at least one of the runs has, or could have."""
    makers = (
        ("ANN accuracy", "the quantised ANN, worked out exactly", _show_ann),
        ("SNN accuracy", "after the last time step that was simulated", _show_snn),
        ("As accurate as the ANN from", "the step from which accuracy stays within 0.1 points of it", _show_close),
        ("Equal to the ANN from", "the step from which every count of every image is the ANN's", _show_equal),
        ("Mismatches", "counts and logits that differ from the ANN's", _show_mismatches),
        ("SOPs per image", "synaptic operations up to the last step, beside the ANN's MACs", _show_sops),
        ("Energy per image", "an estimate, beside the ANN of as many bits as the counts need", _show_energy),
        ("Spikes per image", "of either sign, up to the last step", _show_spikes),
        ("Membranes", "the widest membrane potential", _show_membranes),
    )
    return [Measure(name, meaning, tuple(make(run) for run in runs)) for name, meaning, make in makers]


def _section(run: RunContents, key: str) -> dict[str, Any]:
    found = run.metrics.get(key)
    return found if isinstance(found, dict) else {}


def _gap(run: RunContents, command: str) -> Value:
    return Value("–", missing=f"isospike {command} --out {run.quoted}")


def _show_ann(run: RunContents) -> Value:
    if run.record.ann_accuracy is None:
        return _gap(run, "evaluate")
    single = _section(run, "ann").get("accuracy_float32")
    note = "" if not isinstance(single, float | int) else f"PyTorch in float32: {write_share(single)}"
    return Value(write_share(run.record.ann_accuracy), run.record.ann_accuracy, note)


def _show_snn(run: RunContents) -> Value:
    record = run.record
    if not record.accuracy:
        return _gap(run, "simulate")
    latency = f", {record.steps + record.tau} with the {record.tau} before" if record.tau else ""
    spread = f" ± {100 * record.accuracy_spread[-1]:.2f} over {record.seeds} seeds" if record.accuracy_spread else ""
    return Value(write_share(record.accuracy[-1]), record.accuracy[-1], f"at T = {record.steps}{latency}{spread}")


def _show_close(run: RunContents) -> Value:
    accuracy, ann = run.record.accuracy, run.record.ann_accuracy
    if not accuracy or ann is None:
        return Value("–")
    near = [abs(value - ann) <= CLOSE + 1e-12 for value in accuracy]
    if not near[-1]:
        return Value("not yet", note=f"{write_points(accuracy[-1] - ann)} at T = {len(accuracy)}")
    step = len(near) - next((back for back, close in enumerate(reversed(near)) if not close), len(near)) + 1
    before = f" ({step + run.record.tau} in all)" if run.record.tau else ""
    return Value(f"T = {step}{before}", step, write_points(accuracy[step - 1] - ann))


def _show_equal(run: RunContents) -> Value:
    proof, agreement = run.record.proof, run.record.agreement
    if _section(run, "loss"):
        share = f"; the ANN's class on {write_share(agreement[-1])} of the images" if agreement else ""
        return Value("no claim", note=f"rate-coded{share}")
    if proof is None:
        if _section(run, "noise").get("encoder_drop"):
            return Value("no claim", note="spikes are dropped")
        return _gap(run, "verify")
    if proof.fault:
        return Value("not equal", note=proof.fault)
    if proof.unsettled:
        return Value("not all", note=f"{proof.unsettled} images had not settled at T_max")
    return Value(f"T = {proof.settled_by}", proof.settled_by, f"on all {proof.images:,} images")


def _show_mismatches(run: RunContents) -> Value:
    proof = run.record.proof
    if proof is None:
        return Value("–")
    differing = f"; stored tensors differ: {', '.join(proof.differing_tensors)}" if proof.differing_tensors else ""
    note = f"{proof.images:,} images × {proof.neurons:,} counts{differing}"
    return Value(f"{proof.mismatches:,}", proof.mismatches, note)


def _show_sops(run: RunContents) -> Value:
    record = run.record
    if not record.sops:
        return _gap(run, "simulate")
    note = "" if record.counting == "hidden" else f"counted as the {record.counting} paper does"
    if record.macs:
        ratio = f"{record.sops[-1] / record.macs:.2f} × the ANN's {write_number(record.macs)} MACs"
        note = f"{note}; {ratio}" if note else ratio
    return Value(write_number(record.sops[-1]), record.sops[-1], note)


def _show_energy(run: RunContents) -> Value:
    found = read_spendings(run)
    if not found:
        return _gap(run, "simulate")
    spent = found[0]
    bits = f"{spent.bits[-1]}-bit ANN" if spent.bits else f"ANN in {spent.name}"
    note = "" if spent.ratio is None else f"{spent.ratio:.2f} × the {write_energy(spent.ann[-1])} of the {bits}"
    return Value(write_energy(spent.snn[-1]), spent.snn[-1], note)


def _show_spikes(run: RunContents) -> Value:
    record = run.record
    if not record.spikes:
        return Value("–")
    neurons = [layer.neurons for layer in record.layers if record.count_encoder or not layer.encoding]
    known = sum(number or 0 for number in neurons) if all(neurons) else 0
    first = 1 if record.count_encoder else 2
    note = f"{record.spikes[-1] / known:.2f} per neuron of layers {first} to the last hidden one" if known else ""
    return Value(write_number(record.spikes[-1]), record.spikes[-1], note)


def _show_membranes(run: RunContents) -> Value:
    bits = _section(run, "verify").get("membrane_bits")
    widths = [width for width in (bits or {}).values() if isinstance(width, int)] if isinstance(bits, dict) else []
    if run.graph is not None and run.graph.membrane_bits is not None:
        widths = [run.graph.membrane_bits]
    if not widths:
        return Value("float" if run.graph is not None else "–")
    integer = "integers from pixel to logit" if run.graph is not None and run.graph.integer else ""
    return Value(f"{max(widths)} bits", max(widths), integer)
