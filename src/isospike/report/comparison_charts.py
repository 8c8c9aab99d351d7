"""Methods on one network as a table, and as accuracy over what it costs."""

from collections.abc import Sequence

from isospike.report.charts import Level, write_number
from isospike.report.comparison_record import ComparisonRecord, Trial
from isospike.report.curves import Curve, CurveChart, write_energy
from isospike.report.pieces import Table, Value, list_text, write_count, write_percent


def chart_comparison(found: ComparisonRecord, before: str = "", number: int = 0) -> list[tuple[CurveChart, str]]:
    """Accuracy over total latency and over SOPs, each with a word for what is on the axis; none without any accuracy.

    Args:
        found: what was measured.
        before: for the titles.
        number: of the run on a page of several.
    """
    trials = [(look, trial) for look, trial in enumerate(found.trials) if trial.steps]
    if not trials:
        return []
    levels = (Level("ANN", 100 * found.ann),)
    latencies = tuple(_make_curve(look, trial, _list_latencies(trial)) for look, trial in trials)
    longest = max(curve.xs[-1] for curve in latencies)
    over_time = CurveChart(
        "methods",
        f"{before}accuracy over total latency",
        "time steps in all, extra ones too",
        "accuracy",
        latencies,
        levels,
        percent=True,
        powers=longest > 1,
        number=number,
    )
    work = tuple(_make_curve(look, trial, tuple(sops / 1e6 for sops in trial.sops)) for look, trial in trials)
    over_work = CurveChart(
        "methods-work",
        f"{before}accuracy over synaptic operations",
        "million synaptic operations per image",
        "accuracy",
        work,
        levels,
        percent=True,
        whole=False,
        number=number,
    )
    return [(over_time, "steps"), (over_work, "SOPs")]


def _list_latencies(trial: Trial) -> tuple[float, ...]:
    return tuple(float(step + trial.extra) for step in trial.steps)


def _make_curve(look: int, trial: Trial, xs: tuple[float, ...]) -> Curve:
    return Curve(look, trial.method, xs, tuple(100 * value for value in trial.accuracy))


def list_methods(label: str, found: ComparisonRecord) -> list[Table]:
    """Accuracy with what was proved; what the last T costs; and the methods that do not take the network, with their
    reasons. Each as far as there are any."""
    ran = [trial for trial in found.trials if trial.refused is None and trial.steps]
    refused = [trial for trial in found.trials if trial not in ran]
    tables = []
    if ran:
        tables = [_list_accuracies(label, found, ran), _list_costs(label, found, ran)]
    if refused:
        rows = tuple(list_text([trial.method, f"refused: {trial.refused}"]) for trial in refused)
        tables.append(Table(f"{label}: methods that do not take this network", ("method", "reason"), rows, words=2))
    return tables


def _list_accuracies(label: str, found: ComparisonRecord, ran: Sequence[Trial]) -> Table:
    steps = ran[0].steps
    head = ("method", *(f"T={step}" for step in steps), "extra steps", "equal from", "mismatches")
    rows = []
    for trial in ran:
        proof = "no claim" if trial.mismatches is None else f"{trial.mismatches} ({trial.unsettled} unsettled)"
        values = dict(zip(trial.steps, trial.accuracy, strict=True))
        equal = Value("–") if trial.equal_from is None else Value(f"T={trial.equal_from}", trial.equal_from)
        cells = [write_percent(values.get(step)) for step in steps]
        rows.append((Value(trial.method), *cells, write_count(trial.extra), equal, Value(proof, trial.mismatches)))
    caption = f"{label}: ANN {100 * found.ann:.2f} % on {found.images:,} images."
    return Table(caption, head, tuple(rows), sortable=True)


def _list_costs(label: str, found: ComparisonRecord, ran: Sequence[Trial]) -> Table:
    measured = any(trial.energy is not None for trial in ran)
    own = list(found.own_energy)
    named = ("energy", *(f"energy ({name})" for name in own))
    more = (*named, "+ spikes / neuron", "- spikes / neuron", "membrane bits", "memory (bits)") if measured else ()
    rows = []
    for trial in ran:
        cells = [Value(write_number(number), number) for number in (trial.spikes[-1], trial.sops[-1])]
        if measured:
            bits = "float" if trial.membrane_bits is None else str(trial.membrane_bits)
            cells += [
                *(
                    Value("–") if spent is None else Value(write_energy(spent), spent)
                    for spent in (trial.energy, *(trial.own_energy.get(name) for name in own))
                ),
                write_count(trial.positive, 3),
                write_count(trial.negative, 3),
                Value(bits, trial.membrane_bits),
                write_count(trial.memory_bits),
            ]
        rows.append((Value(trial.method), *cells))
    energy = "" if found.energy is None else f", {write_energy(found.energy)} in float32"
    energy += "".join(
        f", {write_energy(spent)} by {name}" for name, spent in found.own_energy.items() if spent is not None
    )
    caption = f"{label}: costs per image at the last T; of the ANN {found.macs:,} MACs per image{energy}."
    return Table(caption, ("method", "spikes", "SOPs", *more), tuple(rows), sortable=True)
