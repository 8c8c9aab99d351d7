"""What the page claims, and what it leaves out: proofs that failed, conventions, steps before those that count."""

from pathlib import Path

from isospike.report import write_report

from .conftest import MakeRun
from .test_page import VERIFY, make_page


def test_differing_tensors_are_no_equality(make_run: MakeRun, tmp_path: Path) -> None:
    """A flipped sign of the classifier changes no count, and is a proof that failed all the same."""
    folder = make_run("one", verify={**VERIFY, "differing_tensors": ["classifier"]})
    text = make_page(tmp_path, folder).read_section("headline")
    assert "not equal stored tensors differ: classifier" in text
    assert "T = 7 on all" not in text


def test_steps_before_those_that_count_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    snn = {"accuracy": [0.5, 0.99], "spikes_per_image": [1.0, 2.0], "sops_per_image": [1.0, 2.0]}
    rated = make_run(
        "srp", recipe="srp", steps=2, snn={**snn, "settled": None, "tau": 4}, loss={"agreement": [0.5, 1.0]}
    )
    other = make_run("qcfs", recipe="qcfs", steps=2, snn={**snn, "settled": None, "tau": 0})
    found = make_page(tmp_path, rated, other)
    assert "T = 2 (6 in all)" in found.read_section("headline")
    assert "srp (+4 steps before)" in found.read_section("accuracy")
    assert "qcfs (+" not in found.read_section("accuracy")


def test_other_conventions_are_named_and_not_compared_with_macs(make_run: MakeRun, tmp_path: Path) -> None:
    simulation = {"steps": 4, "propagation": "within-step", "sops": "scatter-gather", "count_encoder": True}
    text = make_page(tmp_path, make_run("one", simulation=simulation)).read_section("headline")
    assert "counted as the scatter-gather paper does" in text and "× the ANN's" not in text
    # by hand: 120 spikes of 576 + 128 neurons
    assert "0.17 per neuron of layers 1 to the last hidden one" in text


def test_no_share_of_silence_where_neurons_fire_several_spikes(make_run: MakeRun, tmp_path: Path) -> None:
    page = make_page(tmp_path, make_run("one", method="scatter-gather"))
    assert "sparsity" in page.read_section("layers")
    shares = [text for _, text in page.find("tr") if text.startswith("conv1")]
    assert shares and all("%" not in text for text in shares)


def test_names_that_no_text_can_hold_do_not_stop_a_page(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("one", recipe="\ud800")
    write_report([folder], tmp_path / "report.html")
    odd = folder.rename(tmp_path / "odd\udcff")
    assert "odd" in write_report([odd], tmp_path / "odd.html").read_text()


def test_spikes_per_neuron_leave_out_every_layer_that_pixels_alone_reach(make_run: MakeRun, tmp_path: Path) -> None:
    def layer(name: str, neurons: int, sops: list[float] | None) -> dict[str, object]:
        return {"name": name, "neurons": neurons, "positive": [1.0], "negative": [0.0], "sops": sops}

    layers = [layer("left", 50, None), layer("right", 50, None), layer("conv2", 60, [5.0]), layer("dense1", 40, [7.0])]
    classifier = {"name": "classifier", "neurons": 10, "positive": None, "negative": None, "sops": [1.0]}
    snn = {"accuracy": [0.9], "spikes_per_image": [150.0], "sops_per_image": [12.0]}
    page = make_page(tmp_path, make_run("one", steps=1, snn=snn, layers=[*layers, classifier]))
    assert "1.50 per neuron of layers 2" in page.read_section("headline")  # of 60 + 40


def test_macs_are_those_of_the_layers_whose_operations_count(make_run: MakeRun, tmp_path: Path) -> None:
    simulation = {"steps": 4, "propagation": "within-step", "sops": "negative-spike", "count_encoder": False}
    run = make_run("one", simulation={**simulation, "macs_per_image": 100_000})
    text = make_page(tmp_path, run).read_section("headline")
    assert "counted as the negative-spike paper does; 0.50 × the ANN's 100 k MACs" in text
