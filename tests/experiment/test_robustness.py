"""Accuracy under faults: the table, the interval, and files that grow cell by cell and are gone on with."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from isospike.data import ImageSet
from isospike.errors import DataError, FileError, GraphError, RecipeError, SimulationError
from isospike.experiment import robustness
from isospike.experiment.robustness import COLUMNS, find_interval, make_plan, measure_robustness
from isospike.experiment.stresses import STRESSES, Scene
from isospike.simulator import simulate
from isospike.zoo import find
from tests.metrics.test_description import build_counting
from tests.simulator.test_interference import build_sum

FACTS = {"recipe": "tiny", "dataset": "none", "command": ["isospike"], "graph": "abc", "versions": {}}


def draw_images(number: int = 12) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (number, 2, 5, 5), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(number) % 3)


def follow(_name: str, _total: int) -> Any:
    return lambda done: None  # noqa: ARG005


def measure(
    folder: Path, *names: str, severities: tuple[float, ...] | None = None, seeds: int = 3, **other: Any
) -> Any:
    plan = make_plan(names, severities, seeds, 4, batch_size=5)
    return measure_robustness(build_counting(), draw_images(), plan, folder, {**FACTS, **other}, follow)


def test_spikes_propagate_as_in_the_run(tmp_path: Path) -> None:
    test = draw_images()
    plan = make_plan(("drop",), (0.5,), 1, 4, propagation="layer-per-step")
    found = measure_robustness(build_counting(), test, plan, tmp_path, FACTS, follow)
    late = simulate(build_counting(), test.images, 4, propagation="layer-per-step")
    assert found["propagation"] == "layer-per-step"
    assert found["baseline"]["accuracy_over_time"] == (late.predictions == test.labels).double().mean(1).tolist()
    assert found["baseline"]["settled"] == float(late.settled[-1].double().mean())
    with pytest.raises(FileError, match=r"propagation layer-per-step; expected .*, propagation within-step: give"):
        measure(tmp_path, "drop", severities=(0.5,), seeds=1)
    # files from before it was noted were made within the step
    content = json.loads((tmp_path / "robustness.json").read_text())
    (tmp_path / "robustness.json").write_text(json.dumps({k: v for k, v in content.items() if k != "propagation"}))
    with pytest.raises(FileError, match=r"propagation within-step; expected .*, propagation layer-per-step: give"):
        measure_robustness(build_counting(), test, plan, tmp_path, FACTS, follow)


def test_the_interval_by_hand() -> None:
    # mean 0.2, s = 0.1, t(0.975, 2) = 4.302653 from the table: half a width of 0.2484
    low, high, spread = find_interval([0.1, 0.2, 0.3])
    assert spread == pytest.approx(0.1)
    assert low == 0.0  # cut
    assert high == pytest.approx(0.2 + 4.302653 * 0.1 / 3**0.5, abs=1e-6)
    # t(0.975, 4) = 2.776445
    low, high, spread = find_interval([0.5, 0.5, 0.5, 0.6, 0.4])
    assert spread == pytest.approx(0.005**0.5)
    assert low == pytest.approx(0.5 - 2.776445 * 0.005**0.5 / 5**0.5, abs=1e-6)
    assert find_interval([0.9, 0.9]) == (0.9, 0.9, 0)
    assert find_interval([0.9]) == (None, None, None)


def test_what_is_written_is_what_docs_say(tmp_path: Path) -> None:
    found = measure(tmp_path, "drop", "saturation", "bit-flips", severities=None)
    assert json.loads((tmp_path / "robustness.json").read_text()) == found
    assert found["format"] == "isospike.robustness"
    assert found["complete"] is True
    assert [fault["name"] for fault in found["faults"]] == ["bit-flips", "drop", "saturation"]
    schema = (Path(__file__).parents[2] / "docs" / "robustness.md").read_text()
    for key in (*found, *found["baseline"], *found["faults"][0]["cells"][0]):
        assert f"`{key}`" in schema or f".{key}`" in schema, key
    bits = found["faults"][-1]
    assert bits["seeded"] is False
    assert [cell["severity"] for cell in bits["cells"]] == sorted(STRESSES["saturation"].severities, reverse=True)
    assert all(cell["seeds"] == [0] and cell["low"] is None for cell in bits["cells"])
    rows = [line.split(",") for line in (tmp_path / "robustness.csv").read_text().splitlines()]
    assert rows[0] == list(COLUMNS)
    cells = [(fault["name"], cell) for fault in found["faults"] for cell in fault["cells"]]
    assert [(row[0], float(row[1]), float(row[3])) for row in rows[1:]] == [
        (name, cell["severity"], cell["mean"]) for name, cell in cells
    ]


@pytest.mark.parametrize("name", list(STRESSES))
def test_a_cell_is_the_simulation_of_its_scene(name: str, tmp_path: Path) -> None:
    stress = STRESSES[name]
    severity = stress.severities[-1]
    (fault,) = measure(tmp_path, name, severities=(severity,), seeds=2)["faults"]
    (cell,) = fault["cells"]
    test = draw_images()
    for seed, accuracy in zip(cell["seeds"], cell["accuracies"], strict=True):
        scene = stress.apply(Scene(build_counting(), test.images), severity, seed)
        run = simulate(scene.graph, scene.images, 4, faults=scene.faults, engine="torch")
        assert accuracy == pytest.approx(float((run.predictions[-1] == test.labels).double().mean()))


@pytest.mark.parametrize("name", [name for name, stress in STRESSES.items() if stress.harmless is not None])
def test_no_severity_does_nothing(name: str, tmp_path: Path) -> None:
    found = measure(tmp_path, name, severities=(0,), seeds=1)
    cell, baseline = found["faults"][0]["cells"][0], found["baseline"]
    assert cell["mean"] == baseline["accuracy"]
    for key in ("accuracy_over_time", "spikes_per_image", "sops_per_image", "settled"):
        assert cell[key] == baseline[key]


def test_an_interrupted_measurement_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def count(*arguments: Any, **options: Any) -> Any:
        runs.append(options["faults"])
        if len(runs) == 6:  # the baseline, three seeds of the first cell, and the second run of the second
            raise KeyboardInterrupt
        return simulate(*arguments, **options)

    monkeypatch.setattr(robustness, "simulate", count)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, "drop", severities=(0.1, 0.5))
    left = json.loads((tmp_path / "robustness.json").read_text())
    assert left["complete"] is False
    assert [cell["severity"] for cell in left["faults"][0]["cells"]] == [0.1]
    runs.clear()
    monkeypatch.setattr(robustness, "simulate", lambda *a, **o: runs.append(o["faults"]) or simulate(*a, **o))
    found = measure(tmp_path, "drop", severities=(0.1, 0.5))
    assert len(runs) == 1 + 3
    assert found["complete"] is True
    assert found["faults"] == measure(tmp_path / "anew", "drop", severities=(0.1, 0.5))["faults"]


def test_cells_of_other_faults_stay_and_more_seeds_are_measured(tmp_path: Path) -> None:
    measure(tmp_path, "drop", severities=(0.5,), seeds=1)
    both = measure(tmp_path, "dead", severities=(0.5,), seeds=1)
    assert [fault["name"] for fault in both["faults"]] == ["drop", "dead"]
    more = measure(tmp_path, "drop", severities=(0.1, 0.5), seeds=2)
    assert [cell["seeds"] for cell in more["faults"][0]["cells"]] == [[0, 1], [0, 1]]


def test_cells_with_more_seeds_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure(tmp_path, "drop", severities=(0.5,), seeds=3)
    runs: list[Any] = []
    monkeypatch.setattr(robustness, "simulate", lambda *a, **o: runs.append(o["faults"]) or simulate(*a, **o))
    assert measure(tmp_path, "drop", severities=(0.5,), seeds=1)["faults"] == first["faults"]
    assert runs == [()]  # the baseline alone


def test_cells_of_another_graph_or_of_other_steps_are_not_lost(tmp_path: Path) -> None:
    measure(tmp_path, "drop", severities=(0.1, 0.5), seeds=1)
    files = [tmp_path / "robustness.json", tmp_path / "robustness.csv"]
    before = [path.read_bytes() for path in files]
    words = r"has 2 cells of 12 images, 4 steps, snn\.safetensors abc; expected .*, snn\.safetensors def: give the same"
    with pytest.raises(FileError, match=words):
        measure(tmp_path, "dead", severities=(0.5,), seeds=1, graph="def")
    plan = make_plan(("dead",), (0.5,), 1, 3)
    with pytest.raises(FileError, match="has 2 cells of 12 images, 4 steps; expected 5 images, 3 steps: give"):
        measure_robustness(build_counting(), draw_images().first(5), plan, tmp_path, FACTS, follow)
    with pytest.raises(FileError, match=r"dataset none; expected 12 images, 4 steps, dataset mnist: .* delete it$"):
        measure(tmp_path, "dead", severities=(0.5,), seeds=1, dataset="mnist")
    assert [path.read_bytes() for path in files] == before


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "robustness.json").write_text("{}")
    with pytest.raises(FileError, match=r"robustness\.json: expected isospike\.robustness"):
        measure(tmp_path, "drop")
    assert (tmp_path / "robustness.json").read_text() == "{}"


def test_what_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"--faults: expected some of uniform-noise, .* got 'rust'"):
        measure(tmp_path, "rust")
    with pytest.raises(RecipeError, match="--seeds"):
        measure(tmp_path, "drop", seeds=0)
    with pytest.raises(RecipeError, match="different units"):
        measure(tmp_path, "drop", "saturation", severities=(0.1,))
    with pytest.raises(SimulationError, match=r"^--severities 1\.5: drop: expected a probability .* got 1\.5$"):
        measure(tmp_path, "drop", severities=(0.1, 1.5))
    with pytest.raises(SimulationError, match=r"^--severities 7\.5: saturation: expected whole numbers of bits"):
        measure(tmp_path, "saturation", severities=(8, 7.5))
    with pytest.raises(GraphError, match=r"^--severities 2: bit-flips: expected a number from 0 to 1"):
        measure(tmp_path, "bit-flips", severities=(2,))
    with pytest.raises(DataError, match=r"^--severities -1: salt-and-pepper: expected a probability"):
        measure(tmp_path, "salt-and-pepper", severities=(-1,))
    for name in ("uniform-noise", "gaussian-noise"):
        with pytest.raises(DataError, match=rf"^--severities 1e\+308: {name}: expected .*0 to 1000, got 1e\+308$"):
            measure(tmp_path, name, severities=(1, 1e308))
    assert not list(tmp_path.iterdir())


def test_encoder_drop_hits_the_encoder_alone() -> None:
    scene = STRESSES["encoder-drop"].apply(Scene(build_sum(), torch.tensor([[[[3, 1]]]], dtype=torch.uint8)), 1.0, 0)
    run = simulate(scene.graph, scene.images, faults=scene.faults)
    assert run.positive["encoder.neuron"].sum() == 4
    assert run.sops["hidden"].sum() == 0


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "results").glob("*/robustness.json")), ids=str)
def test_what_is_published_is_whole(path: Path) -> None:
    found = json.loads(path.read_text())
    assert found["complete"] is True
    assert [fault["name"] for fault in found["faults"]] == list(STRESSES)
    assert found["images"] >= 1000
    assert (path.parent / "robustness.csv").read_text() == robustness.format_csv(found)
    assert found["graph"] == sha256(find(path.parent.name).graph_path.read_bytes()).hexdigest()
    for fault in found["faults"]:
        for cell in fault["cells"]:
            assert len(cell["seeds"]) == len(cell["accuracies"]) == (5 if fault["seeded"] else 1)
            assert (cell["low"], cell["high"], cell["spread"]) == find_interval(cell["accuracies"])
