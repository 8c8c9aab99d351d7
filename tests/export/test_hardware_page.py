"""The machine of docs/hardware.md runs, and gives the simulator's logits at every step."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isospike import simulate
from isospike.graph import Add, Concatenate, CountingNeuron, Input, MaxPool, Node, Readout, SpikingGraph
from isospike.simulator.linear import make_joint, make_linear
from tests.engine.graphs import GraphBuilder

PAGE = Path(__file__).parents[2] / "docs" / "hardware.md"
MACHINE, POOL = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def make_graph(seed: int) -> tuple[SpikingGraph, np.ndarray]:
    """Neurons of one and of two spikes a step, with an end and without, a max pool, an average pool, a shortcut."""
    builder = GraphBuilder(np.random.default_rng(seed), 6)
    builder.add_input(2, 7, 6)
    builder.add_convolution(3, wide=True)
    builder.add_neuron(None, 1, table=False)
    builder.add_pool("max", 1)
    pool = builder.nodes[-1]
    assert isinstance(pool, MaxPool)
    builder.nodes[-1] = replace(pool, signs=None)
    builder.add_branches("add", wide=False)
    builder.add_pool("avg", 1)
    builder.add_neuron(3, 2, table=False)
    builder.add_dense(5)
    builder.add_neuron(None, 2, table=False)
    return builder.finish(3), builder.rng.integers(0, 256, (3, 2, 7, 6), dtype=np.uint8)


class Machine:
    """The tables that the page speaks of, by the number of a unit; pixels come first, classes last."""

    def __init__(self, graph: SpikingGraph) -> None:
        self.graph = graph
        self.first: dict[str, int] = {}
        total = 0
        for node in graph:
            if isinstance(node, Input | CountingNeuron | MaxPool | Readout):
                self.first[node.name] = total
                total += int(np.prod(graph.shapes[node.name]))
        self.V, self.c = [0] * total, [0] * total
        self.tables: dict[str, Any] = {name: {} for name in ("m", "N", "f", "Theta", "Delta", "window")}
        self.synapses: dict[int, list[tuple[int, int]]] = {}
        for node in graph:
            if node.name in self.first and not isinstance(node, Readout):
                self._connect(node)
            if isinstance(node, CountingNeuron):
                self._fill(node)
            elif isinstance(node, MaxPool):
                self._watch(node)
        neurons = [self._number(node) for node in graph.spiking]
        self.units = [unit for numbers in neurons for unit in numbers]

    def _number(self, node: Node) -> range:
        first = self.first[node.name]
        return range(first, first + int(np.prod(self.graph.shapes[node.name])))

    def _connect(self, source: Node) -> None:
        """What one spike of each unit of ``source`` brings to each potential."""
        shape = self.graph.shapes[source.name]
        size = int(np.prod(shape))
        signals = {source.name: torch.eye(size, dtype=torch.float64).reshape(size, *shape)}
        device = torch.device("cpu")
        for node in self.graph:
            if not any(name in signals for name in node.inputs) or isinstance(node, MaxPool):
                continue
            if isinstance(node, CountingNeuron | Readout):
                rows = signals[node.inputs[0]].flatten(1).long()
                for unit, target in rows.nonzero().tolist():
                    link = self.first[node.name] + target, int(rows[unit, target])
                    self.synapses.setdefault(self.first[source.name] + unit, []).append(link)
            elif isinstance(node, Add | Concatenate):
                shapes = [self.graph.shapes[name] for name in node.inputs]
                joint = make_joint(node, torch.float64, device)
                signals[node.name] = joint([signals.get(name) for name in node.inputs], shapes)
            else:
                signals[node.name] = make_linear(node, torch.float64, device)(signals[node.inputs[0]])

    def _fill(self, node: CountingNeuron) -> None:
        assert node.step is not None
        shape = self.graph.shapes[node.name]
        for place, unit in enumerate(self._number(node)):
            channel = place // int(np.prod(shape[1:]))
            reach = node.limit * (self.graph.t_max or 0) + 1
            self.tables["m"][unit], self.tables["f"][unit] = node.limit, node.fraction_bits
            self.tables["N"][unit] = reach if node.levels is None else node.levels
            self.tables["Theta"][unit], self.tables["Delta"][unit] = (
                int(node.threshold[channel]),
                int(node.step[channel]),
            )
            self.V[unit] = 0 if node.start is None else int(node.start.reshape(-1)[place])

    def _watch(self, node: MaxPool) -> None:
        _, height, width = self.graph.shapes[node.inputs[0]]
        first = self.first[node.inputs[0]]
        places = product(*(range(length) for length in self.graph.shapes[node.name]))
        for unit, (channel, y, x) in zip(self._number(node), places, strict=True):
            rows = range(y * node.stride[0] - node.padding[0], y * node.stride[0] - node.padding[0] + node.kernel[0])
            columns = range(x * node.stride[1] - node.padding[1], x * node.stride[1] - node.padding[1] + node.kernel[1])
            inside = [(r, k) for r, k in product(rows, columns) if 0 <= r < height and 0 <= k < width]
            self.tables["window"][unit] = [first + (channel * height + r) * width + k for r, k in inside]
            self.tables["m"][unit] = node.limit

    def run(self, image: np.ndarray, steps: int) -> tuple[list[list[int]], list[bool]]:
        """Logits and settled after each step, by the code of the page."""
        offset = np.broadcast_to(self.graph.input.offset[:, None, None], image.shape).reshape(-1).tolist()
        scope = {**self.tables, "V": list(self.V), "c": list(self.c), "units": self.units, "offset": offset}
        scope["synapses"] = {unit: self.synapses.get(unit, []) for unit in [*range(image.size), *self.units]}
        exec(MACHINE, scope)
        rules = {"neuron": (scope["up"], scope["down"])}
        exec(POOL, scope)
        rules["pool"] = scope["up"], scope["down"]
        kinds = {unit: "pool" if unit in self.tables["window"] else "neuron" for unit in self.units}
        scope["up"] = lambda unit: rules[kinds[unit]][0](unit)
        scope["down"] = lambda unit: rules[kinds[unit]][1](unit)
        scope["present"](image.reshape(-1).tolist())
        logits, settled = [], []
        for _ in range(steps):
            settled.append(bool(scope["step"]()))
            classes = self._number(self.graph.readout)
            logits.append([scope["V"][k] + int(b) for k, b in zip(classes, self.graph.readout.bias, strict=True)])
        return logits, settled


def test_the_machine_has_twenty_lines() -> None:
    assert len([line for line in MACHINE.splitlines() if line]) <= 20


@pytest.mark.parametrize("seed", range(4))
def test_the_machine_of_the_page(seed: int) -> None:
    graph, images = make_graph(seed)
    machine = Machine(graph)
    simulation = simulate(graph, torch.from_numpy(images), dtype="int64", early_stop=False, engine="torch")
    assert sum(int(spikes.sum()) for spikes in simulation.positive.values())
    for number, image in enumerate(images):
        logits, settled = machine.run(image, 6)
        assert logits == simulation.logits[:, number].long().tolist()
        assert settled == simulation.settled[:, number].tolist()


def test_the_example_of_thresholds() -> None:
    """Theta = 5, Delta = 3, f = 2, N = 4: V of 1 deserves none, 2 two, 3 three, 4 and more four."""
    scope: dict[str, Any] = {
        "N": [4],
        "f": [2],
        "Theta": [5],
        "Delta": [3],
        "m": [9],
        "units": [0],
        "synapses": {0: []},
    }
    exec(MACHINE, scope)
    for potential, count in ((1, 0), (2, 2), (3, 3), (4, 4), (9, 4)):
        scope |= {"V": [potential], "c": [0]}
        assert scope["step"]() == 1
        assert scope["c"] == [count]
    assert "V = 1 deserves none, V = 2 two, V = 3 three, V >= 4 four" in PAGE.read_text()
