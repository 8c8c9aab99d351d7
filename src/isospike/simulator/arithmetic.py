"""Which number type carries a simulation, and when it is exact."""

import numpy as np
import torch
from torch import Tensor

from isospike.errors import SimulationError
from isospike.graph import MaxPool, SpikingGraph, bound_membranes, bound_signals
from isospike.graph.rate_intervals import bound_rate_signals

DTYPES = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64}
_EXACT_BITS = {torch.float32: 24, torch.float64: 53, torch.int64: 53}


def choose_dtype(graph: SpikingGraph, name: str, device: torch.device) -> torch.dtype:
    """The type of currents and spikes.

    A float carries integers exactly below ``2^24`` (float32) or ``2^53`` (float64), so an integer graph whose sums are
    bounded by that is simulated exactly in floats too, in any order of summation. "auto" takes the fastest type that is
    exact, and float64 where weights are floats.

    Args:
        graph: a spiking graph.
        name: "auto", "float32", "float64" or "int64" (products in float64, everything else in int64).
        device: convolutions on a GPU may use other algorithms than sums of products, so "auto" avoids float32 there.

    Raises:
        SimulationError: unknown name; int64 for a graph with float weights; sums too large to be exact.
    """
    if name != "auto" and name not in DTYPES:
        raise SimulationError(f"dtype: expected auto, {', '.join(DTYPES)}, got {name!r}")
    if not graph.is_integer:
        if name == "int64":
            layer = next(node.name for node in graph if any(a.dtype == np.float64 for a in node.arrays.values()))
            raise SimulationError(f"{layer}: int64 simulation expects integers, got floats: use dtype float64")
        return torch.float64 if name == "auto" else DTYPES[name]
    bounds = [*bound_signals(graph, graph.t_max or 1).values(), *bound_membranes(graph).values()]
    return _choose_exact(name, max(int(bound.magnitude.max()).bit_length() for bound in bounds), device)


def choose_rate_dtype(graph: SpikingGraph, name: str, device: torch.device) -> torch.dtype:
    """The type of currents and potentials of a rate-coded graph: as :func:`choose_dtype` where it is of integers, so
    that it is exact; else float32, or the float asked for.

    Raises:
        SimulationError: unknown name; int64 for a graph with floats; sums too large to be exact.
    """
    if graph.is_integer and name in ("auto", *DTYPES):
        steps = max(graph.t_max or 1, graph.tau)
        currents, membranes = bound_rate_signals(graph)
        pooled = [currents[node.inputs[0]] for node in graph if isinstance(node, MaxPool)]  # summed over time
        peaks = [int(bound.magnitude.max()) for bound in (*currents.values(), *membranes.values())]
        peaks += [steps * int(bound.magnitude.max()) for bound in pooled]
        return _choose_exact(name, max(peaks).bit_length(), device)
    if name not in ("auto", "float32", "float64"):
        raise SimulationError(f"dtype: a rate-coded graph runs in float32 or float64, got {name!r}")
    return torch.float32 if name == "auto" else DTYPES[name]


def _choose_exact(name: str, bits: int, device: torch.device) -> torch.dtype:
    """The type asked for, or the fastest, that holds sums of so many bits."""
    if name == "auto":
        plain = torch.get_float32_matmul_precision() == "highest" and torch.backends.mkldnn.is_available()
        exact = bits <= _EXACT_BITS[torch.float32] and device.type == "cpu" and plain
        return torch.float32 if exact else torch.float64
    dtype = DTYPES[name]
    if bits > _EXACT_BITS[dtype]:
        raise SimulationError(
            f"{name}: sums of this graph need {bits} bits, and products in this type are exact only to "
            f"{_EXACT_BITS[dtype]}: use {'dtype float64' if dtype is torch.float32 else 'a smaller T_max'}"
        )
    return dtype


def to_tensor(array: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A NumPy array as a tensor of its own."""
    return torch.from_numpy(np.array(array)).to(device=device, dtype=dtype)


def per_channel(tensor: Tensor, dimensions: int) -> Tensor:
    """Shape (channels,) to (channels, 1, ...): it broadcasts over ``dimensions`` dimensions, the batch first."""
    return tensor.view(-1, *[1] * (dimensions - 2))


def lay_out(signal: Tensor) -> Tensor:
    """Maps with their channels innermost in memory, as convolutions of few channels are fastest on a CPU; the numbers
    stay."""
    return signal.contiguous(memory_format=torch.channels_last) if signal.dim() == 4 else signal
