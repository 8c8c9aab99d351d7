"""ONNX: a small ResNet as PyTorch exports it, float and QDQ, captured, converted, and equal to what it was."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isospike import convert, simulate, verify
from isospike.errors import ConversionError, FileError, IsospikeError
from isospike.experiment.own_network import capture_own
from isospike.experiment.own_settings import OwnNetwork, PixelScale
from isospike.graph import Activation, Convolution, Dense, Rectifier, SpikingGraph
from isospike.networks import evaluate_capture, read_onnx
from tests.networks.onnx_models import SHAPE, export, make_file, make_resnet, quantise

onnx = pytest.importorskip("onnx")
helper = onnx.helper
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


FLOAT = onnx.TensorProto.FLOAT
FLAT = ("Flatten", ["x"], ["f"])
WEIGHT = np.random.default_rng(1).standard_normal((3, 32)).astype(np.float32)
SCALE, ZERO = np.array(0.5, np.float32), np.array(0, np.uint8)
REFUSED: list[tuple[str, Callable[[Path], None], type[IsospikeError], str]] = [
    ("missing", lambda _: None, FileError, "expected an ONNX model"),
    ("text", lambda path: path.write_text("no protobuf"), FileError, "expected an ONNX model"),
    ("sigmoid", make_file(("Sigmoid", ["x"], ["y"])), ConversionError, "(Sigmoid): cannot capture this operator"),
    ("softmax", make_file(("Softmax", ["x"], ["y"])), ConversionError, "return the logits"),
    ("unknown size", make_file(("Relu", ["x"], ["y"]), shape=("n", 2, "h", "w")), ConversionError, "fixed height"),
    (
        "one-sided padding",
        make_file(("Conv", ["x", "w"], ["y"], {"pads": [0, 0, 1, 1]}), w=np.ones((2, 2, 2, 2), np.float32)),
        ConversionError,
        "pad both sides alike",
    ),
    (
        "ceil mode",
        make_file(("MaxPool", ["x"], ["y"], {"kernel_shape": [3, 3], "ceil_mode": 1})),
        ConversionError,
        "ceil_mode=False",
    ),
    (
        "another scale",
        make_file(("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "t", "z"], ["y"]),
              s=SCALE, t=SCALE * 2, z=ZERO),
        ConversionError,
        "integers of another scale",
    ),
    (
        "integer arithmetic",
        make_file(("QuantizeLinear", ["x", "s", "z"], ["q"]), ("Add", ["q", "q"], ["y"]), s=SCALE, z=ZERO),
        ConversionError,
        "arithmetic on integers",
    ),
    ("gate", make_file(("Mul", ["x", "x"], ["m"]), ("Flatten", ["m"], ["y"]), rank=2), ConversionError, "two signals"),
    (
        "bias of a size",
        make_file(FLAT, ("Shape", ["x"], ["s"], {"start": 1, "end": 2}), ("Cast", ["s"], ["c"], {"to": FLOAT}),
                  ("Mul", ["b", "c"], ["bias"]), ("Gemm", ["f", "w", "bias"], ["y"], {"transB": 1}),
                  rank=2, b=np.ones(3, np.float32), w=WEIGHT),
        ConversionError,
        "(Gemm): cannot capture the input 'bias', which is neither",
    ),
    (
        "ceiling of a size",
        make_file(("Shape", ["x"], ["s"], {"start": 1, "end": 2}), ("Cast", ["s"], ["c"], {"to": FLOAT}),
                  ("Squeeze", ["c"], ["m"]), ("Clip", ["x", "low", "m"], ["y"]), low=np.array(0, np.float32)),
        ConversionError,
        "(Clip): cannot capture the input 'm', which is neither",
    ),
    (
        "float8 weights",
        make_file(FLAT, ("DequantizeLinear", ["w", "s"], ["dq"]), ("Gemm", ["f", "dq"], ["y"], {"transB": 1}),
                  rank=2, s=SCALE, w=helper.make_tensor("w", onnx.TensorProto.FLOAT8E4M3FN, (3, 32), [0.5] * 96)),
        ConversionError,
        "(DequantizeLinear): cannot capture constants quantised to float8",
    ),
    (
        "blocks",
        make_file(FLAT, ("DequantizeLinear", ["w", "s"], ["dq"], {"axis": 1, "block_size": 2}),
                  ("Gemm", ["f", "dq"], ["y"], {"transB": 1}),
                  rank=2, w=np.ones((3, 32), np.int8), s=np.ones((3, 16), np.float32)),
        ConversionError,
        "a scale for each block",
    ),
    (
        "scale of 0",
        make_file(("QuantizeLinear", ["x", "s"], ["q"]), ("DequantizeLinear", ["q", "s"], ["y"]), s=SCALE * 0),
        ConversionError,
        "one scale above 0",
    ),
    (
        "batch statistics",
        make_file(("BatchNormalization", ["x", "a", "a", "a", "a"], ["y", "mean", "variance"], {"training_mode": 1}),
                  a=np.ones(2, np.float32)),
        ConversionError,
        "(BatchNormalization): cannot capture a BatchNorm that uses the statistics of each batch",
    ),
    (
        "dropout left on",
        make_file(("Dropout", ["x", "ratio", "training"], ["y"]), ratio=SCALE, training=np.array(True)),
        ConversionError,
        "(Dropout): cannot capture a dropout that drops",
    ),
    (
        "rounded images",
        make_file(("Cast", ["x"], ["i"], {"to": 7}), ("Cast", ["i"], ["y"], {"to": FLOAT})),
        ConversionError,
        "(Cast): cannot capture a conversion of the images",
    ),
    (
        "bytes that wrap",
        make_file(("Sub", ["x", "b"], ["d"]), ("Cast", ["d"], ["y"], {"to": FLOAT}), kind=onnx.TensorProto.UINT8,
                  b=np.array(128, np.uint8)),
        ConversionError,
        "(Sub): cannot capture arithmetic on integers: convert the images to floats first",
    ),
    (
        "signed bytes",
        make_file(("Cast", ["x"], ["y"], {"to": FLOAT}), kind=onnx.TensorProto.INT8),
        ConversionError,
        "x: expected images of uint8 or floats, got INT8",
    ),
    (
        "a vector as weight",
        make_file(FLAT, ("MatMul", ["f", "w"], ["y"]), rank=1, w=WEIGHT[0]),
        ConversionError,
        "(MatMul): cannot capture a weight of 1 dimensions",
    ),
    (
        "a batch of weights",
        make_file(FLAT, ("MatMul", ["f", "w"], ["y"]), rank=3, w=WEIGHT.T[None]),
        ConversionError,
        "(MatMul): cannot capture a weight of 3 dimensions",
    ),
    (
        "a bias for each image",
        make_file(FLAT, ("Gemm", ["f", "w", "b"], ["y"], {"transB": 1}), shape=(3, 2, 4, 4), rank=2, w=WEIGHT,
                  b=np.ones((3, 1), np.float32)),
        ConversionError,
        "(Gemm): cannot capture a bias of shape (3, 1)",
    ),
    (
        "images in a branch",
        make_file(("If", ["yes"], ["y"], {f"{name}_branch": helper.make_graph(
            [helper.make_node("Relu", ["x"], ["t"])], name, [], [helper.make_tensor_value_info("t", FLOAT, None)])
            for name in ("then", "else")}), yes=np.array(True)),
        ConversionError,
        "(If): cannot work out this operator",
    ),
    (
        "a constant",
        make_file(("Add", ["b", "b"], ["y"]), b=np.ones((1, 2, 4, 4), np.float32)),
        ConversionError,
        "y: expected the first output of an operator on the images",
    ),
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
    write = make_file(
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


def test_operators_of_an_older_version(tmp_path: Path) -> None:
    """Constants are worked out as the file's own version says; a Transpose without an order turns axes around."""
    integers = np.random.default_rng(0).integers(-9, 9, (3, 32)).astype(np.int8)
    write = make_file(
        ("Unsqueeze", ["b"], ["u"], {"axes": [1, 2]}),
        ("Add", ["x", "u"], ["a"]),
        ("Flatten", ["a"], ["f"]),
        ("DequantizeLinear", ["w", "s"], ["dq"]),
        ("Transpose", ["dq"], ["t"]),
        ("MatMul", ["f", "t"], ["y"]),
        opset=11,
        rank=2,
        b=np.array([1, -2], np.float32),
        w=integers,
        s=SCALE,
    )
    write(tmp_path / "net.onnx")
    torch.manual_seed(0)
    images = torch.randn(9, 2, 4, 4) * 3
    ann = read_onnx(tmp_path / "net.onnx")
    shifted = images.numpy() + np.array([1, -2], np.float32).reshape(2, 1, 1)
    compare(ann, images, shifted.reshape(9, -1) @ integers.T * 0.5)  # the reference lacks that DequantizeLinear
    assert next(node for node in ann if isinstance(node, Dense)).weight.dtype == np.int8


