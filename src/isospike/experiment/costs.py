"""What a simulation cost, as sections of ``metrics.json``: activity, energy, latency and NeuroBench's counts."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isospike.data import Images, hold_images, limit_images
from isospike.experiment.sections import NoiseSection, SimulateSection
from isospike.experiment.tallies import Tally
from isospike.graph import CountingNeuron, IntegrateAndFire, Readout, SpikingGraph, count_membrane_bits
from isospike.metrics import (
    TABLES,
    EnergyTable,
    LayerWork,
    bound_latency,
    compare_equal_bits,
    count_bits,
    count_macs,
    list_working_layers,
    measure_footprint,
    measure_macs,
    measure_pixel_macs,
    summarise_settling,
)
from isospike.metrics.footprint import choose_weight_bits
from isospike.simulator.tapping import measure_neurobench

_MOST_TAPPED, _TAPPED_MACS = 100, 10**10
"""Images that NeuroBench's counts are taken on, at most, and the work that they may be."""


def summarise_activity(graph: SpikingGraph, tallies: Sequence[Tally]) -> dict[str, Any]:
    """Spikes per neuron and image so far, positive and negative, for each step: over all neurons, the encoder's too;
    max-pool trackers are no neurons."""
    neurons = sum(int(np.prod(graph.shapes[node.name])) for node in graph.neurons)
    names = [node.name for node in graph.neurons]

    def mean(groups: Sequence[dict[str, Tensor]]) -> list[float]:
        none = torch.zeros(tallies[0].correct.shape[1], dtype=torch.float64)
        of = zip(groups, tallies, strict=True)
        totals = [sum((group[name].sum(0) for name in names), none) / each.total for group, each in of]
        means: list[float] = (torch.stack(totals).mean(0).cumsum(0) / max(neurons, 1)).tolist()
        return means

    return {
        "neurons": neurons,
        "positive_per_neuron": mean([each.positive for each in tallies]),
        "negative_per_neuron": mean([each.negative for each in tallies]),
    }


def summarise_latency(graph: SpikingGraph, tallies: Sequence[Tally]) -> dict[str, Any]:
    """When images settled within the simulated steps, and the bound on it; all seeds of the noise together."""
    settled = torch.stack([each.settled.sum(0) for each in tallies]).sum(0).tolist()
    return _describe_latency(graph, settled, sum(each.total for each in tallies))


def summarise_proof_latency(graph: SpikingGraph, whole: Tally) -> dict[str, Any]:
    """The section ``latency`` of a proof, of which ``whole`` has all T_max steps: also how many images have other
    logits in the step in which they settle than after the last."""
    return {**summarise_latency(graph, [whole]), "early_exit_changes": int(whole.changed.sum())}


def _describe_latency(graph: SpikingGraph, settled: list[int], images: int) -> dict[str, Any]:
    """The section ``latency``; rates never settle, so of a rate-coded graph it says only how many steps it takes."""
    section: dict[str, Any] = {"worst_case_steps": bound_latency(graph), "tau": graph.tau}
    section["total_steps"] = graph.tau + len(settled)
    if not graph.is_rate_coded:
        section.update(summarise_settling(settled, images).as_dict())
    return section


