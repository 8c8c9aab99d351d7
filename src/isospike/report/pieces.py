"""What a page is made of, before it is HTML: values, tables, figures, sources."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup


@dataclass(frozen=True)
class Value:
    """What a reader sees, and beside it what a machine reads.

    Attributes:
        text: rounded, with its unit.
        exact: the number as the file has it; None where there is no single number.
        note: a remark in smaller letters.
        missing: a command that would fill the gap, in place of a value.
    """

    text: str
    exact: float | int | None = None
    note: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Source:
    """Where a figure's numbers come from: a file, and the command that writes it."""

    path: Path
    command: str


@dataclass(frozen=True)
class Gap:
    """What a run lacks, and the command that would fill it."""

    label: str
    command: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of values under a heading; the first column names the row.

    Attributes:
        caption: what it shows.
        head: of the columns.
        rows: of cells.
        sortable: whether the columns are buttons.
        words: how many columns, from the first on, hold words rather than numbers.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    sortable: bool = False
    words: int = 1


@dataclass(frozen=True)
class Figure:
    """A drawing with what belongs to it.

    Attributes:
        drawing: SVG.
        title: above it.
        caption: what one sees.
        sources: of its numbers.
        legend: swatches and their words.
        table: the same numbers in words, for those who do not see it.
    """

    drawing: Markup
    title: str
    caption: str = ""
    sources: tuple[Source, ...] = ()
    legend: tuple[tuple[Markup, str], ...] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: its anchor.
        title: its heading.
        intro: what it is about.
        tables: shown before the figures.
        figures: drawings.
        gaps: what is not there.
        sources: of the tables.
    """

    name: str
    title: str
    intro: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    gaps: tuple[Gap, ...] = ()
    sources: tuple[Source, ...] = field(default=())


def write_percent(value: float | None) -> Value:
    """A fraction as a percentage of two decimals."""
    return Value("–") if value is None else Value(write_share(value), value)


def write_share(fraction: float) -> str:
    """A fraction as a percentage of two decimals, in words."""
    return f"{100 * fraction:.2f} %"


def write_points(difference: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * difference:+.2f} points".replace("-", "−")


def write_count(value: float | None, digits: int = 0) -> Value:
    """A number with separators between thousands."""
    return Value("–") if value is None else Value(f"{value:,.{digits}f}", value)


def list_text(words: Sequence[str]) -> tuple[Value, ...]:
    """Cells of words."""
    return tuple(Value(word) for word in words)
