"""The page: its numbers are those of the files, nothing in them gets to be markup, and gaps name their remedy."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from isospike.errors import FileError
from isospike.report import page as page_module
from isospike.report import write_figures, write_report

from .conftest import MakeRun
from .pages import COMPARISON, CONFUSION, ROBUSTNESS, Page, write_file

VERIFY = {
    "images": 360,
    "neurons": 1136,
    "mismatches": 0,
    "unsettled": 0,
    "settled_by": 7,
    "membrane_bits": {"conv1.neuron": 24, "dense1.neuron": 16, "readout": 8},
    "fraction_bits": {"conv1.neuron": 2, "dense1.neuron": 11},
}


SAMPLE = {
    "command": "isospike report runs/digits",
    "graph": "0" * 64,
    "image": 0,
    "label": 1,
    "predictions": [1],
    "settled": None,
    "tau": 0,
    "picture": base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(),
    "layers": [],
}


def make_page(tmp_path: Path, *folders: Path) -> Page:
    out = write_report(folders, tmp_path / "report.html", "isospike report DIR")
    return Page(out.read_text())


def test_the_headline_is_that_of_the_metrics(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("one", verify=VERIFY)
    snn = {
        "accuracy": [0.25, 0.9875, 0.9896, 0.9905],
        "spikes_per_image": [100.0, 110.0, 115.0, 117.5],
        "sops_per_image": [1e4, 2e4, 3e4, 43776.0],
        "settled": [0.0, 0.25, 0.5, 0.96875],
    }
    metrics = json.loads((folder / "metrics.json").read_text()) | {"snn": snn}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    found = make_page(tmp_path, folder)
    text = found.read_section("headline")
    # by hand: 43,776 SOPs are half of 87,552 MACs; accuracy stays within 0.1 points of 0.99 from step 3 on (0.9896)
    for words in ("99.00 %", "99.05 % at T = 4", "T = 3 −0.04 points", "T = 7 on all 360 images", "0.50 × the ANN's"):
        assert words in text
    assert "360 images × 1,136 counts" in text and "24 bits" in text
    assert {0.99, 0.9905, 43776.0, 117.5} <= set(found.values)


def test_the_slider_has_the_numbers_of_every_step(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("one", steps=5)
    metrics = json.loads((folder / "metrics.json").read_text())
    (rows,) = make_page(tmp_path, folder).data["readout"]["runs"]
    assert len(rows) == 5
    for step, row in enumerate(rows):
        accuracy, beyond, settled, spikes, sops, ratio = (exact for _, exact in row)
        assert accuracy == metrics["snn"]["accuracy"][step]
        assert beyond == metrics["snn"]["accuracy"][step] - 0.99
        assert settled == metrics["snn"]["settled"][step]
        assert spikes == metrics["snn"]["spikes_per_image"][step]
        assert sops == metrics["snn"]["sops_per_image"][step]
        assert ratio == metrics["snn"]["sops_per_image"][step] / 87552


def test_the_table_of_layers(make_run: MakeRun, tmp_path: Path) -> None:
    layers = [
        {"name": "conv1", "neurons": 500, "positive": [50.0, 100.0], "negative": [0.0, 25.0], "sops": None},
        {"name": "dense1", "neurons": 10, "positive": [4.0, 6.0], "negative": [1.0, 4.0], "sops": [10.0, 300.0]},
        {"name": "classifier", "neurons": 3, "positive": None, "negative": None, "sops": [50.0, 100.0]},
    ]
    found = make_page(tmp_path, make_run("one", steps=2, layers=layers, verify=VERIFY))
    text = found.read_section("layers")
    # by hand: (100 + 25) / 500 spikes a neuron, silent in 1 - 0.25 / 2 of its steps; 300 of 400 SOPs
    for row in (
        "conv1500100.025.00.25087.50 %––242",
        "dense1106.04.01.00050.00 %30075.00 %1611",
        "classifier3––––10025.00 %8–",
    ):
        assert row in text.replace(" %", "%").replace(" ", "").replace("%", " %")
    assert {0.25, 0.875, 0.75} <= set(found.values)
    assert len(found.find("th", aria_sort="none")) == 10


def test_settle_times(make_run: MakeRun, tmp_path: Path) -> None:
    snn = {"accuracy": [0.5, 0.9, 0.9, 0.9], "settled": [0.0, 0.5, 0.75, 0.9375]}
    found = make_page(tmp_path, make_run("one", snn=snn, layers=[]))
    assert "half of the images by step 2, 6.25 % not by step 4" in found.read_section("settling")
    assert ({}, "325.00 %75.00 %") in found.find("tr")
    assert ({}, "418.75 %93.75 %") in found.find("tr")


def test_settle_times_up_to_t_max(make_run: MakeRun, tmp_path: Path) -> None:
    """What verify saw is whole, where the simulation ended too early: 2 steps of 4 here."""
    seen = {"images": 8, "histogram": [0, 2, 4, 1, 0, 0], "mean_steps_early_exit": 3.25, "worst_case_steps": 40}
    run = make_run("one", steps=2, verify={**VERIFY, "latency": seen})
    text = make_page(tmp_path, run).read_section("settling")
    assert "half of the images by step 3, 12.50 % not by step 4" in text
    assert "3.25 steps on average. Bound for any image: 40 steps." in text
    assert "isospike verify --out" in text


ENERGY = {
    "tables": [{"name": "float32", "mac": 4.6, "ac": 0.9, "source": "Horowitz"}],
    "hidden": {"float32": {"ann": 4600.0, "snn": [900.0, 1150.0]}},
    "equal_bits": {"activation_bits": [1, 2], "ann": [1000.0, 2000.0], "snn": [250.0, 500.0]},
}


def test_energy(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("one", steps=2, energy=ENERGY, neurobench={"dense": 5e6, "activation_sparsity": 0.875})
    found = make_page(tmp_path, folder)
    assert "500 pJ 0.25 × the 2 nJ of the 2-bit ANN" in found.read_section("headline")
    text = found.read_section("energy")
    for words in ("4.6 nJ1.15 nJ0.250Horowitz: MAC 4.6 pJ, AC 0.9 pJ", "2 nJ500 pJ0.250", "5,000,000", "0.8750"):
        assert words in text
    without = make_run("two", steps=2, energy={**ENERGY, "equal_bits": None})
    assert "0.25 × the 4.6 nJ of the ANN in float32" in make_page(tmp_path, without).read_section("headline")


def test_faults_methods_and_confusions(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("one")
    write_file(folder, "robustness.json", ROBUSTNESS)
    write_file(folder, "comparison/comparison.json", COMPARISON)
    write_file(folder, "confusion.json", CONFUSION)
    found = make_page(tmp_path, folder)
    faults = found.read_section("robustness")
    for words in ("Spikes lost anywhere", "98.75 %", "96.25 %", "81.25 %", "2 seeds", "12.50 %", "360 images, T = 4"):
        assert words in faults
    assert "isospike stress runs/digits --seeds 2" in faults
    methods = found.read_section("methods")
    for words in ("96.88 %", "srp:tau=4", "0 (3 unsettled)", "refused: it has ReLUs", "123,456 MACs"):
        assert words in methods
    confusion = found.read_section("confusion")
    assert "9 of 10 images right (90.00 %)" in confusion
    assert found.data["confusions"] == [
        [
            [[["2", 4], ["3", 5]], [["1", 2], ["4", 7]]],
            [[["5", 9], ["0", 0]], [["1", 2], ["4", 7]]],
        ]
    ]


def test_severities_of_the_mildest_first(make_run: MakeRun, tmp_path: Path) -> None:
    """Fewer bits are more severe."""
    folder = make_run("one")
    write_file(folder, "robustness.json", ROBUSTNESS)
    drawings = [
        text
        for attributes, text in make_page(tmp_path, folder).find("svg")
        if attributes["class"] == "drawing robustness"
    ]
    assert "none0.010.1severity (probability)" in drawings[0]
    assert "none168severity (bits)" in drawings[1]


def test_several_runs_stand_side_by_side(make_run: MakeRun, tmp_path: Path) -> None:
    found = make_page(tmp_path, make_run("a/x"), make_run("b/y", steps=2), make_run("c", "mnist", ann=None))
    heads = [text for _, text in found.find("th", scope="col")]
    assert heads[:3] == ["digits (x)", "digits (y)", "mnist"]
    assert [len(run) for run in found.data["readout"]["runs"]] == [4, 2, 4]
    assert "isospike evaluate --out" in found.read_section("headline")
    assert "ANN, in its run's colour" in found.read_section("accuracy")


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}</title></style>"


def test_what_comes_from_files_never_gets_to_be_markup(make_run: MakeRun, tmp_path: Path) -> None:
    layers = [{"name": HOSTILE, "neurons": 5, "positive": [1.0] * 4, "negative": [0.0] * 4, "sops": None}]
    folder = make_run(
        "a '\"<b>&", HOSTILE, layers=layers, network=HOSTILE, versions={HOSTILE: HOSTILE}, dataset=HOSTILE
    )
    (folder / "recipe.toml").write_text(f"name = '''{HOSTILE}'''")
    command = {"command": [HOSTILE]}
    fault = {**ROBUSTNESS["faults"][0], "title": HOSTILE, "unit": HOSTILE, "name": HOSTILE}  # type: ignore[index]
    write_file(folder, "robustness.json", {**ROBUSTNESS, **command, "faults": [fault]})
    trials = [{**COMPARISON["trials"][0], "method": HOSTILE}, {**COMPARISON["trials"][2], "refused": HOSTILE}]  # type: ignore[index]
    write_file(folder, "comparison/comparison.json", {**COMPARISON, **command, "trials": trials})
    write_file(folder, "confusion.json", {**CONFUSION, "command": HOSTILE})
    layer = {
        "name": HOSTILE,
        "neurons": 1,
        "fired": 1,
        "spikes": [1],
        "raster": [{"neuron": [0], "spikes": [1]}],
        "traces": [{"neuron": [0], "membrane": [1.0], "count": [1], "rise": [1.0], "fall": [None]}],
    }
    sample = {
        "command": HOSTILE,
        "graph": "0" * 64,
        "image": 0,
        "label": 1,
        "predictions": [1],
        "settled": 1,
        "tau": 0,
        "picture": base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(),
        "layers": [layer],
    }
    write_file(folder, "sample.json", sample)
    out = write_report([folder, make_run("second")], tmp_path / "report.html", HOSTILE)
    found = Page(out.read_text())
    assert len(found.find("script")) == 2
    assert [attributes["alt"] for attributes, _ in found.find("img")] == ["The sample image"]
    assert not [name for _, attributes, _ in found.elements for name in attributes if name.startswith("on")]
    assert "49" not in found.find("title")[0][1]
    assert HOSTILE.split("{{")[0] in found.read_section("layers")


def test_the_page_asks_nothing_of_any_network(make_run: MakeRun, tmp_path: Path) -> None:
    found = make_page(tmp_path, make_run("one"))
    ((policy, _),) = found.find("meta", http_equiv="Content-Security-Policy")
    content = policy["content"] or ""
    assert content.startswith("default-src 'none'; img-src data:; ")
    for kind in ("style", "script"):
        text = next(text for tag, attributes, text in found.elements if tag == kind and "id" not in attributes)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in content
        assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttpRequest|import\(", text)
    for _, attributes, _ in found.elements:
        assert "style" not in attributes
        for name in ("src", "href", "action", "srcset"):
            assert not re.match(r"[a-z]+:|//", attributes.get(name) or "") or (attributes[name] or "").startswith(
                "data:"
            )


def test_links_lead_to_the_files(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("odd #% name")
    write_file(folder, "robustness.json", ROBUSTNESS)
    out = write_report([folder], tmp_path / "pages" / "report.html")
    links = [attributes["href"] or "" for attributes, _ in Page(out.read_text()).find("a")]
    files = {unquote(link) for link in links if not link.startswith("#")}
    assert files == {"../odd #% name/metrics.json", "../odd #% name/robustness.json"}
    assert all((out.parent / file).is_file() for file in files)


def test_every_figure_has_words_a_source_and_every_field_a_label(make_run: MakeRun, tmp_path: Path) -> None:
    found = make_page(tmp_path, make_run("one"))
    drawings = [attributes for attributes, _ in found.find("svg", role="img")]
    assert len(drawings) >= 4
    assert all(len(attributes["aria-label"] or "") > 40 for attributes in drawings)
    captions = found.find("figcaption")
    assert captions and all("metrics.json" in text and "isospike simulate --out" in text for _, text in captions)
    fields = {attributes["id"] for attributes, _ in [*found.find("input"), *found.find("select")]}
    assert fields == {attributes["for"] for attributes, _ in found.find("label")}


def test_every_id_is_there_once(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run(name) for name in ("one", "two", "three")]
    for folder in folders:
        write_file(folder, "robustness.json", ROBUSTNESS)
        write_file(folder, "comparison/comparison.json", COMPARISON)
        write_file(folder, "confusion.json", CONFUSION)
    found = make_page(tmp_path, *folders)
    ids = [attributes["id"] for _, attributes, _ in found.elements if "id" in attributes]
    assert len(found.find("section", id="methods")) == 1
    assert sorted(ids) == sorted(set(ids))  # type: ignore[type-var]
    clips = {f"url(#{attributes['id']})" for attributes, _ in found.find("clippath")}
    assert len(clips) >= 3 * 2 + 2  # two charts of methods for each run, one for each of the two faults
    assert {attributes["clip-path"] for attributes, _ in found.find("g") if "clip-path" in attributes} == clips


def test_a_recipe_that_does_not_parse_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    whole, broken = make_run("whole"), make_run("broken")
    (whole / "recipe.toml").write_text('name = "whole"\n')
    (broken / "recipe.toml").write_text("[[<b>")
    found = make_page(tmp_path, whole, broken)
    (line,) = [text for _, text in found.find("p", class_="missing") if "parse" in text]
    assert "broken" in line and "recipe.toml does not parse (" in line
    assert "[[<b>" in found.read_section("recipe")


def test_a_folder_twice_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("one")
    again = folder / ".." / "one"
    for folders in ([folder, folder, folder], [folder, Path(str(folder))]):
        with pytest.raises(FileError, match="one: stands there twice: give each run folder once"):
            write_report(folders, tmp_path / "report.html")
    with pytest.raises(FileError, match=r"\.\./one: stands there twice \(as .*one too\)"):
        write_report([folder, again], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_parts_that_are_missing_name_the_command_that_fills_them(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "recipe.toml").write_text('name = "bare"\n')
    found = make_page(tmp_path, folder)
    for section, command in (
        ("headline", f"isospike evaluate --out {folder}"),
        ("headline", f"isospike verify --out {folder}"),
        ("accuracy", f"isospike simulate --out {folder}"),
        ("layers", f"isospike simulate --out {folder}"),
        ("sample", f"isospike report {folder} --data FOLDER"),
        ("robustness", f"isospike stress {folder} --data FOLDER"),
        ("confusion", f"isospike report {folder} --data FOLDER"),
    ):
        assert command in found.read_section(section)
    assert not found.find("section", id="methods")


def test_logs_alone(paper_logs: Path, tmp_path: Path) -> None:
    """The papers' own logs, without metrics: 80 + 82 right of 200 images, then 98 + 100."""
    with pytest.raises(FileError, match="--batch-size"):
        make_page(tmp_path, paper_logs)
    out = write_report([paper_logs], tmp_path / "report.html", batch_size=100)
    found = Page(out.read_text())
    assert [row[0] for row in found.data["readout"]["runs"][0]] == [["81.00 %", 0.81], ["99.00 %", 0.99]]
    assert f"{paper_logs.name}/accuracy.txt" in found.read_section("accuracy")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("robustness.json", {**ROBUSTNESS, "format": "else"}),
        ("robustness.json", {**ROBUSTNESS, "baseline": {"accuracy": float("nan")}}),
        ("robustness.json", {**ROBUSTNESS, "baseline": {"accuracy": 1.5}}),
        ("comparison/comparison.json", {**COMPARISON, "trials": [{"method": "x"}]}),
        ("confusion.json", {**CONFUSION, "matrices": [[[1]]]}),
        ("confusion.json", {**CONFUSION, "matrices": "no"}),
        ("sample.json", {"command": "x"}),
        ("metrics.json", {"snn": {"accuracy": ["high"]}}),
        ("metrics.json", {"energy": {"tables": [{"name": "float32"}], "hidden": {}}}),
        ("metrics.json", {"latency": {"histogram": [1], "images": "x"}}),
        ("metrics.json", {"neurobench": {"dense": "many"}}),
        ("metrics.json", {"snn": {"accuracy": [0.5]}, "layers": [{"name": "a", "neurons": 0, "sops": [1, 2]}]}),
        ("metrics.json", {"snn": {"accuracy": [0.5]}, "layers": [{"name": "a", "neurons": 5, "sops": [1, 2]}, 3]}),
        ("metrics.json", {"verify": {"mismatches": 0, "images": float("inf")}}),
        ("metrics.json", {"verify": {"mismatches": 0, "neurons": "many"}}),
        ("metrics.json", {"snn": {"accuracy": [0.5], "tau": [4]}}),
        ("metrics.json", {"loss": {"agreement": ["x"]}}),
        ("comparison/comparison.json", {**COMPARISON, "trials": [{**COMPARISON["trials"][0], "latency": []}]}),  # type: ignore[index]
        ("sample.json", {**SAMPLE, "predictions": []}),
    ],
)
def test_damaged_files_are_named(make_run: MakeRun, tmp_path: Path, name: str, content: Any) -> None:
    folder = make_run("one")
    write_file(folder, name, content)
    with pytest.raises(FileError, match=name):
        make_page(tmp_path, folder)


