"""A rate-coded graph as a NIR file, and what NIR cannot say of it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from isospike.errors import ExportError
from isospike.export.nir.folding import average_pools, fold_thresholds
from isospike.export.nir.library import require_nir
from isospike.graph import (
    Add,
    Affine,
    AveragePool,
    Convolution,
    CountingNeuron,
    Dense,
    Flatten,
    Input,
    IntegrateAndFire,
    MaxPool,
    Node,
    Readout,
    SpikingGraph,
)

POOLS = ("sum", "average")
_LARGEST_DIAGONAL = 4096
_NODES = (Input, Convolution, Dense, Affine, AveragePool, Flatten, Add, IntegrateAndFire, Readout)


@dataclass(frozen=True)
class NirExport:
    """What was written.

    Attributes:
        path: the file.
        notes: what a reader of it will do otherwise than isospike, one line each.
    """

    path: Path
    notes: tuple[str, ...]


def export_nir(
    graph: SpikingGraph, path: str | Path, pool: str = "sum", v_reset: bool = True, time_step: float = 1.0
) -> NirExport:
    """Write a rate-coded graph as NIR: Conv2d, Affine, pooling, Flatten, and IF with thresholds of 1.

    NIR's neuron is ``dv/dt = R I``, fires one spike where ``v > v_threshold``, and is set to ``v_reset``. Ours
    subtracts the threshold, and may start charged: the file says less than the graph, and the notes say what is lost.
    How much that costs, :func:`isospike.export.nir.read_nir` measures.

    Args:
        graph: from ``percentile``, ``opi``, ``calibrated`` or ``qcfs``.
        path: an HDF5 file, replaced where it is there.
        pool: "sum" (SumPool2d, as norse and sinabs know it) or "average" (AvgPool2d, as SpikingJelly does; norse and
            sinabs leave it out without a word).
        v_reset: whether the field v_reset of IF is written, which readers with a nir up to 1.0.4 reject.
        time_step: of the reader; R is ``1 / time_step``.

    Raises:
        ExportError: NIR cannot say this graph: counting neurons, negative spikes, silenced neurons, max pooling,
            concatenation; an unknown option; nir is not installed.
    """
    if pool not in POOLS or not time_step > 0:
        raise ExportError(
            f"pool and time step: expected one of {', '.join(POOLS)} and more than 0, got {pool!r}, {time_step}"
        )
    _check_graph(graph)
    nir = require_nir()
    folded = fold_thresholds(graph)
    written = average_pools(folded) if pool == "average" else folded
    nodes, edges = _Writer(nir, written, pool, time_step).write()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        nir.write(str(path), nir.NIRGraph(nodes, edges))
        if not v_reset:
            _leave_out_reset(Path(path), [node.name for node in written.neurons])
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error}): choose another folder") from error
    return NirExport(Path(path), _list_notes(folded, pool, v_reset))


def spell(name: str) -> str:
    """A node's name in the file: HDF5 and PyTorch modules take neither stroke nor point."""
    return name.replace("/", "_").replace(".", "_")


class _Writer:
    """Translates node by node; branches that meet are edges to one node, which NIR sums."""

    def __init__(self, nir: Any, graph: SpikingGraph, pool: str, time_step: float) -> None:
        self.nir, self.graph, self.pool, self.time_step = nir, graph, pool, time_step
        self.sources: dict[str, tuple[str, ...]] = {}

    def write(self) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """NIR nodes by name, and edges."""
        nodes: dict[str, Any] = {}
        edges: list[tuple[str, str]] = []
        for node in self.graph:
            sources = tuple(source for name in node.inputs for source in self.sources[name])
            if isinstance(node, Add):
                if len(set(sources)) != len(sources):
                    raise ExportError(f"{node.name}: NIR has one edge between two nodes, and this sum takes one twice")
                self.sources[node.name] = sources
                continue
            name = "input" if isinstance(node, Input) else "output" if isinstance(node, Readout) else spell(node.name)
            if name in nodes:
                raise ExportError(f"{node.name}: two nodes would be called {name!r} in the file: rename one")
            nodes[name] = self._translate(node)
            edges.extend((source, name) for source in sources)
            self.sources[node.name] = (name,)
        return nodes, edges

    def _translate(self, node: Node) -> Any:
        shape = self.graph.shapes[node.name]
        before = self.graph.shapes[node.inputs[0]] if node.inputs else shape
        if isinstance(node, Input):
            return self.nir.Input({"input": np.array(shape)})
        if isinstance(node, Readout):
            return self.nir.Output({"output": np.array(shape)})
        if isinstance(node, Convolution):
            geometry = node.stride, node.padding, node.dilation, node.groups
            return self._convolve(before[1:], node.weight, geometry, node.bias)
        if isinstance(node, Dense):
            return self.nir.Affine(_single(node.weight), _single(_bias(node.bias, len(node.weight))))
        if isinstance(node, Affine):
            return self._translate_affine(node, before)
        if isinstance(node, AveragePool):
            kind = self.nir.AvgPool2d if self.pool == "average" else self.nir.SumPool2d
            return kind(*(np.array(pair) for pair in (node.kernel, node.stride, node.padding)))
        if isinstance(node, Flatten):
            return self.nir.Flatten({"input": np.array(before)}, 0, -1)
        ones = np.ones(shape, dtype=np.float32)
        known = {field.name for field in fields(self.nir.IF)}
        reset = {"v_reset": np.zeros_like(ones)} if "v_reset" in known else {}  # a nir up to 1.0.4 knows none
        return self.nir.IF(r=ones / np.float32(self.time_step), v_threshold=ones, **reset)

    def _translate_affine(self, node: Affine, before: tuple[int, ...]) -> Any:
        channels = len(node.gain)
        if len(before) == 3:  # a convolution of one tap for each channel
            weight = np.diag(node.gain).reshape(channels, channels, 1, 1)
            return self._convolve(before[1:], weight, ((1, 1), (0, 0), (1, 1), 1), node.bias)
        if channels > _LARGEST_DIAGONAL:
            raise ExportError(f"{node.name}: NIR export writes at most {_LARGEST_DIAGONAL} scaled features")
        return self.nir.Affine(_single(np.diag(node.gain)), _single(_bias(node.bias, channels)))

    def _convolve(
        self, size: tuple[int, ...], weight: np.ndarray, geometry: tuple[Any, ...], bias: np.ndarray | None
    ) -> Any:
        """A convolution without groups: ``nir`` infers the wrong channels for them, and SpikingJelly refuses them."""
        stride, padding, dilation, groups = geometry
        whole = _single(_spread_groups(weight, groups))
        return self.nir.Conv2d(tuple(size), whole, stride, padding, dilation, 1, _single(_bias(bias, len(weight))))


