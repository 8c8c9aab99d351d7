"""NIR: thresholds fold without a trace, our reader finds in the file what was put there, and what NIR cannot say is
refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isospike import convert, simulate
from isospike.errors import ExportError
from isospike.graph import IntegrateAndFire, SpikingGraph, load_graph, save_graph
from tests.export.nir_networks import draw_images, make_branches, make_chain
from tests.problems import PROBLEMS

nir = pytest.importorskip("nir")

from isospike.export import NirNetwork, export_nir, read_nir  # noqa: E402
from isospike.export.nir.folding import fold_thresholds  # noqa: E402

MAKERS = [make_chain, make_branches]


@pytest.mark.parametrize("make", MAKERS)
def test_folding_changes_no_spike(make: Callable[[], SpikingGraph]) -> None:
    graph = make()
    folded = fold_thresholds(graph)
    assert all((node.threshold == 1).all() for node in folded.neurons if isinstance(node, IntegrateAndFire))
    images, _ = draw_images(graph)
    before, after = (simulate(each, images, dtype="float64") for each in (graph, folded))
    for name, spikes in before.positive.items():
        assert int(spikes.sum()) > 20
        assert torch.equal(after.positive[name], spikes)
    torch.testing.assert_close(after.logits, before.logits)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("pool", ["sum", "average"])
def test_the_file_holds_the_graph(tmp_path: Path, make: Callable[[], SpikingGraph], pool: str) -> None:
    """With our own reset and no charge at the beginning, the file's spikes are the graph's: nothing else is lost."""
    graph = make()
    uncharged = SpikingGraph(
        tuple(
            replace(node, initial=node.initial * 0) if isinstance(node, IntegrateAndFire) else node for node in graph
        ),
        graph.t_max,
    )
    export_nir(uncharged, tmp_path / "net.nir", pool)
    images, pixels = draw_images(graph)
    record = read_nir(tmp_path / "net.nir", reset="subtract", at_threshold=True).run(pixels, 20)
    expected = simulate(uncharged, images, 20, dtype="float32")
    for name, spikes in expected.positive.items():
        assert int((record.spikes[name.replace(".", "_")] - spikes).abs().sum()) <= 1  # a tie may round either way
    means = record.outputs.double().cumsum(0) / torch.arange(1, 21)[:, None, None]
    assert (means.argmax(2) == expected.logits.argmax(2)).float().mean() > 0.95


def test_our_reader_obeys_nir() -> None:
    """By hand: one neuron, threshold 1; at the threshold it does not fire, and after a spike it is at 0."""
    one = np.ones(1, dtype=np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "if": nir.IF(r=one, v_threshold=one, v_reset=0 * one),
        "output": nir.Output({"output": np.array([1])}),
    }
    graph = nir.NIRGraph(nodes, [("input", "if"), ("if", "output")])

    def fire(current: float, **options: Any) -> list[int]:
        outputs = NirNetwork(graph, **options).run(torch.tensor([[current]]), 7).outputs
        return outputs.flatten().int().tolist()

    assert fire(0.5) == [0, 0, 1, 0, 0, 1, 0]
    assert fire(0.5, at_threshold=True) == [0, 1, 0, 1, 0, 1, 0]
    assert fire(0.75) == [0, 1, 0, 1, 0, 1, 0]
    assert fire(0.75, reset="subtract") == [0, 1, 1, 0, 1, 1, 1]
    assert fire(2.5, reset="multiple") == [2, 3, 2, 3, 2, 3, 2]
    assert fire(0.25, time_step=2.0) == fire(0.5)


def test_a_graph_without_output_is_refused() -> None:
    graph = nir.NIRGraph({"input": nir.Input({"input": np.array([1])})}, [], type_check=False)
    with pytest.raises(ExportError, match="no Output node"):
        NirNetwork(graph)


def test_v_reset_can_be_left_out(tmp_path: Path) -> None:
    import h5py

    graph = make_chain()
    for wanted in (True, False):
        path = export_nir(graph, tmp_path / "net.nir", v_reset=wanted).path
        with h5py.File(path) as file:
            assert [("v_reset" in file[f"node/nodes/{name}"]) for name in ("conv1_neuron", "dense1_neuron")] == [
                wanted
            ] * 2
    assert read_nir(path).run(draw_images(graph)[1], 2).outputs.shape == (2, 5, 3)


def test_notes_are_loud(tmp_path: Path) -> None:
    notes = "\n".join(export_nir(make_chain(), tmp_path / "net.nir").notes)
    for words in ("forgets what was above the threshold", "0.5 of the threshold", "SpikingJelly", "v_reset"):
        assert words in notes
    assert "leave AvgPool2d out" in "\n".join(export_nir(make_chain(), tmp_path / "net.nir", "average").notes)


def _change(**values: Any) -> SpikingGraph:
    graph = make_branches()
    return SpikingGraph(
        tuple(replace(node, **values) if isinstance(node, IntegrateAndFire) else node for node in graph),
        20,
        int("residual" in values),
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PROBLEMS[0].ann, "convert it first"),
        (lambda: convert(PROBLEMS[0].ann, "negative-spike"), "a counting neuron takes spikes back"),
        (lambda: convert(PROBLEMS[0].ann, "all-integer"), "a counting neuron takes spikes back"),
        (lambda: _change(lower=np.full(3, -0.1)), "these take spikes back"),
        (lambda: _change(residual=np.full(3, 0.1)), "silenced"),
    ],
)
def test_refusals(tmp_path: Path, make: Callable[[], SpikingGraph], words: str) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        export_nir(make(), tmp_path / "net.nir")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "net.nir").exists()


def test_other_files_and_options(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no HDF5")
    with pytest.raises(ExportError, match="expected a NIR file"):
        read_nir(tmp_path / "text")
    with pytest.raises(ExportError, match="pool"):
        export_nir(make_chain(), tmp_path / "net.nir", "max")
    export_nir(make_chain(), tmp_path / "net.nir")
    with pytest.raises(ExportError, match="reset"):
        read_nir(tmp_path / "net.nir", reset="soft")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = pytest.importorskip("isospike.cli.program").run
    save_graph(make_chain(), tmp_path / "snn.safetensors")
    arguments = ["export", "nir", str(tmp_path / "snn.safetensors"), "-o", str(tmp_path / "net.nir"), "--no-v-reset"]
    assert run(arguments) == 0
    shown = capsys.readouterr()
    assert "written" in shown.out
    assert "NOTE: NIR's IF is set to v_reset" in shown.err
    assert load_graph(tmp_path / "snn.safetensors").is_rate_coded
    read_nir(tmp_path / "net.nir")
