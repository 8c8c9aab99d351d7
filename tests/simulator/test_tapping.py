"""NeuroBench's counts: by hand, and, where the package is installed, by the package itself."""

import importlib
import warnings
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isospike.conversion import convert
from isospike.graph import AveragePool, Convolution, CountingNeuron, Dense, SpikingGraph
from isospike.networks import Quantisation, build_network
from isospike.simulator import simulate
from isospike.simulator.tapping import measure_neurobench
from tests.metrics.worked import IMAGE, build_worked


def test_counts_by_hand() -> None:
    found = measure_neurobench(build_worked(), IMAGE, 2)
    # pixels of 1 count as spikes: 2; then 13 non-zero weights (the other channels are zero), then 36 + 3
    assert found.effective_acs == 2 + 13 + 36 + 3
    assert found.effective_macs == 0
    assert found.dense == 2 * (25 + 13 * 13 * 4 + 300)  # along each axis 2 + 3 + 3 + 3 + 2 kernel positions exist
    assert found.activation_sparsity == pytest.approx(1 - (2 + 12 + 1) / (2 * 125))
    assert found.connection_sparsity == pytest.approx(27 / 337)
    assert (found.steps, found.images) == (2, 1)


def test_other_pixels_are_multiplied() -> None:
    found = measure_neurobench(build_worked(), IMAGE * 3, 4)
    assert found.effective_macs == 2
    # both pixels spike at steps 1 to 3; 11 hidden neurons see one and fire 3 times, the one that sees both 4 times
    assert found.effective_acs == 3 * 13 + (11 * 3 + 4) * 3


def test_each_image_is_looked_at_by_itself() -> None:
    # one image of pixels of 1 and one of 3: the first is accumulated, whatever comes beside it
    both = torch.cat([IMAGE, IMAGE * 3])
    alone = [measure_neurobench(build_worked(), image[None], 4) for image in both]
    found = measure_neurobench(build_worked(), both, 4)
    assert [each.effective_macs for each in alone] == [0, 2]
    assert found.effective_macs == 1
    assert found.effective_acs == sum(each.effective_acs for each in alone) / 2


def test_the_number_of_images_does_not_change_means_of_equal_images() -> None:
    one, many = (
        measure_neurobench(build_worked(), IMAGE, 2),
        measure_neurobench(build_worked(), IMAGE.expand(7, -1, -1, -1), 2),
    )
    assert replace(many, images=1) == one


@pytest.mark.parametrize("method", ["negative-spike", "scatter-gather"])
def test_early_stops_and_batches_change_nothing(method: str) -> None:
    torch.manual_seed(0)
    network = build_network("4C3-P2-8", (1, 8, 8), 3, Quantisation(k=1, bound=2)).eval()
    graph = convert(network, method, t_max=12)
    images = torch.randint(0, 256, (9, 1, 8, 8), dtype=torch.uint8)
    images = images // torch.tensor([1, 1, 1, 4, 4, 16, 128, 128, 128], dtype=torch.uint8)[:, None, None, None]
    whole = measure_neurobench(graph, images, batch_size=9)
    assert measure_neurobench(graph, images, batch_size=2) == whole
    if method == "scatter-gather":  # several spikes of a step are one output, and not counted by their number
        assert whole.effective_macs > 0
        return
    plain = simulate(graph, images, engine="torch", early_stop=False)
    spikes = sum(int((plain.positive[n.name] + plain.negative[n.name]).sum()) for n in graph.neurons)
    neurons = sum(int(np.prod(graph.shapes[n.name])) for n in graph.neurons)
    assert whole.activation_sparsity == pytest.approx(1 - spikes / (12 * 9 * neurons))


class _Neurons(nn.ReLU):
    """Our spikes of a step where NeuroBench expects an activation's output."""

    def __init__(self) -> None:
        super().__init__()
        self.spikes = torch.zeros(0)

    def forward(self, current: Tensor) -> Tensor:
        del current
        return self.spikes


