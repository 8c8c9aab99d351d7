"""SVG by hand: elements, scales, axes. All text is escaped; colours are the page's classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log2, log10

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 14.0, 44.0
_MOST_TICKS = 8


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """One element. ``class_`` stands for ``class``, ``stroke_width`` for ``stroke-width``; None is left out."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_shorten(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{pairs}>{inside}</{name}>")


def join(parts: Sequence[Markup]) -> Markup:
    """One after another."""
    return Markup("").join(parts)


@dataclass(frozen=True)
class Scale:
    """Values to places on the page, linear or by powers of two.

    Attributes:
        low: the value at ``start``.
        high: the value at ``end``.
        start: a place, in units of the drawing.
        end: likewise.
        powers: whether equal ratios are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    powers: bool = False

    def __call__(self, value: float) -> float:
        low, high, here = self.low, self.high, value
        if self.powers:
            low, high, here = log2(low), log2(high), log2(value)
        share = (here - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def choose_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two values: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** floor(log10(rough))
    stride = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = ceil(low / stride - 1e-9), floor(high / stride + 1e-9)
    return [round(number * stride, 12) for number in range(first, last + 1)]


def choose_steps(last: int, powers: bool = False) -> list[int]:
    """Time steps for ticks: 1, and round numbers after it; or powers of two."""
    if powers:
        return [2**power for power in range(floor(log2(last)) + 1)]
    stride = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if last / size <= _MOST_TICKS)
    return sorted({1, *range(stride, last + 1, stride)})


def draw_axes(
    x: Scale,
    y: Scale,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_label: str,
    y_label: str,
    write_x: Callable[[float], str] = "{:g}".format,
    write_y: Callable[[float], str] = "{:g}".format,
) -> Markup:
    """Grid, ticks and names of both axes."""
    parts = []
    for value in y_ticks:
        place = y(value)
        parts.append(tag("line", class_="grid", x1=x.start, x2=x.end, y1=place, y2=place))
        parts.append(tag("text", write_y(value), x=x.start - 6, y=place + 4, text_anchor="end"))
    for value in x_ticks:
        place = x(value)
        parts.append(tag("line", class_="axis", x1=place, x2=place, y1=y.start, y2=y.start + 4))
        parts.append(tag("text", write_x(value), x=place, y=y.start + 17, text_anchor="middle"))
    parts.append(tag("line", class_="axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start))
    parts.append(tag("text", x_label, class_="name", x=(x.start + x.end) / 2, y=y.start + 36, text_anchor="middle"))
    if y_label:
        parts.append(tag("text", y_label, class_="name", x=2, y=10))
    return join(parts)


def draw_marker(kind: int, x: float, y: float, size: float = 3.4) -> Markup:
    """One of four shapes: disc, square, triangle, diamond."""
    shape = kind % 4
    if shape == 0:
        return tag("circle", class_="mark", cx=x, cy=y, r=size)
    points = {
        1: ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        2: ((0, -1.3), (1.2, 0.9), (-1.2, 0.9)),
        3: ((0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)),
    }[shape]
    path = " ".join(f"{_shorten(x + size * a)},{_shorten(y + size * b)}" for a, b in points)
    return tag("polygon", class_="mark", points=path)


def draw_picture(content: Markup, label: str, name: str, height: float = HEIGHT, width: float = WIDTH) -> Markup:
    """A whole drawing, whose words for those who do not see it are ``label``."""
    return tag(
        "svg",
        content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        class_=f"drawing {name}",
        width=f"{width:g}",
        height=f"{height:g}",
    )


def _shorten(value: object) -> str:
    """Numbers with two decimals at most."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".") or "0"
    return str(value)
