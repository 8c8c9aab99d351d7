"""ONNX: a small ResNet as PyTorch exports it, float and QDQ, captured, converted, and equal to what it was."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isospike import convert, simulate, verify
from isospike.errors import ConversionError, FileError, IsospikeError
from isospike.graph import Activation, Convolution, Dense, Rectifier, SpikingGraph
from isospike.networks import evaluate_capture, read_onnx
from tests.networks.onnx_models import SHAPE, export, make_resnet, quantise

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float.onnx, fixed.onnx (a batch of 2), qdq.onnx and pixels.onnx, whose input is not quantised."""
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter
        export(make_resnet(), path / "float.onnx")
        export(make_resnet(), path / "fixed.onnx", dynamic=False)
    images = draw_images().numpy()
    quantise(path / "float.onnx", path / "qdq.onnx", images)
    quantise(path / "float.onnx", path / "pixels.onnx", images, whole=False)
    return path


def draw_images() -> torch.Tensor:
    torch.manual_seed(5)
    return torch.randn(100, *SHAPE)


def evaluate(path: Path, images: torch.Tensor) -> np.ndarray:
    """What the onnx package's own reference makes of a file."""
    model = onnx.load(str(path))
    found: np.ndarray = onnx.reference.ReferenceEvaluator(model).run(None, {model.graph.input[0].name: images.numpy()})[
        0
    ]
    return found


def compare(ann: SpikingGraph, images: torch.Tensor, expected: np.ndarray) -> None:
    found = evaluate_capture(ann, images).numpy()
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert len(set(expected.argmax(1).tolist())) > 1


@pytest.mark.parametrize("name", ["float", "fixed"])
def test_float(folder: Path, name: str) -> None:
    """The module itself, any number of images."""
    images = draw_images()
    with torch.inference_mode():
        expected = make_resnet()(images).numpy()
    compare(read_onnx(folder / f"{name}.onnx"), images, expected)


@pytest.mark.parametrize("name", ["qdq", "pixels"])
def test_qdq(folder: Path, name: str) -> None:
    """The reference's evaluation; weights are the file's integers, ReLUs are part of the staircases."""
    ann = read_onnx(folder / f"{name}.onnx")
    images = draw_images()
    compare(ann, images, evaluate(folder / f"{name}.onnx", images))
    for node in ann:
        assert not isinstance(node, Rectifier)
        if isinstance(node, Convolution | Dense):
            assert node.weight.dtype == np.int8
            assert node.scale is not None
            assert int(abs(node.weight).max()) == 127
    activations = [node for node in ann if isinstance(node, Activation)]
    assert len(activations) == 6 + (name == "qdq")
    assert {node.levels for node in activations} == {255}


def test_a_quantised_resnet_converts(folder: Path) -> None:
    """From ONNX to spikes without loss: 0 mismatches, no tensor that differs."""
    ann = read_onnx(folder / "pixels.onnx", pixels=((0.5,) * 3, (0.25,) * 3))
    graph = convert(ann, "scatter-gather")
    images = torch.randint(0, 256, (20, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    found = verify(graph, ann, images, "scatter-gather")
    assert (found.mismatches, found.unsettled, found.differing_tensors) == (0, 0, [])
    assert simulate(graph, images).settled[-1].all()


def _make(
    *nodes: Any, shape: tuple[Any, ...] = ("n", 2, 4, 4), rank: int = 4, **tensors: np.ndarray
) -> Callable[[Path], None]:
    """A file of a few nodes, from x to y."""

    def write(path: Path) -> None:
        from onnx import TensorProto, helper, numpy_helper

        graph = helper.make_graph(
            [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *(f"d{axis}" for axis in range(1, rank))])],
            [numpy_helper.from_array(value, name) for name, value in tensors.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
        model.ir_version = 10
        onnx.save(model, str(path))

    return write


SCALE, ZERO = np.array(0.5, np.float32), np.array(0, np.uint8)
REFUSED: list[tuple[str, Callable[[Path], None], type[IsospikeError], str]] = [
    ("missing", lambda _: None, FileError, "expected an ONNX model"),
    ("text", lambda path: path.write_text("no protobuf"), FileError, "expected an ONNX model"),
    ("sigmoid", _make(("Sigmoid", ["x"], ["y"])), ConversionError, "(Sigmoid): cannot capture this operator"),
    ("softmax", _make(("Softmax", ["x"], ["y"])), ConversionError, "return the logits"),
    ("unknown size", _make(("Relu", ["x"], ["y"]), shape=("n", 2, "h", "w")), ConversionError, "fixed height"),
    (
        "one-sided padding",
        _make(("Conv", ["x", "w"], ["y"], {"pads": [0, 0, 1, 1]}), w=np.ones((2, 2, 2, 2), np.float32)),
        ConversionError,
        "pad both sides alike",
    ),
    (
        "ceil mode",
        _make(("MaxPool", ["x"], ["y"], {"kernel_shape": [3, 3], "ceil_mode": 1})),
        ConversionError,
        "ceil_mode=False",
    ),
    (
        "another scale",
        _make(("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "t", "z"], ["y"]),
              s=SCALE, t=SCALE * 2, z=ZERO),
        ConversionError,
        "integers of another scale",
    ),
    (
        "integer arithmetic",
        _make(("QuantizeLinear", ["x", "s", "z"], ["q"]), ("Add", ["q", "q"], ["y"]), s=SCALE, z=ZERO),
        ConversionError,
        "arithmetic on integers",
    ),
    ("gate", _make(("Mul", ["x", "x"], ["m"]), ("Flatten", ["m"], ["y"]), rank=2), ConversionError, "two signals"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("write", "kind", "message"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_refusals(tmp_path: Path, write: Callable[[Path], None], kind: type[IsospikeError], message: str) -> None:
    write(tmp_path / "net.onnx")
    with pytest.raises(kind) as caught:
        read_onnx(tmp_path / "net.onnx")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_operators(tmp_path: Path) -> None:
    """MatMul and bias, constants on both sides, concatenation, squeezing, a transposed quantised weight."""
    rng = np.random.default_rng(0)
    write = _make(
        ("Mul", ["x", "half"], ["scaled"]),
        ("Sub", ["one", "scaled"], ["shifted"]),
        ("Relu", ["shifted"], ["r"]),
        ("Concat", ["r", "scaled"], ["c"], {"axis": 1}),
        ("GlobalAveragePool", ["c"], ["g"]),
        ("Squeeze", ["g", "axes"], ["f"]),
        ("DequantizeLinear", ["w", "s"], ["dq"], {"axis": 0}),
        ("Transpose", ["dq"], ["t"], {"perm": [1, 0]}),
        ("MatMul", ["f", "t"], ["m"]),
        ("Add", ["bias", "m"], ["y"]),
        rank=2,
        half=np.array(0.5, np.float32),
        one=np.ones((1, 2, 1, 1), np.float32),
        axes=np.array([2, 3]),
        w=rng.integers(-9, 9, (3, 4)).astype(np.int8),
        s=rng.random(3).astype(np.float32),
        bias=np.array([-6, 11, 0], np.float32),
    )
    write(tmp_path / "net.onnx")
    torch.manual_seed(0)
    images = torch.randn(9, 2, 4, 4) * 3
    ann = read_onnx(tmp_path / "net.onnx")
    compare(ann, images, evaluate(tmp_path / "net.onnx", images))
    assert next(node for node in ann if isinstance(node, Dense)).weight.dtype == np.int8
