"""What ``metrics.json`` says of energy, latency and NeuroBench's counts (docs/metrics.md has all keys)."""

from dataclasses import dataclass
from typing import Any

from isospike.errors import FileError
from isospike.report.numbers import read_finite
from isospike.report.run_contents import RunContents


@dataclass(frozen=True)
class Spending:
    """Energy of one arithmetic over the layers that SOPs and MACs cover, in picojoules per image.

    Attributes:
        name: of the arithmetic.
        source: of its constants.
        ann: of the ANN; for each step where its bits grow with the steps, else the same at all.
        snn: of the spiking network up to each step.
        bits: of the ANN's activations for each step; empty where the arithmetic says it.
    """

    name: str
    source: str
    ann: tuple[float, ...]
    snn: tuple[float, ...]
    bits: tuple[int, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The spiking network's after the last step as a multiple of the ANN's."""
        return self.snn[-1] / self.ann[-1] if self.ann[-1] else None


@dataclass(frozen=True)
class Latency:
    """When images settled.

    Attributes:
        histogram: fraction of the images that settled in each step.
        left: fraction that had not by the last.
        mean: steps with early exit.
        bound: the step by which every image has settled, whatever its pixels; None where that is not known.
        stage: the command that measured it.
    """

    histogram: tuple[float, ...]
    left: float
    mean: float | None
    bound: int | None
    stage: str


def read_spendings(run: RunContents) -> list[Spending]:
    """The arithmetic of equal bits first, where there is one; empty where the metrics say nothing of energy.

    Raises:
        FileError: a section that does not hold what it should.
    """
    energy = run.metrics.get("energy")
    if not energy:
        return []
    try:
        hidden, equal = energy["hidden"], energy.get("equal_bits")
        found = []
        if equal:
            bits = tuple(int(value) for value in equal["activation_bits"])
            source = "integers of the network's own widths: adders and multipliers scaled from 45 nm"
            found.append(Spending("equal bits", source, _read(equal["ann"]), _read(equal["snn"]), bits))
        for table in energy["tables"]:
            spent = hidden[table["name"]]
            snn = _read(spent["snn"])
            words = f"{table['source']}: MAC {table['mac']} pJ, AC {table['ac']} pJ"
            words += f", memory {table['memory']} pJ an access" if table.get("memory") else ""
            found.append(Spending(str(table["name"]), words, (read_finite(spent["ann"]),) * len(snn), snn))
        if any(not each.snn or len(each.ann) != len(each.snn) for each in found):
            raise ValueError("expected one entry for each step")
        return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _complain(run, "energy", error) from error


def read_latency(run: RunContents) -> Latency | None:
    """When images settled: as ``verify`` saw it up to T_max, else within the steps that were simulated.

    Raises:
        FileError: a section that does not hold what it should.
    """
    verify = run.metrics.get("verify") or {}
    try:
        for stage, section in (("verify", verify.get("latency")), ("simulate", run.metrics.get("latency"))):
            if section and section.get("histogram") and section.get("images"):
                images = int(section["images"])
                shares = tuple(int(number) / images for number in section["histogram"])
                last = max((step for step, share in enumerate(shares, start=1) if share), default=len(shares))
                bound = section.get("worst_case_steps")
                return Latency(
                    shares[: max(last, run.record.steps)],
                    max(0.0, 1 - sum(shares)),
                    read_finite(section["mean_steps_early_exit"]),
                    None if bound is None else int(bound),
                    stage,
                )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _complain(run, "latency", error) from error
    settled = run.record.settled
    if not settled:
        return None
    shares = tuple(now - before for now, before in zip(settled, (0.0, *settled[:-1]), strict=True))
    return Latency(shares, max(0.0, 1 - settled[-1]), None, None, "simulate")


def read_neurobench(run: RunContents) -> dict[str, float]:
    """NeuroBench's counts by name; empty where the metrics have none.

    Raises:
        FileError: a section that does not hold numbers.
    """
    found: Any = run.metrics.get("neurobench") or {}
    try:
        return {str(key): read_finite(value) for key, value in found.items() if value is not None}
    except (TypeError, ValueError, AttributeError) as error:
        raise _complain(run, "neurobench", error) from error


def _read(values: Any) -> tuple[float, ...]:
    return tuple(read_finite(value) for value in values)


def _complain(run: RunContents, section: str, error: Exception) -> FileError:
    return FileError(
        f"{run.folder / 'metrics.json'}: {section} is not that of a run ({type(error).__name__}: {error}); "
        f"run 'isospike simulate --out {run.folder}'"
    )
