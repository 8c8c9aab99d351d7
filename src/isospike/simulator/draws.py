"""Random numbers that are functions of where they are used, so that they do not depend on batches, devices or order."""

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = (1 << 64) - 1


def make_key(*parts: int) -> int:
    """One 64-bit key of several whole numbers, such as a seed, a layer and a time step; their order matters."""
    key = 0
    for part in parts:
        key = _mix_word((key + (part & _WORD) * _GOLDEN + _GOLDEN) & _WORD)
    return key


def draw_uniform(key: int, *places: Tensor) -> Tensor:
    """Numbers in [0, 1), float64, one for each place: functions of the key and the places alone.

    Args:
        key: from :func:`make_key`.
        places: int64 tensors of one shape (or that broadcast), such as image and neuron.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), chained over the places; 53 bits are used.
    """
    state = torch.full_like(places[0], _as_signed(key))
    for place in places:
        state = _mix(state + (place + 1) * _as_signed(_GOLDEN))
    return _shift(state, 11).to(torch.float64) * 2.0**-53


def _mix(state: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, whose products wrap around."""
    state = (state ^ _shift(state, 30)) * _as_signed(_FIRST)
    state = (state ^ _shift(state, 27)) * _as_signed(_SECOND)
    return state ^ _shift(state, 31)


def _mix_word(word: int) -> int:
    """The same on one Python integer."""
    word = (word ^ (word >> 30)) * _FIRST & _WORD
    word = (word ^ (word >> 27)) * _SECOND & _WORD
    return word ^ (word >> 31)


def _shift(state: Tensor, places: int) -> Tensor:
    """To the right, zeros coming in."""
    return (state >> places) & ((1 << (64 - places)) - 1)


def _as_signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
