"""Numbers that come from files."""

from math import isfinite
from typing import Any


def read_finite(value: Any) -> float:
    """A number that is neither infinite nor NaN.

    Raises:
        ValueError, TypeError: something else.
    """
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"expected a finite number, got {number}")
    return number


def read_conditions(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The section ``conditions`` of a file; empty in files of earlier versions.

    Raises:
        ValueError, TypeError: something else.
    """
    return {str(section): dict(said) for section, said in dict(content.get("conditions") or {}).items()}


def read_fraction(value: Any) -> float:
    """A number from 0 to 1.

    Raises:
        ValueError, TypeError: something else.
    """
    number = read_finite(value)
    if not 0 <= number <= 1:
        raise ValueError(f"expected a fraction from 0 to 1, got {number}")
    return number