@pytest.mark.parametrize("before", [[], [("Relu", ["x"], ["r"])]], ids=["signed", "behind a ReLU"])
def test_the_type_without_a_zero_point(tmp_path: Path, before: list[tuple[str, list[str], list[str]]]) -> None:
    """QuantizeLinear to int8 by its attribute: 127 levels above zero, 128 below."""
    make_file(
        *before,
        ("QuantizeLinear", ["r" if before else "x", "s"], ["q"], {"output_dtype": onnx.TensorProto.INT8}),
        ("DequantizeLinear", ["q", "s"], ["d"]),
        ("Flatten", ["d"], ["f"]),
        ("Gemm", ["f", "w"], ["y"], {"transB": 1}),
        rank=2,
        s=np.array(0.01, np.float32),
        w=WEIGHT,
    )(tmp_path / "net.onnx")
    torch.manual_seed(0)
    images = torch.randn(9, 2, 4, 4) * 2
    compare(read_onnx(tmp_path / "net.onnx"), images, evaluate(tmp_path / "net.onnx", images))


def test_raw_pixels(tmp_path: Path) -> None:
    """A file that takes uint8 normalises them itself, on the command line too; reshapes may come before."""
    path = tmp_path / "net.onnx"
    make_file(
        ("Flatten", ["x"], ["f"]),
        ("Cast", ["f"], ["i"], {"to": onnx.TensorProto.INT32}),
        ("Cast", ["i"], ["c"], {"to": FLOAT}),
        ("Gemm", ["c", "w"], ["y"], {"transB": 1}),
        kind=onnx.TensorProto.UINT8,
        rank=2,
        w=WEIGHT,
    )(path)
    images = torch.randint(0, 256, (20, 2, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    own = OwnNetwork(str(path), None, (2, 4, 4), None, "counting", {})
    graph = capture_own(own)
    assert (graph.input.divisor, graph.input.floats) == (1, False)
    compare(graph, images, evaluate(path, images))
    for scale in (PixelScale(), PixelScale(mean=(0.5, 0.5), deviation=(0.2, 0.2))):
        with pytest.raises(ConversionError, match="takes raw pixels already: leave --mean, --std and --pixels out"):
            capture_own(replace(own, pixels=scale))
    with pytest.raises(ConversionError, match="takes raw pixels already, as uint8: leave pixels out"):
        read_onnx(path, pixels=((0.5, 0.5), (0.2, 0.2)))