class _Steps(nn.Module):
    """Plays a recorded run, step by step, through PyTorch layers of the same weights."""

    def __init__(self, graph: SpikingGraph, images: Tensor, trains: dict[str, Tensor]) -> None:
        super().__init__()
        self.graph, self.images, self.trains = graph, images, trains
        self.layers = nn.ModuleDict()
        for node in graph:
            if isinstance(node, Convolution):
                out, per_group, *kernel = node.weight.shape
                layer = nn.Conv2d(
                    per_group * node.groups,
                    out,
                    tuple(kernel),
                    node.stride,
                    node.padding,
                    node.dilation,
                    node.groups,
                    False,
                )
            elif isinstance(node, Dense):
                layer = nn.Linear(node.weight.shape[1], node.weight.shape[0], bias=False)
            elif isinstance(node, CountingNeuron):
                self.layers[node.name.replace(".", "_")] = _Neurons()
                continue
            else:
                continue
            layer.weight.data = torch.from_numpy(node.weight.astype(np.float32))
            self.layers[node.name] = layer

    def forward(self, _data: Tensor) -> Tensor:
        with torch.no_grad():
            for step in range(len(next(iter(self.trains.values())))):
                signals: dict[str, Tensor] = {}
                for node in self.graph:
                    if not node.inputs:
                        offset = torch.from_numpy(self.graph.input.offset).view(-1, 1, 1)
                        signals[node.name] = (self.images - offset).float() * (step == 0)
                        continue
                    signal = signals[node.inputs[0]]
                    if isinstance(node, CountingNeuron):
                        neurons: Any = self.layers[node.name.replace(".", "_")]
                        neurons.spikes = self.trains[node.name][step].float()
                        signals[node.name] = neurons(signal)
                    elif node.name in self.layers:
                        signals[node.name] = self.layers[node.name](signal)
                    elif isinstance(node, AveragePool):
                        signals[node.name] = nn.functional.avg_pool2d(signal, node.kernel, node.stride, node.padding)
                    else:
                        signals[node.name] = signal.flatten(1) if type(node).__name__ == "Flatten" else signal
        return signal


def _record(graph: SpikingGraph, images: Tensor, steps: int) -> dict[str, Tensor]:
    """The spikes of each neuron at each step, from counts of runs of one step more each."""
    names = [node.name for node in graph.neurons]
    counts = [simulate(graph, images, step + 1, keep_counts=True, engine="torch").counts for step in range(steps)]
    return {
        name: torch.stack([each[name] for each in counts]).diff(dim=0, prepend=torch.zeros_like(counts[0][name])[None])
        for name in names
    }


@pytest.mark.parametrize(
    ("method", "notation", "pool"),
    [
        ("negative-spike", "4C3-P2-8", "conv"),
        ("negative-spike", "4C3-P2-6C3-8", "avg"),
        ("scatter-gather", "4C3-P2-8", "conv"),
    ],
)
def test_counts_equal_those_of_the_neurobench_package(method: str, notation: str, pool: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("neurobench", reason="the neurobench package is not installed: pip install neurobench")
        workload = importlib.import_module("neurobench.metrics.workload")
        static = importlib.import_module("neurobench.metrics.static")
        models = importlib.import_module("neurobench.models")
    torch.manual_seed(1)
    network = build_network(notation, (1, 10, 10), 3, Quantisation(k=1, bound=2, weights="ternary"), pool=pool).eval()
    graph = convert(network, method, t_max=6)
    images = torch.randint(0, 256, (5, 1, 10, 10), dtype=torch.uint8)
    found = measure_neurobench(graph, images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trains = _record(graph, images, 6)
        operations, activations, sparsities = workload.SynapticOperations(), workload.ActivationSparsity(), []
        for place in range(len(images)):  # in batches of one image
            image, own = (
                images[place : place + 1],
                {name: train[:, place : place + 1] for name, train in trains.items()},
            )
            model = models.TorchModel(_Steps(graph, image, own))
            model.register_hooks()
            predictions = model(image.float())
            data = (image.float(), torch.zeros(1, dtype=torch.int64))
            theirs = operations(model, predictions, data)
            sparsities.append(activations(model, predictions, data))
        connections = static.ConnectionSparsity()(model)
    assert float(theirs["Effective_ACs"]) == found.effective_acs
    assert float(theirs["Effective_MACs"]) == found.effective_macs
    assert float(theirs["Dense"]) == found.dense
    assert fmean(sparsities) == pytest.approx(found.activation_sparsity, abs=1e-12)
    assert connections == pytest.approx(found.connection_sparsity, abs=5e-5)  # theirs is rounded to 4 decimals
