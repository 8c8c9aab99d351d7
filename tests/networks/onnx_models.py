"""ONNX: a small ResNet as PyTorch exports it, float and quantised (QDQ); files of a few operators."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.networks.comparison import randomise_statistics

SHAPE = (3, 8, 8)


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """The block's maps."""
        inner = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(inner + self.shortcut(x))


class SmallResNet(nn.Module):
    """Two blocks, pooling of every kind, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.block1 = Block(4, 4, 1)
        self.block2 = Block(4, 8, 2)
        self.dense = nn.Linear(8, 6)
        self.classifier = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.block2(self.block1(self.pool(nn.functional.relu6(self.norm(self.stem(x))))))
        x = nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.classifier(torch.relu(self.dense(x)))


def make_resnet(seed: int = 0) -> nn.Module:
    """The network with random statistics, its logits centred so that images differ in their classes."""
    torch.manual_seed(seed)
    model = SmallResNet()
    randomise_statistics(model, seed).eval()
    with torch.no_grad():
        logits = model(torch.randn(64, *SHAPE))
        model.classifier.weight *= 5
        model.classifier.bias -= 5 * logits.mean(0) - 4 * model.classifier.bias
    return model


def export(model: nn.Module, path: Path, dynamic: bool = True) -> None:
    """PyTorch's own export."""
    example = torch.randn(2, *SHAPE)
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.onnx.export(model, (example,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    program.save(str(path))


def quantise(path: Path, target: Path, images: np.ndarray, whole: bool = True) -> None:
    """QDQ, as quantisers write it: int8 weights with a scale for each output (one for all in the classifier), uint8
    activations, and where ``whole`` an input of int8."""
    import onnx
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(str(path))
    graph = model.graph
    tensors = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    extra: list[Any] = []
    nodes: list[Any] = []
    renamed: dict[str, str] = {}

    def constant(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def pair(source: str, scale: float, zero: np.ndarray) -> str:
        names = constant(f"{source}.scale", np.array(scale, np.float32)), constant(f"{source}.zero", zero)
        nodes.append(helper.make_node("QuantizeLinear", [source, *names], [f"{source}.q"], name=f"{source}.Q"))
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{source}.q", *names], [f"{source}.dq"], name=f"{source}.D")
        )
        return f"{source}.dq"

    watched = [node.output[0] for node in graph.node if node.op_type in ("Relu", "Clip")]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in watched)
    found = ReferenceEvaluator(probe).run(watched, {graph.input[0].name: images})
    largest = {name: float(value.max()) for name, value in zip(watched, found, strict=True)}
    if whole:
        renamed[graph.input[0].name] = pair(
            graph.input[0].name, float(np.abs(images).max()) / 127, np.array(3, np.int8)
        )
    dense = [node.input[1] for node in graph.node if node.op_type == "Gemm"]
    for node in graph.node:
        inputs = list(node.input)
        if node.op_type in ("Conv", "Gemm") and inputs[1] in tensors:
            weight = tensors[inputs[1]]
            scale = np.abs(weight).reshape(len(weight), -1).max(1) / 127
            scale = np.full_like(scale, scale.max()) if inputs[1] == dense[-1] else scale
            spread = scale.reshape(-1, *[1] * (weight.ndim - 1))
            integers = np.clip(np.rint(weight / spread), -127, 127).astype(np.int8)
            name = inputs[1]
            parts = [constant(f"{name}.int8", integers), constant(f"{name}.scale", scale.astype(np.float32))]
            nodes.append(helper.make_node("DequantizeLinear", parts, [f"{name}.dq"], name=f"{name}.D", axis=0))
            inputs[1] = f"{name}.dq"
        del node.input[:]
        node.input.extend(renamed.get(name, name) for name in inputs)
        nodes.append(node)
        if node.output[0] in largest:
            scale = largest[node.output[0]] / 255
            renamed[node.output[0]] = pair(node.output[0], scale, np.array(0, np.uint8))
    for node in nodes:  # copies, for the graph owns those that it has
        extra.append(onnx.NodeProto())
        extra[-1].CopyFrom(node)
    del graph.node[:]
    graph.node.extend(extra)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def make_file(
    *nodes: Any,
    shape: tuple[Any, ...] = ("n", 2, 4, 4),
    rank: int = 4,
    opset: int = 21,
    kind: int = 1,
    **tensors: Any,
) -> Callable[[Path], None]:
    """Writes a file of a few nodes, from images x of ``kind`` (1 for float32) to y; ``tensors`` are its constants."""

    def write(path: Path) -> None:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        graph = helper.make_graph(
            [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
            "graph",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *(f"d{axis}" for axis in range(1, rank))])],
            [
                value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
                for name, value in tensors.items()
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 10
        onnx.save(model, str(path))

    return write
