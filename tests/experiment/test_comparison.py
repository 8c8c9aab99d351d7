"""Methods side by side: the numbers are those of single runs, and refusals are told."""

import csv
import json
from pathlib import Path

import pytest
import torch

from isospike.conversion import convert
from isospike.data import ImageSet
from isospike.errors import RecipeError
from isospike.experiment.comparison import Choice, compare, format_csv, format_markdown, parse_choice, write_comparison
from isospike.networks import Quantisation, build_architecture, build_network, capture
from isospike.simulator import simulate
from tests.networks.comparison import randomise_statistics


@pytest.fixture(scope="module")
def images() -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (7, 1, 12, 12), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(7) % 3)


def make_network() -> torch.nn.Module:
    quantisation = Quantisation(levels="qcfs", count=4, threshold=2.0, weights="float")
    return randomise_statistics(build_architecture("resnet8", (1, 12, 12), 3, quantisation, pool="avg")).eval()


def test_numbers_are_those_of_single_runs(images: ImageSet) -> None:
    ann = capture(make_network())
    choices = [Choice("qcfs"), Choice("srp", {"tau": 2}), Choice("counting"), Choice("percentile", {"norm": 4})]
    found = compare(ann, images, choices, [1, 4, 8], calibration=images.images, t_max=32, batch_size=3)
    assert [trial.method for trial in found.trials] == ["qcfs", "srp:tau=2", "counting", "percentile:norm=4"]
    for choice, trial in zip(choices, found.trials, strict=True):
        graph = convert(ann, choice.method, images=images.images, t_max=32, **choice.options)
        run = simulate(graph, images.images, 8)
        right = (run.predictions == images.labels).double().mean(1)
        assert trial.accuracy == [float(right[t - 1]) for t in (1, 4, 8)]
        spikes = sum(run.positive[n.name] + run.negative[n.name] for n in graph.neurons).double().mean(1).cumsum(0)
        assert trial.spikes == pytest.approx([float(spikes[t - 1]) for t in (1, 4, 8)])
        assert trial.sops[0] > 0
    assert found.trials[1].latency == [3, 6, 10]
    assert found.trials[0].latency == [1, 4, 8]
    assert [trial.mismatches for trial in found.trials] == [None, None, 0, None]
    assert found.trials[2].unsettled is not None


def test_a_method_that_cannot_says_why(images: ImageSet) -> None:
    found = compare(capture(make_network()), images, [Choice("all-integer"), Choice("qcfs")], [1, 2], t_max=8)
    assert found.trials[0].refused is not None and "integer weights" in found.trials[0].refused
    assert "refused" in format_markdown(found)
    assert found.trials[1].refused is None


def test_levels_are_for_the_methods_that_need_them(images: ImageSet) -> None:
    quantisation = Quantisation(levels="none", weights="float")
    network = randomise_statistics(build_network("4C3-P2-8", (1, 12, 12), 3, quantisation, pool="avg")).eval()
    from isospike.conversion import calibrate

    ann = capture(network)
    levelled = calibrate(ann, images.images, levels=16)
    choices = [Choice("counting"), Choice("percentile", {"norm": 4})]
    found = compare(ann, images, choices, [4], levelled=levelled, calibration=images.images, t_max=32)
    assert [trial.refused for trial in found.trials] == [None, None]
    assert found.levelled is not None and found.trials[0].mismatches == 0


def test_files_hold_the_table(images: ImageSet, tmp_path: Path) -> None:
    found = compare(capture(make_network()), images, [Choice("qcfs")], [1, 2], t_max=8)
    json_path, csv_path, markdown = write_comparison(found, tmp_path, {"command": ["x"]})
    content = json.loads(json_path.read_text())
    assert content["command"] == ["x"] and content["trials"][0]["accuracy"] == found.trials[0].accuracy
    rows = list(csv.DictReader(csv_path.read_text().splitlines()))
    assert [row["steps"] for row in rows] == ["1", "2"] and csv_path.read_text() == format_csv(found)
    assert f"{100 * found.ann:.2f} %" in markdown.read_text()


def test_choices_are_read() -> None:
    assert parse_choice("srp:tau=4") == Choice("srp", {"tau": 4})
    assert parse_choice("percentile:percentile=99.9,norm=64").options == {"percentile": 99.9, "norm": 64}


@pytest.mark.parametrize(
    ("text", "words"), [("srq", ["srq", "srp"]), ("srp:4", ["option=value"]), ("srp:tau=x", ["number"])]
)
def test_bad_choices_are_named(text: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_choice(text)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("steps", [[], [0], [65]])
def test_steps_out_of_range(images: ImageSet, steps: list[int]) -> None:
    with pytest.raises(RecipeError, match="--steps"):
        compare(capture(make_network()), images, [Choice("qcfs")], steps)
