"""The network notation of the papers: ``32C5-P2-64C5-P2-1000``."""

import re
from dataclasses import dataclass, replace

from isospike.errors import NotationError

HELP = (
    "expected tokens like 32C5 (filters C kernel), 16C5(same), P2 (pooling), 1000 (dense) or 64C3*2 (repeat), "
    "joined by '-'"
)
_LARGEST, _MOST_LAYERS = 1 << 20, 1000
_TOKEN = re.compile(
    r"(?:(?P<filters>\d+)C(?P<kernel>\d+)|P(?P<window>\d+)|(?P<features>\d+))"
    r"(?:\((?P<padding>\w+)\))?(?:\*(?P<repeat>\d+))?"
)


@dataclass(frozen=True)
class ConvolutionSpec:
    """``filters`` filters of ``kernel`` x ``kernel``; ``padding`` same or valid."""

    filters: int
    kernel: int
    padding: str


@dataclass(frozen=True)
class PoolSpec:
    """Pooling over windows of ``window`` x ``window``, that far apart."""

    window: int


@dataclass(frozen=True)
class DenseSpec:
    """A dense layer of ``features`` neurons."""

    features: int


LayerSpec = ConvolutionSpec | PoolSpec | DenseSpec


def parse_notation(notation: str, padding: str = "valid") -> tuple[LayerSpec, ...]:
    """Read ``notation`` into layers, first to last, without the classifier.

    Args:
        notation: as in the papers, e.g. ``16C5(same)-16C5-P2-32C5-P2-256``.
        padding: of convolutions that do not say: "same" or "valid".

    Raises:
        NotationError: shows the notation and points at the token that is wrong.
    """
    if padding not in ("same", "valid"):
        raise NotationError(f"padding: expected same or valid, got {padding!r}")
    tokens = notation.strip().split("-")
    layers: list[LayerSpec] = []
    for position, token in enumerate(tokens):
        match = _TOKEN.fullmatch(token.strip())
        if match is None:
            raise _complain(tokens, position, HELP)
        spec = _read_token(match, padding)
        if isinstance(spec, str):
            raise _complain(tokens, position, spec)
        if isinstance(spec, ConvolutionSpec | PoolSpec) and layers and isinstance(layers[-1], DenseSpec):
            raise _complain(tokens, position, "a dense layer has no feature map left: put it before the dense layers")
        repeat = int(match["repeat"] or 1)
        if len(layers) + repeat > _MOST_LAYERS:
            raise _complain(tokens, position, f"a network has at most {_MOST_LAYERS} layers")
        layers.extend([spec] * repeat)
    return tuple(layers)


def _read_token(match: re.Match[str], padding: str) -> LayerSpec | str:
    """The layer that a token names, or what is wrong with it."""
    groups = match.groupdict()
    numbers = [groups[key] for key in ("filters", "kernel", "window", "features", "repeat") if groups[key]]
    if any(len(number) > 9 or not 0 < int(number) <= _LARGEST for number in numbers):
        return f"every number must be from 1 to {_LARGEST}"
    if groups["filters"] is None:
        if groups["padding"]:
            return "only a convolution has a padding"
        return PoolSpec(int(groups["window"])) if groups["window"] else DenseSpec(int(groups["features"]))
    spec = ConvolutionSpec(int(groups["filters"]), int(groups["kernel"]), padding)
    if groups["padding"]:
        if groups["padding"] not in ("same", "valid"):
            return f"padding {groups['padding']!r} is neither same nor valid"
        spec = replace(spec, padding=groups["padding"])
    if spec.padding == "same" and spec.kernel % 2 == 0:
        return f"padding 'same' expects an odd kernel, got {spec.kernel}"
    return spec


def _complain(tokens: list[str], position: int, reason: str) -> NotationError:
    shown = "-".join(f">>{token}<<" if place == position else token for place, token in enumerate(tokens))
    return NotationError(f"network {shown}: cannot read token {position + 1}, {tokens[position]!r}: {reason}")