def _spread_groups(weight: np.ndarray, groups: int) -> np.ndarray:
    """The weights of a grouped convolution as those of a whole one, zeros between groups."""
    out, per_group, *kernel = weight.shape
    whole = np.zeros((groups, out // groups, groups, per_group, *kernel))
    for group, part in enumerate(weight.reshape(groups, out // groups, per_group, *kernel)):
        whole[group, :, group] = part
    return whole.reshape(out, groups * per_group, *kernel)


def _single(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.float32)


def _bias(bias: np.ndarray | None, channels: int) -> np.ndarray:
    return np.zeros(channels) if bias is None else bias


def _check_graph(graph: SpikingGraph) -> None:
    reasons: list[tuple[Callable[[Node], bool], str]] = [
        (
            lambda node: isinstance(node, CountingNeuron),
            "NIR's neurons fire positive spikes only and forget what is above the threshold, and a counting neuron "
            "takes spikes back: use 'isospike export c', or convert with percentile or qcfs",
        ),
        (
            lambda node: isinstance(node, IntegrateAndFire) and node.lower is not None,
            "NIR's neurons fire positive spikes only, and these take spikes back: convert without negative spikes",
        ),
        (
            lambda node: isinstance(node, IntegrateAndFire) and node.residual is not None,
            "NIR cannot say that a neuron is silenced after some steps: convert with qcfs instead of srp",
        ),
        (lambda node: isinstance(node, MaxPool), "NIR has no max pooling: train with pool=avg or pool=conv"),
        (lambda node: not isinstance(node, _NODES), "NIR has no node for it"),
    ]
    if graph.t_max is None:
        raise ExportError("export nir: expected a spiking graph, got a captured ANN: convert it first")
    for node in graph:
        for applies, reason in reasons:
            if applies(node):
                raise ExportError(f"{node.name} ({type(node).__name__}): {reason}")
    if graph.tau:
        raise ExportError(f"tau: NIR cannot say that {graph.tau} steps come before those that count: convert with qcfs")
    if not graph.is_rate_coded:
        raise ExportError("export nir: expected a rate-coded graph with neurons: convert with percentile or qcfs")


def _list_notes(graph: SpikingGraph, pool: str, v_reset: bool) -> tuple[str, ...]:
    neurons = [node for node in graph.neurons if isinstance(node, IntegrateAndFire)]
    notes = [
        "NIR's IF is set to v_reset = 0 after a spike and forgets what was above the threshold; isospike subtracts the "
        "threshold. A reader of this file gives other spikes and another accuracy: measure it",
        "NIR's IF fires above the threshold, isospike's at the threshold",
        f"the input is pixel - offset, with the offset {graph.input.offset.tolist()} per channel, at every step; the "
        "answer is the largest sum of the output over time",
    ]
    if any(node.initial.any() for node in neurons):
        charge = max(float(abs(node.initial).max()) for node in neurons)
        notes.insert(
            1, f"NIR cannot say that neurons start charged ({charge:g} of the threshold): there they start at 0"
        )
    pools = [node for node in graph if isinstance(node, AveragePool)]
    if pools and pool == "average":
        notes.append("norse and sinabs leave AvgPool2d out without a word: write pool=sum for them")
    if pools and pool == "sum":
        notes.append("SpikingJelly knows no SumPool2d: write pool=average for it")
    if any(node.padding != (0, 0) for node in pools):
        notes.append("norse and sinabs ignore the padding of pools")
    if v_reset:
        notes.append("readers with a nir up to 1.0.4 reject the field v_reset: leave it out for them (--no-v-reset)")
    return tuple(notes)


def _leave_out_reset(path: Path, neurons: list[str]) -> None:
    h5py: Any = import_module("h5py")  # nir needs it too
    with h5py.File(path, "r+") as file:
        for name in neurons:
            if (place := f"node/nodes/{spell(name)}/v_reset") in file:
                del file[place]
