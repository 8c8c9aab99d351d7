"""Constants of a C program: the smallest integer types, arrays as text, ternary weights in two bits each."""

from dataclasses import dataclass

import numpy as np

_PER_LINE = 24


@dataclass(frozen=True, eq=False)
class Constant:
    """``static const <type> <name>[...]``: an array in flash.

    Attributes:
        name: the C identifier.
        type: its C type.
        values: the numbers, in one dimension.
    """

    name: str
    type: str
    values: np.ndarray

    @property
    def bytes(self) -> int:
        """The flash it takes."""
        return size_of(self.type) * len(self.values)

    def write(self) -> str:
        """Its definition."""
        lines = [f"static const {self.type} {self.name}[{len(self.values)}] = {{"]
        suffix = "u" if self.type == "uint32_t" else ""
        for first in range(0, len(self.values), _PER_LINE):
            row = self.values[first : first + _PER_LINE].tolist()
            lines.append("    " + ", ".join(f"{value}{suffix}" for value in row) + ",")
        return "\n".join([*lines, "};"])


def choose_type(low: int, high: int) -> str:
    """The smallest type of <stdint.h> that holds both ends, which fit ``int32_t``.

    Unsigned types stop at 16 bits: in C a wider one would make what it meets unsigned too.
    """
    for bits in (8, 16):
        if low >= 0 and high < 1 << bits:
            return f"uint{bits}_t"
        if low >= -(1 << bits - 1) and high < 1 << bits - 1:
            return f"int{bits}_t"
    return "int32_t"


def size_of(name: str) -> int:
    """The bytes of a type that :func:`choose_type` gave."""
    return int(name.removeprefix("u").removeprefix("int").removesuffix("_t")) // 8


def make_constant(name: str, values: np.ndarray) -> Constant:
    """An array in the smallest type that holds it."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return Constant(name, choose_type(int(flat.min()), int(flat.max())), flat)


def pack_ternary(name: str, rows: np.ndarray) -> tuple[Constant, int]:
    """Rows of -1, 0 and 1 in two bits a weight: the low bit says that there is one, the high bit that it is negative.

    Each row begins with a word of its own, its first weight in the lowest bits; words have 32 bits where rows are
    long, 8 where they are short. Read from the lowest bits, a word that has become 0 has nothing left to say.

    Args:
        name: the C identifier.
        rows: (rows, weights).

    Returns:
        The words, and how many a row has.
    """
    bits = 32 if rows.shape[1] >= 32 else 8
    per_word = bits // 2
    words = -(-rows.shape[1] // per_word)
    codes = np.zeros((len(rows), words * per_word), dtype=np.uint32)
    codes[:, : rows.shape[1]] = (rows != 0) + 2 * (rows < 0)
    shifts = 2 * np.arange(per_word, dtype=np.uint32)
    packed = (codes.reshape(len(rows), words, per_word) << shifts).sum(2, dtype=np.uint32)
    return Constant(name, f"uint{bits}_t", packed.reshape(-1)), words
