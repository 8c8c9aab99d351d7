"""What callers give to the simulator, looked at before anything runs."""

from numbers import Integral, Real
from typing import TypeGuard

import torch

from isospike.errors import DeviceError, SimulationError

PROPAGATIONS = ("within-step", "layer-per-step")
_LONGEST = 60


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number, NumPy's ones included; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_whole(name: str, value: object, least: int | None = None) -> int:
    """The whole number that a value is, of at least ``least``.

    Raises:
        SimulationError: it is none.
    """
    if not is_whole(value) or (least is not None and int(value) < least):
        bound = "" if least is None else f" of at least {least}"
        raise SimulationError(f"{name}: expected a whole number{bound}, got {show(value)}")
    return int(value)


def check_share(name: str, value: object, what: str) -> None:
    """Refuse what is no number from 0 to 1.

    Raises:
        SimulationError: it is none; the message says that ``what`` was expected.
    """
    if not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise SimulationError(f"{name}: expected {what} from 0 to 1, got {show(value)}")


def check_propagation(value: object) -> bool:
    """Whether spikes pass one layer a step.

    Raises:
        SimulationError: another way than :data:`PROPAGATIONS`.
    """
    if value not in PROPAGATIONS:
        raise SimulationError(f"propagation: expected one of {', '.join(PROPAGATIONS)}, got {show(value)}")
    return value == PROPAGATIONS[1]


def check_device(device: str) -> torch.device:
    """The device "cpu", or "cuda" (perhaps "cuda:1").

    Raises:
        DeviceError: no device of PyTorch, another one, or one that is not here.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise DeviceError(f"device: expected cpu or cuda, got {show(device)}") from None
    if found.type not in ("cpu", "cuda"):
        raise DeviceError(f"device: expected cpu or cuda, got {show(device)}")
    number = torch.cuda.device_count() if found.type == "cuda" and torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= number:
        raise DeviceError(
            f"device: expected a GPU that PyTorch sees, got {found} where it sees {number}: use device='cpu'"
        )
    return found


def show(value: object) -> str:
    """A value in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
