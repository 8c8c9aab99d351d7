"""The shape that each node gives, from the shapes it takes."""

from collections.abc import Sequence

from isospike.errors import GraphError
from isospike.graph.nodes import (
    Add,
    AveragePool,
    Concatenate,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Node,
    Pair,
    Readout,
)

Shape = tuple[int, ...]


def infer_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The shape of ``node``'s signal for one image, without the batch.

    Raises:
        GraphError: the node cannot take what comes; the message names it.
    """
    if isinstance(node, Input):
        _expect_channels(node, node.shape[0])
        return node.shape
    if isinstance(node, Add | Concatenate):
        joined = _join(node, shapes)
        if isinstance(node, Add) and node.gains is not None and node.gains.shape != (len(shapes), joined[0]):
            raise GraphError(
                f"{node.name}.gains: expected one row for each of {len(shapes)} inputs and one entry for each of "
                f"{joined[0]} channels, got the shape {node.gains.shape}"
            )
        return joined
    (shape,) = shapes
    if isinstance(node, Convolution):
        _expect_map(node, shape)
        _expect_weight(node, 4)
        out, per_group, height, width = node.weight.shape
        if shape[0] != per_group * node.groups or out % node.groups:
            raise GraphError(
                f"{node.name}: weight {node.weight.shape} with {node.groups} groups expects "
                f"{per_group * node.groups} channels, got {shape[0]}: check the layer before it"
            )
        return (out, *_slide(node, shape, (height, width), node.stride, node.padding, node.dilation))
    if isinstance(node, AveragePool | MaxPool):
        _expect_map(node, shape)
        _expect_channels(node, shape[0])
        if any(2 * pad > size for pad, size in zip(node.padding, node.kernel, strict=True)):
            raise GraphError(
                f"{node.name}: expected a padding of at most half the window {node.kernel}, got {node.padding}: use a "
                "smaller one"
            )
        return (shape[0], *_slide(node, shape, node.kernel, node.stride, node.padding, (1, 1)))
    if isinstance(node, Dense):
        _expect_weight(node, 2)
        if len(shape) != 1 or shape[0] != node.weight.shape[1]:
            raise GraphError(
                f"{node.name}: weight {node.weight.shape} expects {node.weight.shape[1]} features, got {shape}: "
                "check the layer before it"
            )
        return (node.weight.shape[0],)
    if isinstance(node, Flatten):
        size = 1
        for length in shape:
            size *= length
        return (size,)
    if isinstance(node, Readout) and len(shape) != 1:
        raise GraphError(f"{node.name}: expected one logit for each class, got the shape {shape}: flatten before it")
    _expect_channels(node, shape[0])
    if isinstance(node, CountingNeuron) and node.start is not None and node.start.shape != shape:
        raise GraphError(
            f"{node.name}.start: expected one potential for each of the neurons {shape}, got {node.start.shape}"
        )
    return shape


def _join(node: Add | Concatenate, shapes: Sequence[Shape]) -> Shape:
    """Branches that meet: all of one shape, channels aside where they are concatenated."""
    first = 0 if isinstance(node, Add) else 1
    if any(len(shape) != len(shapes[0]) or shape[first:] != shapes[0][first:] for shape in shapes):
        raise GraphError(
            f"{node.name}: expected branches of one {'shape' if first == 0 else 'height and width'}, got "
            f"{', '.join(map(str, shapes))}: check strides and paddings of its branches"
        )
    return shapes[0] if first == 0 else (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _expect_map(node: Node, shape: Shape) -> None:
    if len(shape) != 3:
        raise GraphError(f"{node.name}: expected a feature map (channel, height, width), got the shape {shape}")


def _expect_weight(node: Convolution | Dense, dimensions: int) -> None:
    if node.weight.ndim != dimensions:
        raise GraphError(f"{node.name}.weight: expected {dimensions} dimensions, got the shape {node.weight.shape}")
    _expect_channels(node, len(node.weight))


def _expect_channels(node: Node, channels: int) -> None:
    """One entry per channel in every tensor, and one row in a table of thresholds; weights and potentials have shapes
    of their own."""
    for field, array in node.arrays.items():
        table = isinstance(node, CountingNeuron) and node.step is None and array.ndim == 2
        if field not in ("weight", "start") and (array.shape[:1] != (channels,) or (array.ndim > 1 and not table)):
            raise GraphError(
                f"{node.name}.{field}: expected one entry for each of {channels} channels, got the shape {array.shape}"
            )


def _slide(node: Node, shape: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    sizes = []
    for axis in (0, 1):
        span = dilation[axis] * (kernel[axis] - 1) + 1
        size = (shape[axis + 1] + 2 * padding[axis] - span) // stride[axis] + 1
        if size < 1:
            raise GraphError(
                f"{node.name}: a window of {span} does not fit a feature map of {shape[1]}x{shape[2]} "
                f"with padding {padding}: use a smaller kernel or padding 'same'"
            )
        sizes.append(size)
    return sizes[0], sizes[1]
