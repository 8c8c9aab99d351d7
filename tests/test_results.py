"""What is published comes from committed metrics, and is what the tables say."""

import json
from pathlib import Path

import pytest

from isospike.conversion import METHODS
from isospike.errors import FileError
from isospike.experiment import list_recipes, read_recipe
from isospike.experiment.comparison import format_csv, format_markdown
from isospike.experiment.comparison_table import read_table
from isospike.experiment.measuring import describe_noise
from tests.scripts import load_script

ROOT = Path(__file__).parents[1]
COMPARED = sorted(path for path in (ROOT / "results" / "comparisons").glob("*/*.json") if path.name != "metrics.json")
PUBLISHED = sorted(path.parent for path in (ROOT / "results").glob("*/metrics.json") if path.parent.name != "zoo")


def test_something_is_published() -> None:
    assert PUBLISHED


def test_every_row_is_a_recipe_or_one_of_its_variants() -> None:
    publish = load_script("publish")
    rows = [row[0] for row in publish.PUBLISHED]
    assert len(set(rows)) == len(rows)
    for row in rows:
        assert any(row == name or row.startswith(f"{name}-") for name in list_recipes()), row
    assert {folder.name for folder in PUBLISHED} <= set(rows)


@pytest.mark.parametrize(
    ("method", "proof", "said"),
    [
        ("srp", None, ("rate-coded", "claims no equality")),
        ("counting", None, ("spikes dropped", "nothing to verify")),
        ("counting", (0, 0, 19), ("T=19", "0 of 100 images x 7")),
        ("counting", (2, 0, 19), ("not equal", "2 of 100 images x 7")),
        ("counting", (0, 3, None), ("3 unsettled", "0 of 100 images x 7")),
    ],
)
def test_a_row_says_what_was_proved(
    method: str, proof: tuple[int, int, int | None] | None, said: tuple[str, str]
) -> None:
    verified = None
    if proof is not None:
        mismatches, unsettled, settled_by = proof
        verified = {
            "images": 100,
            "neurons": 7,
            "mismatches": mismatches,
            "unsettled": unsettled,
            "settled_by": settled_by,
        }
    assert load_script("publish").format_proof({"method": method, "verify": verified}) == said


def test_a_row_says_that_stored_tensors_differ() -> None:
    verified = {"images": 100, "neurons": 7, "mismatches": 0, "unsettled": 0, "settled_by": 9}
    proof = {**verified, "differing_tensors": ["classifier"]}
    said = load_script("publish").format_proof({"method": "counting", "verify": proof})
    assert said == ("not equal", "0 of 100 images x 7; stored tensors differ: classifier")


@pytest.mark.parametrize("page", ["no marks", "only {begin}", "only {end}", "{end} before {begin}"])
def test_a_page_without_the_marks_of_a_table_stays(page: str) -> None:
    publish = load_script("publish")
    with pytest.raises(FileError, match="expected a page with the line"):
        publish.replace_block(page.format(begin=publish.BEGIN, end=publish.END), "a table")


def test_commands_are_given_without_the_machine_they_ran_on() -> None:
    words = ["isospike", "compare", "/work/runs/a", "--data", "/x/data/mnist", "--limit", "9", "-o", "/work/runs/a/all"]
    said = load_script("publish").format_command(words)
    assert said == "isospike compare runs/a --data FOLDER --limit 9 -o runs/a/all"
    assert not [line for line in (ROOT / "results" / "README.md").read_text().splitlines() if "/work/" in line]


def test_the_tables_are_those_of_the_committed_metrics() -> None:
    publish = load_script("publish")
    assert publish.format_results() in (ROOT / "results" / "README.md").read_text()
    assert publish.format_summary() in (ROOT / "README.md").read_text()
    assert publish.format_settling() in (ROOT / "results" / "README.md").read_text()
    assert publish.format_comparisons() in (ROOT / "results" / "README.md").read_text()


@pytest.mark.parametrize("path", COMPARED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_comparison_is_whole_and_its_table_says_what_was_measured(path: Path) -> None:
    found, content = read_table(path)
    assert content.get("complete", True)
    if path.stem == "comparison":
        assert found.images == (10_000 if "mnist" in path.parent.name else found.images) >= 1_000
    assert (path.parent / "model.safetensors").is_file()
    assert path.with_suffix(".md").read_text() == format_markdown(found)
    assert path.with_suffix(".csv").read_text() == format_csv(found)
    for trial in found.trials:
        if trial.mismatches is not None:
            assert trial.mismatches == 0, trial.method


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_published_run_is_whole_and_proved(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    recipe = read_recipe(folder / "recipe.toml")
    assert recipe.name == metrics["recipe"]
    assert recipe.name in list_recipes()
    assert recipe.data.held_out == 0
    assert recipe.convert.method == metrics["method"]
    assert recipe.simulate.steps == metrics["steps"] == len(metrics["snn"]["accuracy"])
    assert describe_noise(recipe.noise, recipe.noise_seeds) == metrics["noise"]
    unproved = metrics["noise"]["encoder_drop"] > 0 or not METHODS[metrics["method"]].lossless
    assert (metrics["verify"] is None) == unproved
    if not unproved:
        assert metrics["verify"]["images"] == 10_000
        assert metrics["verify"]["mismatches"] == 0
        assert metrics["verify"]["differing_tensors"] == []
        assert metrics["verify"].get("latency", {}).get("early_exit_changes", 0) == 0
    for name in ("accuracy", "sparsity", "sops"):
        assert (folder / "figures" / f"{name}.svg").is_file()
        assert (folder / "figures" / f"{name}.png").is_file()
