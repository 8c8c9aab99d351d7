"""The C program gives the simulator's logits at every step, and compiles without a warning."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from isospike import convert, save_graph, simulate
from isospike.cli.program import run
from isospike.errors import ExportError
from isospike.export import export_c
from isospike.export.c.sizes import STRICT
from isospike.graph import Dense, Flatten, Input, Readout, SpikingGraph
from tests.engine.graphs import GraphBuilder, graphs
from tests.export.branches import draw_branched_graph
from tests.export.programs import SANITIZE, assert_same, compile_program, find_compilers, run_program
from tests.problems import PROBLEMS, Problem

COMPILERS = find_compilers()
pytestmark = pytest.mark.skipif("gcc" not in COMPILERS, reason="there is no gcc")


def make_graph(seed: int = 1, t_max: int = 4, out: int = 5) -> tuple[SpikingGraph, np.ndarray]:
    """One of every layer, and a few images."""
    builder = GraphBuilder(np.random.default_rng(seed), t_max)
    builder.add_input(2, 6, 5)
    builder.add_convolution(out, wide=True)
    builder.add_neuron(4, 1, table=False)
    builder.add_pool("max", 1)
    builder.add_convolution(out)
    builder.add_pool("avg", 1)
    builder.add_neuron(None, 1, table=True)
    builder.add_dense(out)
    builder.add_neuron(3, 2, table=False)
    return builder.finish(3), builder.rng.integers(0, 256, (3, 2, 6, 5), dtype=np.uint8)


@settings(max_examples=20, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(case=graphs(), weights=st.sampled_from(["packed", "bytes"]))
def test_random_graphs(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[SpikingGraph, np.ndarray], weights: str
) -> None:
    graph, images = case
    folder = tmp_path_factory.mktemp("c")
    try:
        export_c(graph, folder, weights)
    except ExportError as error:
        assert "32 bits" in str(error)
        reject()
    assert_same(compile_program(folder), graph, images)


@pytest.mark.parametrize("seed", range(6))
def test_branches(tmp_path: Path, seed: int) -> None:
    graph, images = draw_branched_graph(seed)
    export_c(graph, tmp_path, ("packed", "bytes")[seed % 2])
    assert_same(compile_program(tmp_path), graph, images)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda each: each.name)
def test_problems(tmp_path: Path, problem: Problem) -> None:
    """Logits that were worked out by hand."""
    graph = convert(problem.ann, "all-integer")
    export_c(graph, tmp_path)
    logits, settled = run_program(compile_program(tmp_path), problem.image.numpy())
    assert logits[-1, 0].tolist() == problem.logits
    assert settled[-1].all()


@pytest.mark.parametrize("weights", ["packed", "bytes"])
def test_compilers(tmp_path: Path, weights: str) -> None:
    """Sanitizers find nothing, and another compiler has no warning and the same results."""
    for number, (graph, images) in enumerate([make_graph(), make_graph(2, out=40), draw_branched_graph(7)]):
        folder = tmp_path / str(number)
        export_c(graph, folder, weights)
        assert_same(compile_program(folder, flags=SANITIZE), graph, images)
        for compiler in COMPILERS[1:]:
            assert_same(compile_program(folder, compiler=compiler), graph, images)


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="there is no cross compiler for ARM")
@pytest.mark.parametrize("seed", [3, 4])
def test_cortex_m(tmp_path: Path, seed: int) -> None:
    """Compiles for a microcontroller, links with nothing, and its size is in metrics.json."""
    graph, _ = draw_branched_graph(seed)
    export_c(graph, tmp_path)
    target = tmp_path / "snn.o"
    flags = ["-O2", "-mcpu=cortex-m0", "-mthumb", "-ffreestanding", "-c"]
    subprocess.run(["arm-none-eabi-gcc", *STRICT, *flags, str(tmp_path / "snn.c"), "-o", str(target)], check=True)
    shown = subprocess.run(["arm-none-eabi-nm", "-u", str(target)], capture_output=True, text=True, check=True)
    wanted = {line.split()[-1] for line in shown.stdout.splitlines()}
    # what the compiler itself brings: no FPU, no divider on a Cortex-M0, and loops that it takes for memset
    assert all(
        name.startswith("__aeabi_u")
        or name.startswith("__aeabi_i")
        or name.startswith("__gnu_thumb")
        or name in ("memset", "memcpy")
        for name in wanted
    ), wanted
    assert json.loads((tmp_path / "metrics.json").read_text())["targets"]["cortex-m4"] > 0


def test_no_float_no_heap_no_library(tmp_path: Path) -> None:
    graph, _ = make_graph()
    export_c(graph, tmp_path)
    text = (tmp_path / "snn.c").read_text() + (tmp_path / "snn.h").read_text()
    assert re.findall(r"#include .*", text) == ['#include "snn.h"', "#include <stdint.h>"]
    assert not re.search(r"float|double|alloc", text)
    subprocess.run(["gcc", *STRICT, "-O1", "-c", str(tmp_path / "snn.c"), "-o", str(tmp_path / "snn.o")], check=True)
    shown = subprocess.run(["nm", str(tmp_path / "snn.o")], capture_output=True, text=True, check=True).stdout
    kinds = {line.split()[-1]: line.split()[-2] for line in shown.splitlines()}
    assert {name for name, kind in kinds.items() if kind == "T"} == {
        "snn_init",
        "snn_step",
        "snn_logits",
        "snn_is_settled",
    }
    assert not {name for name, kind in kinds.items() if kind in "bBdDC"}, "nothing but constants outside of the state"
    assert {name for name, kind in kinds.items() if kind == "U"} <= {"memset", "_GLOBAL_OFFSET_TABLE_"}


def test_sizes(tmp_path: Path) -> None:
    """RAM is what sizeof says (the program asserts it), packed weights take a quarter, metrics.json has both."""
    graph, images = make_graph(out=64)
    packed, plain = export_c(graph, tmp_path / "p").sizes, export_c(graph, tmp_path / "b", "bytes").sizes
    assert packed.ram_bytes == plain.ram_bytes
    assert packed.constant_bytes < plain.constant_bytes
    assert packed.flash_bytes is not None and packed.flash_bytes >= packed.constant_bytes
    written = json.loads((tmp_path / "p" / "metrics.json").read_text())
    assert written["ram_bytes"] == packed.ram_bytes
    assert written["flash_bytes"] == packed.flash_bytes
    assert written["weights"] == "packed"
    program = compile_program(tmp_path / "p")
    done = subprocess.run([str(program)], input=images.tobytes(), capture_output=True, check=True)
    assert done.stderr.decode() == f"snn: state {packed.ram_bytes} bytes\n"


def test_host_program(tmp_path: Path) -> None:
    """make, a file or standard input, class and steps, fewer steps; other names for two networks in one firmware."""
    graph, images = make_graph(t_max=9)
    export_c(graph, tmp_path, name="digits")
    subprocess.run(["make", "-s", "-C", str(tmp_path), "CFLAGS=-O1"], check=True)
    (tmp_path / "images").write_bytes(images.tobytes())
    done = subprocess.run(
        [str(tmp_path / "digits"), "-s", "8", str(tmp_path / "images")], capture_output=True, text=True, check=True
    )
    simulation = simulate(graph, torch.from_numpy(images), 8, dtype="int64", early_stop=False)
    found = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    for image, (answer, steps) in enumerate(found):
        settled = simulation.settled[:, image].tolist()
        assert steps == (settled.index(True) + 1 if True in settled else 8)
        assert answer == simulation.logits[steps - 1, image].argmax()


@pytest.mark.parametrize(
    ("arguments", "sent", "words"),
    [
        (["-s", "99"], 60, "1 to 4 steps"),
        (["-x"], 60, "expected [-l]"),
        (["nowhere"], 60, "cannot be opened"),
        ([], 59, "whole images of 60 bytes"),
        ([], 0, "whole images of 60 bytes"),
    ],
)
def test_host_program_refuses(tmp_path: Path, arguments: list[str], sent: int, words: str) -> None:
    export_c(make_graph()[0], tmp_path)
    program = compile_program(tmp_path)
    done = subprocess.run([str(program), *arguments], input=bytes(sent), capture_output=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr.decode()


def test_no_more_steps_than_proved(tmp_path: Path) -> None:
    """After T_max steps the network refuses to go on, and stays as it is."""
    export_c(make_graph(t_max=2)[0], tmp_path)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "snn.h"\nint main(void)\n{\n    static snn_state s;\n    static uint8_t i[60];\n'
        '    snn_init(&s, i);\n    printf("%d %d ", snn_step(&s), snn_step(&s));\n'
        '    printf("%d %d", snn_step(&s), snn_step(&s));\n    return 0;\n}\n'
    )
    done = subprocess.run([str(compile_program(tmp_path))], capture_output=True, text=True, check=True)
    assert done.stdout == "1 1 0 0"


def test_no_neurons(tmp_path: Path) -> None:
    """Pixels straight into the classifier; offsets that no pixel has."""
    nodes = (
        Input("pixels", (), (1, 2, 2), 1, np.array([300])),
        Flatten("flatten */ ??/", ("pixels",)),
        Dense("1 \\", ("flatten */ ??/",), np.array([[1, -2, 3, 100000], [0, 0, 0, 0]])),
        Readout("readout", ("1 \\",), np.array([70000, -5])),
    )
    graph = SpikingGraph(nodes, 2)
    export_c(graph, tmp_path)
    images = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2)
    assert_same(compile_program(tmp_path), graph, images)


def _change(name: str, **values: object) -> Callable[[SpikingGraph], SpikingGraph]:
    return lambda graph: SpikingGraph(
        tuple(replace(node, **values) if node.name.startswith(name) else node for node in graph), graph.t_max
    )


def _scale(name: str, factor: object) -> Callable[[SpikingGraph], SpikingGraph]:
    return lambda graph: _change(name, weight=graph[name].arrays["weight"] * factor)(graph)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: PROBLEMS[0].ann, "convert it first"),
        (_scale("conv1", 0.5), "expects integers"),
        (_change("readout", bias=np.array([2**40, 0, 0])), "32 bits"),
        (_scale("conv1", np.int64(2**55)), "32 bits"),
    ],
)
def test_refusals(tmp_path: Path, change: Callable[[SpikingGraph], SpikingGraph], words: str) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        export_c(change(make_graph()[0]), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("weights", "name"), [("nibbles", "snn"), ("packed", "main"), ("packed", "Two words")])
def test_options(tmp_path: Path, weights: str, name: str) -> None:
    with pytest.raises(ExportError, match="expected"):
        export_c(make_graph()[0], tmp_path, weights, name)


def test_the_sizes_of_a_run_are_in_its_metrics(tmp_path: Path) -> None:
    """``export c RUN`` adds the section ``c`` and leaves the others; ``export c FILE`` touches nothing beside it."""
    folder = tmp_path / "run"
    folder.mkdir()
    save_graph(make_graph()[0], folder / "snn.safetensors")
    (folder / "metrics.json").write_text(json.dumps({"snn": {"accuracy": [0.5]}}))
    assert run(["export", "c", str(folder / "snn.safetensors"), "-o", str(tmp_path / "c")]) == 0
    assert json.loads((folder / "metrics.json").read_text()) == {"snn": {"accuracy": [0.5]}}
    assert run(["export", "c", str(folder), "-o", str(tmp_path / "c")]) == 0
    written = json.loads((tmp_path / "c" / "metrics.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["snn"] == {"accuracy": [0.5]}
    assert metrics["c"] == {key: value for key, value in written.items() if key != "t_max"}
