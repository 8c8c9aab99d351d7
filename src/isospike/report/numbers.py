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


def read_fraction(value: Any) -> float:
    """A number from 0 to 1.

    Raises:
        ValueError, TypeError: something else.
    """
    number = read_finite(value)
    if not 0 <= number <= 1:
        raise ValueError(f"expected a fraction from 0 to 1, got {number}")
    return number
