"""SOPs, spikes, bits, energy and settling of a small network, worked out by hand to the last unit."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from isospike.conversion import convert
from isospike.data import ImageSet
from isospike.experiment.costs import (
    summarise_activity,
    summarise_energy,
    summarise_latency,
    summarise_proof_latency,
)
from isospike.experiment.measuring import measure_simulation
from isospike.experiment.sections import EnergySection, NoiseSection, SimulateSection, list_tables
from isospike.experiment.tallies import Tally, find_changed_by_early_exit, tally
from isospike.metrics import INT8, TABLES
from isospike.networks import Quantisation, build_network
from isospike.simulator import Simulation, simulate
from tests.metrics.worked import CLASSIFIER_SOPS, HIDDEN_SOPS, IMAGE, MACS, build_worked

STEPS = 4


@pytest.fixture
def tallies() -> list[Tally]:
    images = IMAGE.expand(3, -1, -1, -1)
    run = simulate(build_worked(), images, STEPS)
    return [tally(run, torch.zeros(3, dtype=torch.int64), 2)]


def test_energy_by_hand(tallies: list[Tally]) -> None:
    found = summarise_energy(build_worked(), tallies)
    hidden, network = found["hidden"], found["network"]
    assert hidden["macs"] == MACS["hidden"] == 900
    assert hidden["sops"] == [52] * STEPS
    assert HIDDEN_SOPS == [52, 52]
    assert hidden["float32"]["ann"] == pytest.approx(900 * 4.6)
    assert hidden["float32"]["snn"] == pytest.approx([52 * 0.9] * STEPS)
    assert hidden["int32"]["ann"] == pytest.approx(900 * 3.2)
    assert hidden["int32"]["snn"] == pytest.approx([5.2] * STEPS)
    assert hidden["int8"]["ann"] == pytest.approx(207)
    assert hidden["int8"]["snn"] == pytest.approx([1.56] * STEPS)
    # the whole network: the encoder's 25 products in both, and the classifier's synapses
    assert network["macs"] == 25 + 900 + 300
    assert network["sops"] == [52 + CLASSIFIER_SOPS[0], *[52 + CLASSIFIER_SOPS[1]] * 3] == [88, 91, 91, 91]
    assert network["float32"]["ann"] == pytest.approx(1225 * 4.6)
    assert network["float32"]["snn"] == pytest.approx([25 * 4.6 + 88 * 0.9, *[25 * 4.6 + 91 * 0.9] * 3])


def test_the_equal_bit_ann_by_hand(tallies: list[Tally]) -> None:
    found = summarise_energy(build_worked(), tallies)["equal_bits"]
    assert found["activation_bits"] == [1, 2, 2, 3]  # counts up to 1, 2, 3, 4
    # weights of 2 bits, sums in 8: a product costs 0.2 * bits * 2 / 64, a sum 0.03
    products = [0.00625, 0.0125, 0.0125, 0.01875]
    assert found["ann"] == pytest.approx([900 * (product + 0.03) for product in products])
    assert found["snn"] == pytest.approx([52 * 0.03] * STEPS)


def test_a_table_of_ones_own(tallies: list[Tally]) -> None:
    mine = replace(INT8, name="mine", ac=1.0, memory=2.0)
    found = summarise_energy(build_worked(), tallies, [mine])
    assert found["hidden"]["mine"]["snn"] == [52 * 7] * STEPS
    assert found["tables"][0]["memory"] == 2.0
    assert "float32" not in found["hidden"]


def test_a_section_of_a_recipe_is_a_fourth_table(tallies: list[Tally]) -> None:
    section = EnergySection(name="mine", mac=1.5, ac=0.25, memory=2, accesses_per_mac=1, accesses_per_ac=2)
    found = summarise_energy(build_worked(), tallies, list_tables(section))
    assert [table["name"] for table in found["tables"]] == ["float32", "int32", "int8", "mine"]
    # a MAC costs 1.5 + 2 = 3.5, an AC 0.25 + 2 * 2 = 4.25
    assert found["hidden"]["mine"] == {"ann": 900 * 3.5, "snn": [52 * 4.25] * STEPS}
    assert found["network"]["mine"]["ann"] == 1225 * 3.5
    assert found["network"]["mine"]["snn"] == [25 * 3.5 + 88 * 4.25, *[25 * 3.5 + 91 * 4.25] * 3]
    assert list_tables(None) == list_tables(section)[:3] == TABLES
    # what is left out is as in int8: 0.23, 0.03, no memory
    assert list_tables(EnergySection())[3].spend(macs=100, acs=100) == pytest.approx(26)


def test_spikes_per_neuron_by_hand(tallies: list[Tally]) -> None:
    found = summarise_activity(build_worked(), tallies)
    assert found["neurons"] == 125
    assert found["positive_per_neuron"] == pytest.approx([14 / 125, *[15 / 125] * 3])
    assert found["negative_per_neuron"] == [0] * STEPS


def test_latency_by_hand(tallies: list[Tally]) -> None:
    found = summarise_latency(build_worked(), tallies)
    assert found["histogram"] == [0, 3, 0, 0]
    assert found["mean_steps_early_exit"] == 2
    assert found["worst_case_steps"] == 7
    assert found["total_steps"] == STEPS
    assert found["steps_until_settled"] == {"50": 2, "90": 2, "99": 2, "100": 2}
    assert summarise_proof_latency(build_worked(), tallies[0]) == {**found, "early_exit_changes": 0}
    changed = replace(tallies[0], changed=torch.tensor([2, 0, 1]))
    assert summarise_proof_latency(build_worked(), changed) == {**found, "early_exit_changes": 3}


def test_a_changed_answer_is_one_of_an_image_that_had_settled() -> None:
    # settled at step 2, 1, never, 3; the logits of the first and of the third change after step 2
    settled = torch.tensor([[0, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 1]]).bool()
    logits = torch.ones(3, 4, 2)
    logits[0, 0] = 5  # before it settled
    logits[2, 0, 1] = logits[2, 2, 1] = 2
    simulation = Simulation(logits, {}, {}, {}, settled)
    assert int(find_changed_by_early_exit(simulation).sum()) == 1
    logits[1, 1, 0] = 3  # settled at step 1, and back again at step 3
    assert int(find_changed_by_early_exit(simulation).sum()) == 1
    logits[0, 1, 0] = 3
    assert int(find_changed_by_early_exit(simulation).sum()) == 2


def measure(graph: Any, images: torch.Tensor, **settings: Any) -> dict[str, Any]:
    test = ImageSet(images, torch.zeros(len(images), dtype=torch.int64))
    section = SimulateSection(batch_size=2, **settings)
    follow = lambda total: lambda done: None  # noqa: E731, ARG005
    return measure_simulation(graph, test, section, NoiseSection(), seeds=[0, 1], device="cpu", follow=follow)[1]


def test_the_sections_of_a_run() -> None:
    found = measure(build_worked(), IMAGE.expand(3, -1, -1, -1), steps=2)
    assert found["latency"]["images"] == 2 * 3  # of both seeds
    assert found["neurobench"]["effective_acs"] == 54
    assert found["neurobench"]["weight_bits"] == 337 * 2
    assert found["energy"]["hidden"]["sops"] == found["snn"]["sops_per_image"] == [52, 52]


def test_rates_pay_for_the_pixels_at_every_step_and_never_settle() -> None:
    torch.manual_seed(0)
    network = build_network("4C3-P2-8", (1, 8, 8), 3, Quantisation(levels="qcfs", count=4, threshold=2.0)).eval()
    graph = convert(network, "srp", tau=2, t_max=3)
    found = measure(graph, torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8), steps=3)
    network_energy = found["energy"]["network"]
    expected = [
        times * network_energy["encoder_macs"] * 4.6 + sops * 0.9
        for times, sops in zip((3, 4, 5), network_energy["sops"], strict=True)
    ]
    assert network_energy["float32"]["snn"] == pytest.approx(expected)
    assert found["energy"]["equal_bits"] is None  # floats
    assert found["latency"] == {"worst_case_steps": None, "tau": 2, "total_steps": 5}
    assert found["neurobench"]["steps"] == 5
