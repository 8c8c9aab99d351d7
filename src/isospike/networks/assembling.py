"""Nodes of a captured graph, put together one after another: names, shapes, reshapes that wait until they matter."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from isospike.errors import ConversionError, GraphError
from isospike.graph import Add, Dense, Flatten, Input, Node, Readout, SpikingGraph
from isospike.graph.shapes import Shape, infer_shape


@dataclass(frozen=True)
class Signal:
    """What ``node`` gives, seen in ``shape`` (without the batch). A reshape is only a way of seeing until a node needs
    it; ``name`` is then its name."""

    node: str
    shape: Shape
    name: str = "flatten"


class Assembly:
    """The nodes so far, in the order of computation."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        self.flattened: dict[str, str] = {}

    def add(self, kind: type[Node], name: str, inputs: tuple[str, ...], **values: Any) -> Signal:
        """Append a node; its name gets a number where it is taken.

        Raises:
            ConversionError: the node cannot take what its inputs give.
        """
        node = kind(self._choose_name(name), inputs, **values)
        try:
            shape = infer_shape(node, [self.shapes[source] for source in inputs])
        except GraphError as error:
            raise ConversionError(str(error)) from error
        self.nodes[node.name], self.shapes[node.name] = node, shape
        return Signal(node.name, shape)

    def settle(self, signal: Signal) -> str:
        """The node whose own shape is the one that ``signal`` is seen in: a Flatten where that is needed.

        Raises:
            ConversionError: a reshape that is no flattening.
        """
        shape = self.shapes[signal.node]
        if signal.shape == shape:
            return signal.node
        if len(signal.shape) != 1:
            raise ConversionError(
                f"{signal.name}: cannot capture a reshape from {shape} to {signal.shape}: keep (channel, height, "
                "width) or flatten everything but the batch"
            )
        if signal.node not in self.flattened:
            self.flattened[signal.node] = self.add(Flatten, signal.name, (signal.node,)).node
        return self.flattened[signal.node]

    def finish(self, model: str, logits: Signal) -> SpikingGraph:
        """The graph that ends with ``logits``; what does not lead there is left out, sums of sums become one.

        Raises:
            ConversionError: the output is not one logit per class.
        """
        if len(logits.shape) != 1:
            raise ConversionError(
                f"{model}: expected logits (batch, classes), got {('batch', *logits.shape)}: flatten the output, or "
                "capture the part of the model that classifies"
            )
        last = self.settle(logits)
        classifier = self.nodes[last]
        bias = np.zeros(logits.shape[0])
        users = [node for node in self.nodes.values() if last in node.inputs]
        if isinstance(classifier, Dense) and not users:
            bias = bias if classifier.bias is None else classifier.bias
            self.nodes[last] = replace(classifier, bias=None)
        self.add(Readout, "readout", (last,), bias=bias)
        self._prune(next(reversed(self.nodes)))
        self._merge_sums()
        inputs = [node.name for node in self.nodes.values() if isinstance(node, Input)]
        if len(inputs) != 1:
            raise ConversionError(
                f"{model}: expected one way in for the images, got {len(inputs)}: put Pixels first and use only what "
                "it gives"
            )
        try:
            return SpikingGraph(tuple(self.nodes.values()))
        except GraphError as error:
            raise ConversionError(str(error)) from error

    def _choose_name(self, name: str) -> str:
        number, chosen = 1, name
        while chosen in self.nodes:
            number += 1
            chosen = f"{name}_{number}"
        return chosen

    def _prune(self, last: str) -> None:
        needed = {last}
        for name in reversed(self.nodes):
            if name in needed:
                needed.update(self.nodes[name].inputs)
        self.nodes = {name: node for name, node in self.nodes.items() if name in needed}

    def _merge_sums(self) -> None:
        """One node where branches meet: a sum that only another sum takes becomes part of it."""
        for name in list(self.nodes):
            node = self.nodes[name]
            users = [user for user in self.nodes.values() for source in user.inputs if source == name]
            if isinstance(node, Add) and len(users) == 1 and isinstance(users[0], Add):
                user = users[0]
                place = user.inputs.index(name)
                inputs = (*user.inputs[:place], *node.inputs, *user.inputs[place + 1 :])
                self.nodes[user.name] = replace(user, inputs=inputs)
                del self.nodes[name]


def to_array(tensor: Tensor) -> np.ndarray:
    """Float64: the rational number that each stored float is, unchanged."""
    return tensor.detach().to("cpu").double().numpy().copy()


def spread_per_channel(name: str, constant: Tensor | float, shape: Shape) -> np.ndarray:
    """A constant that meets a signal of ``shape``, as one float64 per channel.

    Raises:
        ConversionError: it differs between positions of a channel.
    """
    if not isinstance(constant, Tensor):
        return np.full(shape[0], float(constant))
    array = to_array(constant)
    own = (1,) * (len(shape) + 1 - array.ndim) + array.shape
    if len(own) != len(shape) + 1 or own[1] not in (1, shape[0]) or prod(own) != own[1]:
        raise ConversionError(
            f"{name}: cannot capture arithmetic with a constant of shape {tuple(array.shape)}: expected a number, or "
            f"one for each of {shape[0]} channels"
        )
    return np.broadcast_to(array.reshape(-1), (shape[0],)).copy()
