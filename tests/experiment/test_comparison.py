"""Methods side by side: the numbers are those of single runs, and refusals are told."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from isospike.conversion import METHODS, convert
from isospike.data import ImageSet
from isospike.errors import ConversionError, RecipeError
from isospike.experiment.compared import Subject, measure_comparison
from isospike.experiment.comparison import (
    Choice,
    Comparison,
    Scope,
    compare,
    format_csv,
    format_markdown,
    list_cells,
    parse_choice,
    write_comparison,
)
from isospike.experiment.measuring import measure_simulation
from isospike.experiment.own_settings import Calibration
from isospike.experiment.preparation import Preparation
from isospike.experiment.sections import NoiseSection, SimulateSection
from isospike.graph import SpikingGraph, count_membrane_bits
from isospike.metrics import FLOAT32, TABLES, EnergyTable, measure_footprint, measure_macs
from isospike.networks import Quantisation, build_architecture, build_network, capture
from isospike.simulator import simulate
from tests.networks.comparison import randomise_statistics


@pytest.fixture(scope="module")
def images() -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (7, 1, 12, 12), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(7) % 3)


def make_network() -> torch.nn.Module:
    torch.manual_seed(0)
    quantisation = Quantisation(levels="qcfs", count=4, threshold=2.0, weights="float")
    return randomise_statistics(build_architecture("resnet8", (1, 12, 12), 3, quantisation, pool="avg")).eval()


def make_rectified() -> torch.nn.Module:
    torch.manual_seed(0)
    quantisation = Quantisation(levels="none", weights="float")
    return randomise_statistics(build_network("4C3-P2-8", (1, 12, 12), 3, quantisation, pool="avg")).eval()


def prepare(network: torch.nn.Module, images: ImageSet, calibration: Calibration | None = None) -> Preparation:
    return Preparation(
        capture(network),
        calibration or Calibration(),
        draw=lambda number: images.images[:number],
        measure=lambda options: images.images,  # noqa: ARG005
        place="net",
    )


def ignore(*_: Any) -> Any:
    return ignore


def measure_alone(graph: SpikingGraph, images: ImageSet, steps: int) -> dict[str, Any]:
    """What ``isospike simulate`` writes into ``metrics.json``."""
    settings = SimulateSection(steps=steps)
    _, sections = measure_simulation(
        graph, images, settings, NoiseSection(), seeds=[0], device="cpu", follow=ignore
    )  # fmt: skip
    return sections


def test_numbers_are_those_of_single_runs(images: ImageSet) -> None:
    preparation = prepare(make_network(), images)
    choices = [Choice("qcfs"), Choice("srp", {"tau": 2}), Choice("counting"), Choice("percentile", {"norm": 4})]
    found = compare(preparation, images, choices, Scope((1, 4, 8), 32, 3))
    assert [trial.method for trial in found.trials] == ["qcfs", "srp:tau=2", "counting", "percentile:norm=4"]
    for choice, trial in zip(choices, found.trials, strict=True):
        graph = convert(preparation.captured, choice.method, images=images.images, t_max=32, **choice.options)
        alone = measure_alone(graph, images, 8)
        at = [0, 3, 7]
        assert trial.accuracy == [alone["snn"]["accuracy"][t] for t in at]
        assert trial.positive_per_neuron == [alone["activity"]["positive_per_neuron"][t] for t in at]
        assert trial.negative_per_neuron == [alone["activity"]["negative_per_neuron"][t] for t in at]
        network = alone["energy"]["network"]
        assert trial.sops == [network["sops"][t] for t in at]
        for table in ("float32", "int32", "int8"):
            assert trial.energy[table] == [network[table]["snn"][t] for t in at]
            assert found.energy[table] == network[table]["ann"]
        run = simulate(graph, images.images, 8)
        each = [run.positive[node.name] + run.negative[node.name] for node in graph.neurons]
        spikes = torch.stack(each).sum(0).double().mean(1).cumsum(0)
        assert trial.spikes == pytest.approx([float(spikes[t]) for t in at])
        memory = measure_footprint(graph)
        assert (trial.parameter_bits, trial.state_bits) == (memory.parameters, memory.state)
        assert (
            memory.weights == alone["neurobench"]["weight_bits"] and memory.state == alone["neurobench"]["state_bits"]
        )
    assert found.trials[1].latency == [3, 6, 10]
    assert found.trials[0].latency == [1, 4, 8]
    assert [trial.mismatches for trial in found.trials] == [None, None, 0, None]
    assert found.trials[2].unsettled is not None
    assert found.energy["float32"] == FLOAT32.mac * sum(measure_macs(preparation.captured).values())


def test_a_lossless_method_equals_its_ann_from_the_step_when_all_have_settled(images: ImageSet) -> None:
    preparation = prepare(make_network(), images)
    graph = convert(preparation.captured, "counting", t_max=64)
    settled = simulate(graph, images.images, 64).settled.all(1)
    first = int(settled.int().argmax()) + 1
    assert settled.any() and first > 2
    whole = compare(preparation, images, [Choice("counting"), Choice("qcfs")], Scope((1, 2), 64))
    assert [trial.equal_from for trial in whole.trials] == [first, None]
    cut = compare(preparation, images, [Choice("counting")], Scope((1, 2), first - 1))
    assert cut.trials[0].equal_from is None and cut.trials[0].unsettled


def test_integers_have_membrane_bits_and_an_ann_of_equal_bits(images: ImageSet) -> None:
    torch.manual_seed(0)
    quantisation = Quantisation(levels="median", weights="ternary", ends="int8", bound=4)
    network = randomise_statistics(build_network("4C3-P2-8", (1, 12, 12), 3, quantisation, pool="avg")).eval()
    preparation = prepare(network, images)
    (trial,) = compare(preparation, images, [Choice("all-integer")], Scope((1, 4), 8)).trials
    graph = convert(preparation.captured, "all-integer", t_max=8)
    widths = [bits for bits in count_membrane_bits(graph).values() if bits is not None]
    assert trial.membrane_bits == max(widths)
    bits = measure_alone(graph, images, 8)["energy"]["equal_bits"]
    assert trial.equal_bits == {key: [values[0], values[3]] for key, values in bits.items()}


def test_all_methods_on_a_residual_network_and_the_reasons_of_those_that_refuse(images: ImageSet) -> None:
    found = compare(prepare(make_network(), images), images, [Choice(name) for name in METHODS], Scope((1, 2), 8))
    trials = {trial.method: trial for trial in found.trials}
    assert list(trials) == list(METHODS)
    reason = trials["all-integer"].refused
    assert reason is not None and "integer weights" in reason and "\n" not in reason
    assert trials["all-integer"].steps == []
    for name in ("negative-spike", "scatter-gather", "counting"):  # residual sums are no obstacle to these
        assert trials[name].refused is None and trials[name].mismatches == 0
    assert trials["scatter-gather"].equal_from == 1
    assert f"refused: {reason}" in format_markdown(found).replace("\\|", "|")
    rows = list(csv.DictReader(format_csv(found).splitlines()))
    assert [row["refused"] for row in rows if row["method"] == "all-integer"] == [reason]
    assert asdict(found)["trials"][0]["refused"] == reason


def test_unbounded_activations_leave_out_what_needs_bounds(images: ImageSet) -> None:
    torch.manual_seed(0)
    quantisation = Quantisation(levels="median", k=0, weights="float")
    network = randomise_statistics(build_architecture("resnet8", (1, 12, 12), 3, quantisation, pool="avg")).eval()
    choices = [Choice("scatter-gather"), Choice("qcfs"), Choice("negative-spike")]
    found = compare(prepare(network, images), images, choices, Scope((1,), 4))
    assert [trial.refused is None for trial in found.trials] == [False, False, True]


def test_only_where_no_method_takes_the_network_is_it_an_error(images: ImageSet) -> None:
    with pytest.raises(ConversionError, match="no method takes this network; all-integer: "):
        compare(prepare(make_network(), images), images, [Choice("all-integer")], Scope((1, 2), 8))


def test_levels_are_for_the_methods_that_need_them(images: ImageSet) -> None:
    preparation = prepare(make_rectified(), images, Calibration(levels=16))
    choices = [Choice("counting"), Choice("percentile", {"norm": 4})]
    found = compare(preparation, images, choices, Scope((4,), 32))
    assert [trial.refused for trial in found.trials] == [None, None]
    assert found.levelled is not None and found.trials[0].mismatches == 0
    graph = convert(preparation.captured, "percentile", images=images.images, norm=4, t_max=32)
    assert found.trials[1].accuracy == [measure_alone(graph, images, 4)["snn"]["accuracy"][3]]


def test_levels_for_a_network_that_has_them_is_an_error(images: ImageSet, tmp_path: Path) -> None:
    subject = Subject(prepare(make_network(), images, Calibration(levels=16)), images, 0, {})
    with pytest.raises(ConversionError, match="--levels: net has no ReLU"):
        measure_comparison(subject, [Choice("counting")], Scope((1,), 8), tmp_path, ["x"])


class Stop(BaseException):
    """As Ctrl-C is."""


def test_what_an_interrupted_command_found_is_kept_and_taken_over(images: ImageSet, tmp_path: Path) -> None:
    subject = Subject(prepare(make_network(), images), images, 0, {"recipe": "r"})
    choices, scope = [Choice("qcfs"), Choice("all-integer"), Choice("srp")], Scope((1, 2), 8)
    begun: list[str] = []

    def follow(stage: str, _total: int) -> Any:
        begun.append(stage)
        if stage == "srp" and begun.count("srp") == 1:
            raise Stop
        return ignore

    with pytest.raises(Stop):
        measure_comparison(subject, choices, scope, tmp_path, ["x"], follow)
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert [trial["method"] for trial in content["trials"]] == ["qcfs", "all-integer"]
    assert content["complete"] is False
    assert "| qcfs |" in (tmp_path / "comparison.md").read_text()

    found, paths = measure_comparison(subject, choices, scope, tmp_path, ["x"], follow)
    assert begun == ["qcfs", "srp", "srp"]
    fresh, _ = measure_comparison(subject, choices, scope, tmp_path / "fresh", ["x"])
    assert [trial.accuracy for trial in found.trials] == [trial.accuracy for trial in fresh.trials]
    assert json.loads(paths[0].read_text())["complete"] is True

    measure_comparison(subject, [Choice("scatter-gather")], scope, tmp_path, ["x"])  # the others stay
    content = json.loads(paths[0].read_text())
    assert [trial["method"] for trial in content["trials"]] == ["scatter-gather", "qcfs", "srp"]
    assert content["levelled"] == found.levelled

    measure_comparison(subject, choices, Scope((1, 4), 8), tmp_path, ["x"], follow)  # other steps: nothing to take over
    assert begun == ["qcfs", "srp", "srp", "qcfs", "srp"]


def test_files_hold_the_table(images: ImageSet, tmp_path: Path) -> None:
    found = compare(prepare(make_network(), images), images, [Choice("qcfs"), Choice("srp")], Scope((1, 2), 8))
    json_path, csv_path, markdown = write_comparison(found, tmp_path, {"command": ["x"]})
    content = json.loads(json_path.read_text())
    assert content["command"] == ["x"] and content["trials"][0]["accuracy"] == found.trials[0].accuracy
    rows = list(csv.DictReader(csv_path.read_text().splitlines()))
    assert [row["steps"] for row in rows] == ["1", "2"] * 2 and csv_path.read_text() == format_csv(found)
    assert float(rows[1]["energy_float32_pj"]) == found.trials[0].energy["float32"][1]
    assert rows[0]["equal_from"] == rows[0]["mismatches"] == ""
    assert f"{100 * found.ann:.2f} %" in markdown.read_text()
    assert "| 2 + 4 = 6 |" in markdown.read_text()


def test_a_file_of_an_earlier_version_shows_what_it_has() -> None:
    from isospike.experiment.comparison import Trial

    old = Trial("qcfs", [1, 2], [1, 2], [0.25, 0.5], [10.0, 20.0], [100.0, 200.0], [0.0, 0.0], seconds=3.5)
    head, row = list_cells(Comparison(0.75, None, 12, 8, [old]))
    assert head == ["method", "T=1", "T=2", "steps in all", "SOPs", "s", "mismatches"]
    assert row == ["qcfs", "25.00", "50.00", "2", "200", "3.5", "no claim"]


def test_choices_are_read() -> None:
    assert parse_choice("srp:tau=4") == Choice("srp", {"tau": 4})
    assert parse_choice("percentile:percentile=99.9,norm=64").options == {"percentile": 99.9, "norm": 64}
    assert parse_choice("calibrated:per_channel=true").options == {"per_channel": True}
    assert parse_choice("counting:limit=none").options == {"limit": None}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("srq", ["srq", "srp"]),
        ("srp:4", ["option=value"]),
        ("srp:tau=x", ["number"]),
        ("srp:tao=4", ["tao", "tau"]),
        ("srp:tau=0.5", ["tau"]),
    ],
)
def test_bad_choices_are_named(text: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_choice(text)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("steps", [(), (0,), (65,)])
def test_steps_out_of_range(steps: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="--steps"):
        Scope(steps)


def test_constants_of_ones_own_are_a_column(images: ImageSet) -> None:
    preparation = prepare(make_rectified(), images)
    mine = EnergyTable("mine", 2.0, 0.5)
    found = compare(preparation, images, [Choice("counting")], Scope((1, 4), 8, 3, tables=(*TABLES, mine)))
    macs = measure_macs(preparation.captured)
    encoder = macs[preparation.captured.synapses[0].name]
    assert encoder == 4 * 3 * 3 * 10 * 10  # 4 kernels of 3 x 3 over 12 x 12 pixels, valid
    assert found.energy["mine"] == 2 * sum(macs.values())
    trial = found.trials[0]
    assert trial.energy["mine"] == pytest.approx([2 * encoder + 0.5 * sops for sops in trial.sops])
    rows = list(csv.DictReader(format_csv(found).splitlines()))
    assert [float(row["energy_mine_pj"]) for row in rows] == trial.energy["mine"]
    head, row = list_cells(found)
    assert float(row[head.index("energy (µJ, mine)")]) == pytest.approx(trial.energy["mine"][-1] / 1e6, rel=0.01)
    assert len(head) == len(row)
    assert "µJ (mine)" in format_markdown(found)
