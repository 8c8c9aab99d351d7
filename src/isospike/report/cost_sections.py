"""Sections on energy and on NeuroBench's counts."""

from collections.abc import Sequence

from isospike.report.charts import Level
from isospike.report.cost_record import Spending, read_neurobench, read_spendings
from isospike.report.curves import Curve, CurveChart, write_energy
from isospike.report.over_time import draw_chart, find_source
from isospike.report.pieces import Figure, Gap, Section, Source, Table, Value, write_count
from isospike.report.run_contents import RunContents

_COUNTS = (
    ("effective_acs", "effective ACs", "accumulates: non-zero weights met by a spike"),
    ("effective_macs", "effective MACs", "multiply-accumulates: other inputs, such as pixels"),
    ("dense", "dense operations", "synapses times steps"),
    ("activation_sparsity", "activation sparsity", "share of zeros among the outputs of neurons"),
    ("connection_sparsity", "connection sparsity", "share of zeros among the weights"),
    ("footprint_bits", "footprint (bits)", "all that is stored, packed"),
    ("weight_bits", "weights (bits)", "packed"),
    ("state_bits", "state (bits)", "membranes and counts"),
    ("steps", "steps", "that were run"),
    ("images", "images", "that were run"),
)


def compose_energy(runs: Sequence[RunContents]) -> Section:
    """Energy over time beside the ANN's, and by every table of constants."""
    known = [(run, found) for run in runs if (found := read_spendings(run))]
    gaps = [
        Gap(f"{run.label}: no energy", f"isospike simulate --out {run.quoted}")
        for run in runs
        if run not in [each for each, _ in known]
    ]
    rows, figures = [], []
    for run, found in known:
        rows += [_list_spending(run, each) for each in found]
    sources = tuple(find_source(run, run.numbers, "simulate") for run, _ in known)
    if known:
        figures = [_draw_energy(known, sources)]
    head = ("run", "arithmetic", "ANN", "SNN", "SNN / ANN", "constants")
    caption = "Per image after the last step, over the layers that SOPs and MACs cover."
    tables = [Table(caption, head, tuple(rows), sortable=True, words=2)] if rows else []
    tables += _list_neurobench(runs)
    intro = (
        "Estimates from counted operations, for comparing; nothing here was measured. Equal bits: beside the quantised "
        "ANN whose activations need as many bits as the counts, which is what spikes compete with."
        if known
        else ""
    )
    return Section("energy", "Energy", intro, tuple(tables), tuple(figures), tuple(gaps), sources)


def _draw_energy(known: Sequence[tuple[RunContents, list[Spending]]], sources: tuple[Source, ...]) -> Figure:
    """The arithmetic of equal bits, if all runs have it; else the first that they share, or each its own."""
    shared = next(
        (each.name for each in known[0][1] if all(each.name in map(_name, found) for _, found in known)), None
    )
    curves, levels = [], []
    for run, found in known:
        spent = next((each for each in found if each.name == shared), found[0])
        steps = tuple(float(step) for step in range(1, len(spent.snn) + 1))
        curves.append(Curve(run.place, f"{run.label}: SNN, {spent.name}", steps, spent.snn))
        levels.append(Level("ANN after the last step", spent.ann[-1], 0, run.place if len(known) > 1 else None))
    lengths = [len(curve.xs) for curve in curves]
    chart = CurveChart(
        "energy",
        "Energy over time steps, against the ANN",
        "time step",
        "energy per image",
        tuple(curves),
        tuple(levels),
        powers=max(lengths) >= 8 * min(lengths) and max(lengths) > 1,
        energy=True,
        cursor=True,
    )
    return draw_chart(chart, "Dashes: the ANN of the same arithmetic.", sources, "step")


def _name(spent: Spending) -> str:
    return spent.name


def _list_spending(run: RunContents, spent: Spending) -> tuple[Value, ...]:
    bits = f" ({spent.bits[-1]}-bit activations)" if spent.bits else ""
    ratio = spent.ratio
    return (
        Value(run.label),
        Value(f"{spent.name}{bits}"),
        Value(write_energy(spent.ann[-1]), spent.ann[-1]),
        Value(write_energy(spent.snn[-1]), spent.snn[-1]),
        Value("–") if ratio is None else Value(f"{ratio:.3f}", ratio),
        Value(spent.source),
    )


def _list_neurobench(runs: Sequence[RunContents]) -> list[Table]:
    counts = [read_neurobench(run) for run in runs]
    rows = []
    for key, name, meaning in _COUNTS:
        if any(key in each for each in counts):
            rows.append((Value(name, note=meaning), *(_show_count(key, each.get(key)) for each in counts)))
    if not rows:
        return []
    caption = "NeuroBench's counts: per image, all layers, over all steps."
    return [Table(caption, ("measure", *(run.label for run in runs)), tuple(rows))]


def _show_count(key: str, value: float | None) -> Value:
    if value is not None and key.endswith("sparsity"):
        return Value(f"{value:.4f}", value)
    return write_count(value)
