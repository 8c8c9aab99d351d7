"""Running a spiking graph in the native engine."""

from collections.abc import Callable
from numbers import Integral

import numpy as np

from isospike.engine.lowering import Lowering
from isospike.engine.native_module import choose_isa, choose_threads
from isospike.engine.record import EngineRecord, join_records
from isospike.errors import SimulationError
from isospike.graph import SpikingGraph
from isospike.metrics import list_working_layers

_IMAGES_AT_ONCE = 512


class Engine:
    """An integer spiking graph made ready to run a number of time steps.

    It computes what :func:`isospike.simulate` computes in ``int64``, bit for bit: spikes pass through all layers
    within the step, and the image is presented once, or, to a rate-coded graph, at every step. Layers run one after
    another, each over all steps (a layer's spikes depend only on those of the layers before it), so that a membrane
    stays in the first cache while an image passes; ternary weights are rows of bits, which carry-save adders sum for
    256 neurons at once. See docs/performance.md.

    Args:
        graph: an integer spiking graph.
        steps: time steps, at most the graph's T_max, which is the default.

    Raises:
        GraphError: the graph has float weights or thresholds, or its sums need more than 32 bits.
        SimulationError: more steps than T_max; the engine was not compiled; ``ISOSPIKE_ISA`` names what is not there.
    """

    def __init__(self, graph: SpikingGraph, steps: int | None = None) -> None:
        self.graph = graph
        self.steps = _check_steps(graph, steps)
        self.isa = choose_isa()
        self._lowering = Lowering(graph, self.steps, self.isa)

    def run(
        self,
        images: np.ndarray,
        *,
        threads: int | None = None,
        keep_counts: bool = False,
        on_batch: Callable[[int], None] | None = None,
    ) -> EngineRecord:
        """Simulate images; threads share them out, and the interpreter's lock is released.

        Args:
            images: uint8 (batch, channel, height, width).
            threads: by default ``OMP_NUM_THREADS``, or one for each processor.
            keep_counts: whether the counts at the end are kept.
            on_batch: called with the number of images done, now and then.

        Raises:
            SimulationError: images of the wrong shape or type, no images, no threads.
        """
        _check_images(self.graph, images)
        threads = choose_threads(threads)
        images = np.ascontiguousarray(images)
        parts = []
        for first in range(0, len(images), _IMAGES_AT_ONCE):
            batch = images[first : first + _IMAGES_AT_ONCE]
            parts.append(self._record(self._lowering.network.run(batch, threads, keep_counts)))
            if on_batch is not None:
                on_batch(first + len(batch))
        return join_records(parts)

    def _record(self, results: tuple) -> EngineRecord:
        logits, positive, negative, sops, settled, counts = results
        if self.graph.tau:
            logits, settled = logits[self.graph.tau :], settled[self.graph.tau :]
            positive, negative, sops = (_fold(each, self.graph.tau) for each in (positive, negative, sops))
        places = {name: place for place, name in enumerate(self._lowering.spiking)}
        names = [node.name for node in self.graph if node.name in places]
        work = {layer: np.zeros(settled.shape, dtype=np.int64) for layer in list_working_layers(self.graph)}
        for layer, reached in zip(self._lowering.work, sops, strict=True):
            work[layer] = work[layer] + reached  # a layer takes spikes from several sources where branches meet
        shapes = self.graph.shapes
        return EngineRecord(
            logits,
            {name: positive[places[name]] for name in names},
            {name: negative[places[name]] for name in names},
            work,
            settled,
            {name: counts[places[name]].reshape(-1, *shapes[name]) for name in names if len(counts)},
        )


def _fold(numbers: np.ndarray, tau: int) -> np.ndarray:
    """(layers, time, batch): the steps before those that count, added to the first of those."""
    counting = numbers[:, tau:].copy()
    counting[:, 0] += numbers[:, :tau].sum(1)
    return counting


_KEPT = 2
_ready: dict[SpikingGraph, tuple[tuple[int, str], Engine]] = {}
"""The engines of the last graphs, the latest at the end; an engine takes as much memory as its graph, and more."""


def prepare(graph: SpikingGraph, steps: int | None = None) -> Engine:
    """The :class:`Engine` of a graph, kept while the graph runs the same number of steps and is among the latest two.

    Raises:
        GraphError: the graph has float weights or thresholds, its sums need more than 32 bits, or the engine does not
            know one of its nodes.
        SimulationError: more steps than T_max; the engine was not compiled; ``ISOSPIKE_ISA`` names what is not there.
    """
    key = (_check_steps(graph, steps), choose_isa())
    known, engine = _ready.pop(graph, (None, None))
    if engine is None or known != key:
        engine = Engine(graph, key[0])
    while len(_ready) >= _KEPT:
        del _ready[next(iter(_ready))]
    _ready[graph] = key, engine
    return engine


def run(
    graph: SpikingGraph,
    images: np.ndarray,
    steps: int | None = None,
    *,
    threads: int | None = None,
    keep_counts: bool = False,
    early_stop: bool = True,
    on_batch: Callable[[int], None] | None = None,
) -> EngineRecord:
    """Simulate an integer spiking graph in the native engine: :class:`Engine` made ready, kept for the graph, and run.

    Args:
        graph: an integer spiking graph.
        images: uint8 (batch, channel, height, width).
        steps: time steps, at most the graph's T_max, which is the default.
        threads: by default ``OMP_NUM_THREADS``, or one for each processor.
        keep_counts: whether the counts at the end are kept.
        early_stop: changes nothing, as in :func:`isospike.simulate`: what has settled is silent, and silence costs
            nothing here.
        on_batch: called with the number of images done, now and then.

    Raises:
        GraphError: the graph has float weights or thresholds, or its sums need more than 32 bits.
        SimulationError: images of the wrong shape or type, no images, more steps than T_max, no threads; the engine was
            not compiled; ``ISOSPIKE_ISA`` names what is not there.
    """
    del early_stop
    _check_images(graph, images)
    return prepare(graph, steps).run(images, threads=threads, keep_counts=keep_counts, on_batch=on_batch)


def _check_steps(graph: SpikingGraph, steps: int | None) -> int:
    if graph.t_max is None:
        raise SimulationError("engine: expected a spiking graph, got a captured ANN: convert it first")
    steps = graph.t_max if steps is None else steps
    if isinstance(steps, bool) or not isinstance(steps, Integral) or not 1 <= steps <= graph.t_max:
        raise SimulationError(
            f"steps: expected 1 to T_max = {graph.t_max}, got {steps}: membranes are only bounded up to T_max; convert "
            "with a larger t_max"
        )
    return int(steps)


def _check_images(graph: SpikingGraph, images: np.ndarray) -> None:
    expected = graph.input.shape
    got = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
    fits = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4
    if not fits or tuple(images.shape[1:]) != tuple(expected) or not len(images):
        raise SimulationError(
            f"images: expected uint8 (batch, {', '.join(map(str, expected))}) with at least one image, got {got}"
        )
