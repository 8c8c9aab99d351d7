"""Our own reader of NIR, in NIR's semantics: what another simulator or a chip makes of a file."""

from collections.abc import Callable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from isospike.errors import ExportError
from isospike.export.nir.library import require_nir

RESETS = ("value", "subtract", "multiple")
Operation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class NirRecord:
    """A NIR network over time.

    Attributes:
        outputs: what comes out at each step, (time, batch, classes).
        spikes: spikes of each IF node, int64 (time, batch), by name.
    """

    outputs: Tensor
    spikes: dict[str, Tensor]

    @property
    def predictions(self) -> Tensor:
        """The class with the largest sum over time so far, int64 (time, batch)."""
        return self.outputs.double().cumsum(0).argmax(2)


class NirNetwork:
    """A feed-forward NIR graph made ready.

    ``v += R I dt``, ``z = v > v_threshold``, ``v = v_reset where z``; v starts at 0. Edges that meet are summed, and
    spikes pass through all nodes within the step.

    Args:
        graph: a ``nir.NIRGraph``.
        time_step: dt.
        reset: "value", as NIR says; "subtract" the threshold; or "multiple", as sinabs has it:
            ``floor(v / v_threshold)`` spikes at once, each of which subtracts, and v never below ``-v_threshold``.
        at_threshold: whether ``v >= v_threshold`` fires, as in some readers; NIR says above.
        dtype: float32, as others compute, or float64, where sums in another order do not round across a threshold.

    Raises:
        ExportError: a node that is none of those we write, a cycle, an unknown option.
    """

    def __init__(
        self,
        graph: Any,
        time_step: float = 1.0,
        reset: str = "value",
        at_threshold: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if reset not in RESETS:
            raise ExportError(f"reset: expected one of {', '.join(RESETS)}, got {reset!r}")
        self.nir = require_nir()
        self.time_step, self.reset, self.at_threshold, self.dtype = time_step, reset, at_threshold, dtype
        self.nodes: dict[str, Any] = graph.nodes
        self.sources: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in graph.edges:
            if source not in self.sources or target not in self.sources:
                raise ExportError(f"{source} -> {target}: an edge of the NIR graph has no node at one end")
            self.sources[target].append(source)
        try:
            self.order = list(TopologicalSorter(self.sources).static_order())
        except CycleError as error:
            raise ExportError(
                f"{error.args[1][0]}: the NIR graph goes in a circle, and only feed-forward ones are read"
            ) from None
        if not any(isinstance(node, self.nir.Output) for node in self.nodes.values()):
            raise ExportError("the NIR graph has no Output node, so it answers nothing: write it with one")
        self.operations = {name: self._prepare(name, self.nodes[name]) for name in self.order}

    @torch.inference_mode()
    def run(self, images: Tensor, steps: int) -> NirRecord:
        """Present ``images``, float (batch, channel, height, width), at every step."""
        images = images.to(self.dtype)
        potentials: dict[str, Tensor] = {}
        spikes: dict[str, list[Tensor]] = {}
        outputs = []
        for _ in range(steps):
            signals: dict[str, Tensor] = {}
            for name in self.order:
                node = self.nodes[name]
                incoming = images if isinstance(node, self.nir.Input) else self._join(name, signals)
                if isinstance(node, self.nir.IF):
                    signals[name] = self._fire(node, name, incoming, potentials)
                    spikes.setdefault(name, []).append(signals[name].flatten(1).sum(1).long())
                else:
                    signals[name] = self.operations[name](incoming)
                if isinstance(node, self.nir.Output):
                    outputs.append(signals[name])
        return NirRecord(torch.stack(outputs), {name: torch.stack(counts) for name, counts in spikes.items()})

    def _join(self, name: str, signals: dict[str, Tensor]) -> Tensor:
        parts = [signals[source] for source in self.sources[name]]
        return sum(parts[1:], parts[0])

    def _fire(self, node: Any, name: str, current: Tensor, potentials: dict[str, Tensor]) -> Tensor:
        threshold, resistance = self._tensor(node.v_threshold), self._tensor(node.r)
        reset = self._tensor(getattr(node, "v_reset", 0))  # a nir up to 1.0.4 knows none
        v = potentials.get(name, torch.zeros_like(current)) + resistance * current * self.time_step
        if self.reset == "multiple":
            spikes = torch.div(v, threshold, rounding_mode="floor").clamp(min=0)
            potentials[name] = torch.maximum(v - spikes * threshold, -threshold)
            return spikes
        fired = v >= threshold if self.at_threshold else v > threshold
        after = v - threshold if self.reset == "subtract" else reset.expand_as(v)
        potentials[name] = torch.where(fired, after, v)
        return fired.to(current.dtype)

    def _prepare(self, name: str, node: Any) -> Operation:
        nir = self.nir
        if not self.sources[name] and not isinstance(node, nir.Input):
            raise ExportError(f"{name}: a {type(node).__name__} of the NIR graph takes nothing")
        if isinstance(node, nir.Input | nir.Output | nir.IF):
            return lambda x: x
        if isinstance(node, nir.Affine):
            weight, bias = self._tensor(node.weight), self._tensor(node.bias)
            return lambda x: functional.linear(x, weight, bias)
        if isinstance(node, nir.Linear):
            weight = self._tensor(node.weight)
            return lambda x: functional.linear(x, weight)
        if isinstance(node, nir.Conv2d):
            return self._make_convolution(node)
        if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
            kernel, stride, padding = (_pair(each) for each in (node.kernel_size, node.stride, node.padding))
            divisor = 1 if isinstance(node, nir.SumPool2d) else None
            return lambda x: functional.avg_pool2d(x, kernel, stride, padding, divisor_override=divisor)
        if isinstance(node, nir.Flatten):
            first, last = (int(axis) + 1 if axis >= 0 else int(axis) for axis in (node.start_dim, node.end_dim))
            return lambda x: x.flatten(first, last)
        raise ExportError(f"{name}: our reader of NIR does not know {type(node).__name__}")

    def _make_convolution(self, node: Any) -> Operation:
        weight, bias = self._tensor(node.weight), self._tensor(node.bias)
        padding = node.padding if isinstance(node.padding, str) else _pair(node.padding)
        stride, dilation, groups = _pair(node.stride), _pair(node.dilation), int(node.groups)
        return lambda x: functional.conv2d(x, weight, bias, stride, padding, dilation, groups)

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.array(array, dtype=np.float32)).to(self.dtype)


def read_nir(path: str | Path, **options: Any) -> NirNetwork:
    """Read a NIR file.

    Args:
        path: an HDF5 file.
        options: of :class:`NirNetwork`.

    Raises:
        ExportError: no NIR file, or not one that our reader can run.
    """
    nir = require_nir()
    try:
        graph = nir.read(str(path))
    except (OSError, KeyError, ValueError, TypeError, AssertionError, AttributeError) as error:
        raise ExportError(f"{path}: expected a NIR file, got one that does not read ({error})") from error
    return NirNetwork(graph, **options)


def _pair(values: Any) -> tuple[int, int]:
    return int(values[0]), int(values[1])
