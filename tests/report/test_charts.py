"""What figures show, before they are drawn."""

from pathlib import Path

import pytest

from isospike.report import RunRecord, read_run
from isospike.report.charts import LONGEST, Level, StepChart, compose_charts, label_runs, shorten, write_number

from .conftest import MakeRun


def find_chart(records: list[RunRecord], name: str) -> StepChart:
    (chart,) = (chart for chart in compose_charts(records) if chart.name == name)
    assert isinstance(chart, StepChart)
    return chart


def test_runs_are_labelled_by_recipe_then_folder_then_path() -> None:
    records = [
        RunRecord(Path("a/x"), "digits", 1),
        RunRecord(Path("a/y"), "digits", 1),
        RunRecord(Path("b/y"), "digits", 1),
        RunRecord(Path("z"), "mnist", 1),
    ]
    assert label_runs(records[:1]) == ["digits"]
    assert label_runs(records) == ["digits (x)", "digits (a/y)", "digits (b/y)", "mnist"]


def test_long_paths_that_differ_in_the_middle_are_numbered() -> None:
    folders = [Path(f"/work/experiments/2024/seed{seed}/runs/all-integer-mnist") for seed in range(3)]
    labels = label_runs([RunRecord(folder, "all-integer-mnist", 1) for folder in folders])
    assert len(set(labels)) == 3
    assert all(len(label) <= LONGEST and label.endswith(f"#{place + 1}") for place, label in enumerate(labels))


def test_numbers_have_three_digits_and_a_prefix() -> None:
    numbers = [0, 0.5, 12, 999, 999.9, 87552, 999_600, 4_068_000, 1.236e9]
    assert [write_number(number) for number in numbers] == [
        "0", "0.5", "12", "999", "1 k", "87.6 k", "1 M", "4.07 M", "1.24 G",
    ]  # fmt: skip
    assert shorten("abcdefghij", 7) == "abc…hij"


def test_levels_are_shared_where_all_runs_agree(make_run: MakeRun) -> None:
    same = [read_run(make_run("a")), read_run(make_run("b"))]
    assert find_chart(same, "accuracy").levels == (Level("ANN", 99.0),)
    assert find_chart(same, "sops").levels == (Level("ANN MACs", 87552), Level("3 × ANN MACs", 3 * 87552, 1))
    other = read_run(make_run("c", ann={"accuracy": 0.95}))
    levels = find_chart([same[0], other], "accuracy").levels
    assert levels == (Level("ANN", 99.0, 0, 0), Level("ANN", 95.0, 0, 1))
    assert find_chart([same[0], other], "sops").levels == (  # the other's MACs are not known
        Level("ANN MACs", 87552, 0, 0),
        Level("3 × ANN MACs", 3 * 87552, 1, 0),
    )


@pytest.mark.parametrize(
    ("settled", "images", "words"),
    [
        ([0.5, 1.0, 1.0], 360, "digits: all 360 by step 2"),
        ([0.5, 1.0, 1.0], None, "digits: all by step 2"),
        ([0.5, 0.6, 0.95], 10_000, "digits: 500 of 10,000 left"),
        ([0.5, 0.6, 0.95], None, "digits: 5.00% left"),
    ],
)
def test_settling_is_told_in_words(make_run: MakeRun, settled: list[float], images: int | None, words: str) -> None:
    verify = {"images": images} if images else None
    record = read_run(make_run("a", snn={"settled": settled}, verify=verify, layers=None))
    (chart,) = compose_charts([record])
    assert isinstance(chart, StepChart)
    assert chart.lines[0].label == words


def test_spread_is_a_percentage_with_its_seeds(make_run: MakeRun) -> None:
    snn = {"accuracy": [0.5, 0.9], "accuracy_spread": [0.02, 0.01]}
    record = read_run(make_run("a", snn=snn, noise={"seeds": [0, 1, 2]}, layers=None))
    chart = find_chart([record], "accuracy")
    assert chart.lines[0].spread == (2.0, 1.0)
    assert chart.note == "band: ± standard deviation of 3 noise seeds"