def summarise_energy(
    graph: SpikingGraph, tallies: Sequence[Tally], tables: Sequence[EnergyTable] = TABLES
) -> dict[str, Any]:
    """Picojoules per image, cumulative over steps, beside the ANN's.

    ``hidden`` covers layers 2 to the last hidden one, as SOPs and MACs do; ``network`` all layers, pixels being
    multiply-accumulates in both networks (once; at every step of a rate-coded one), whichever layers they reach
    (:func:`isospike.metrics.measure_pixel_macs`). ``equal_bits`` compares the hidden layers with an ANN whose
    activations have as many bits as the counts after each step need; None where a weight or a membrane is a float.

    Args:
        graph: what was simulated.
        tallies: what happened.
        tables: what operations cost.
    """
    sops = {name: _mean_sops(tallies, name) for name in list_working_layers(graph)}
    macs, pixels = measure_macs(graph), measure_pixel_macs(graph)
    encoder = sum(pixels.values())
    spiking = {name: number - pixels.get(name, 0) for name, number in macs.items()}
    hidden = list_working_layers(graph, classifier=False)
    steps = tallies[0].correct.shape[1]
    times = [graph.tau + step if graph.is_rate_coded else 1 for step in range(1, steps + 1)]
    inside = [sum(sops[name][step] for name in hidden) for step in range(steps)]
    whole = [sum(values[step] for values in sops.values()) for step in range(steps)]
    hidden_macs = count_macs(graph)
    section: dict[str, Any] = {
        "unit": "pJ per image",
        "tables": [asdict(table) for table in tables],
        "hidden": {"macs": hidden_macs, "sops": inside},
        "network": {"macs": sum(macs.values()), "encoder_macs": encoder, "sops": whole},
        "equal_bits": _compare_bits(graph, sops, spiking, hidden, steps),
    }
    for table in tables:
        section["hidden"][table.name] = {
            "ann": table.spend(macs=hidden_macs),
            "snn": [table.spend(acs=number) for number in inside],
        }
        spent = zip(times, whole, strict=True)
        section["network"][table.name] = {
            "ann": table.spend(macs=sum(macs.values())),
            "snn": [table.spend(macs=many * encoder, acs=number) for many, number in spent],
        }
    return section


def _mean_sops(tallies: Sequence[Tally], name: str) -> list[float]:
    means: list[float] = (
        torch.stack([each.sops[name].sum(0).double() / each.total for each in tallies]).mean(0).cumsum(0).tolist()
    )
    return means


def _compare_bits(
    graph: SpikingGraph, sops: dict[str, list[float]], macs: dict[str, int], hidden: list[str], steps: int
) -> dict[str, Any] | None:
    """The hidden layers beside the quantised ANN of equal bits, after each step."""
    membranes = count_membrane_bits(graph)
    widths = {name: membranes[_find_membrane(graph, name)] for name in hidden}
    if not graph.is_integer or any(bits is None for bits in widths.values()):
        return None
    bits, ann, snn = [], [], []
    for step in range(steps):
        bits.append(count_bits(max((_count_most(node, step + 1) for node in graph.neurons), default=0)))
        layers = {}
        for name in hidden:
            weight = graph[name].arrays.get("weight")
            width = 0 if weight is None else choose_weight_bits(weight)
            layers[name] = LayerWork(macs.get(name, 0), sops[name][step], width, widths[name] or 0)
        both = compare_equal_bits(layers, bits[-1])
        ann.append(both[0])
        snn.append(both[1])
    return {"activation_bits": bits, "ann": ann, "snn": snn}


def _find_membrane(graph: SpikingGraph, name: str) -> str:
    """The first membrane that a layer's current reaches."""
    reached = {name}
    for node in graph:
        if reached.intersection(node.inputs):
            if isinstance(node, CountingNeuron | IntegrateAndFire | Readout):
                return node.name
            reached.add(node.name)
    return graph.readout.name


def _count_most(node: CountingNeuron | IntegrateAndFire, steps: int) -> int:
    """The largest count after some steps: ``min(N, m * steps)``."""
    if isinstance(node, IntegrateAndFire):
        return steps
    reach = node.limit * steps
    return reach if node.levels is None else min(reach, node.levels)


def summarise_neurobench(
    graph: SpikingGraph, test: Images, settings: SimulateSection, noise: NoiseSection, seed: int, device: str
) -> dict[str, Any]:
    """NeuroBench's counts on the first images, as many as take a moment, and the memory of the graph in bits."""
    work = max(sum(measure_macs(graph).values()) * (settings.steps + graph.tau), 1)
    number = min(len(test), _MOST_TAPPED, max(1, _TAPPED_MACS // work))
    found = measure_neurobench(
        graph,
        hold_images(limit_images(test, number)).images,
        settings.steps,
        propagation=settings.propagation,
        encoder_drop=noise.encoder_drop,
        seed=seed,
        device=device,
    )
    memory = measure_footprint(graph)
    return {**found.as_dict(), "weight_bits": memory.weights, "state_bits": memory.state}