RESULTS = Path(__file__).parents[2] / "results"
PUBLISHED = sorted({path.parent for name in ("metrics.json", "recipe.toml") for path in RESULTS.rglob(name)})


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_every_published_run_makes_a_page(folder: Path, tmp_path: Path) -> None:
    make_page(tmp_path, folder)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="at least one run folder"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(FileError, match=r"neither metrics\.json nor a log"):
        write_report([tmp_path], tmp_path / "report.html")


def test_a_page_stays_under_three_megabytes(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of 128 steps and 60 layers is far below; what would be above is refused, and nothing is written."""
    layers = [
        {"name": f"layer{number}", "neurons": 10**6, "positive": [float(step) for step in range(128)]}
        | {"negative": [0.5] * 128, "sops": [1e9] * 128}
        for number in range(60)
    ]
    folder = make_run("long", steps=128, layers=layers)
    out = write_report([folder], tmp_path / "report.html")
    assert out.stat().st_size < 1_000_000
    assert page_module.LARGEST == 3_000_000
    monkeypatch.setattr(page_module, "LARGEST", 10_000)
    with pytest.raises(FileError, match="give fewer run folders"):
        write_report([folder], tmp_path / "other.html")
    assert not (tmp_path / "other.html").exists()


def test_figures_beside_the_page(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("one")
    write_file(folder, "robustness.json", ROBUSTNESS)
    write_file(folder, "confusion.json", CONFUSION)
    written = write_figures([folder], tmp_path / "figures")
    names = ("accuracy", "sparsity", "sops", "settling", "robustness", "confusion")
    assert {path.name for path in written} == {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    assert all(path.read_bytes().startswith((b"<?xml", b"\x89PNG")) for path in written)
