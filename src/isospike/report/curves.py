"""Lines: over time steps, over severity, over anything."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from isospike.report.charts import Level, Line, StepChart, write_number
from isospike.report.step_plots import choose_window
from isospike.report.vector import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    choose_steps,
    choose_ticks,
    draw_axes,
    draw_marker,
    draw_picture,
    join,
    tag,
)

LOOKS = 5
_MARKED = 16


@dataclass(frozen=True)
class Curve:
    """One line.

    Attributes:
        look: index of its colour, dash and marker.
        label: its name.
        xs: where.
        ys: how much.
        band: the ends of an interval around each point.
    """

    look: int
    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    band: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True)
class CurveChart:
    """Lines over one axis.

    Attributes:
        name: class of the drawing.
        title: what it shows.
        x_label: of the axis.
        y_label: of the other.
        curves: the lines.
        levels: values to compare with.
        percent: values are percentages.
        powers: the axis goes by powers of two.
        whole: the axis has whole numbers from 1: time steps.
        window: the lowest and highest value shown; None for all, from 0.
        energy: values are picojoules.
        cursor: whether a slider over time steps moves a line across it.
        ticks: words along the axis, at 0, 1, 2, ...; None for numbers.
        number: tells it from the other charts of its name on the same page.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    levels: tuple[Level, ...] = ()
    percent: bool = False
    powers: bool = False
    whole: bool = True
    window: tuple[float, float] | None = None
    energy: bool = False
    cursor: bool = False
    ticks: tuple[str, ...] | None = None
    number: int = 0

    def write(self, value: float) -> str:
        """A value with its unit."""
        if self.energy:
            return write_energy(value)
        return f"{value:.2f} %" if self.percent else write_number(value)

    def write_place(self, x: float) -> str:
        """A place on the axis."""
        return f"{x:g}" if self.ticks is None else self.ticks[int(x)]


def compose_curves(chart: StepChart) -> list[CurveChart]:
    """A chart over time steps as drawings: the whole, and where it hides the end, the end magnified."""
    curves = tuple(
        Curve(line.run, line.label, tuple(map(float, range(1, len(line.values) + 1))), line.values, _make_band(line))
        for line in chart.lines
    )
    last = [len(line.values) for line in chart.lines]
    powers = max(last) >= 8 * min(last) and max(last) > 1
    whole = CurveChart(
        chart.name, chart.title, "time step", chart.measure, curves, chart.levels, chart.percent, powers, cursor=True
    )
    window = choose_window(chart)
    if window is None:
        return [whole]
    near = replace(whole, name=f"{chart.name} near", title=f"{chart.title}: the end, magnified", window=window)
    return [whole, near]


def draw_curves(chart: CurveChart) -> Markup:
    """The drawing."""
    x, y = _make_scales(chart)
    x_ticks: Sequence[float] = choose_ticks(x.low, x.high)
    if chart.whole:
        x_ticks = [step for step in choose_steps(int(x.high), chart.powers) if x.low <= step <= x.high]
    elif chart.ticks is not None:
        x_ticks = range(len(chart.ticks))
    y_ticks = choose_ticks(y.low, y.high)
    write = "{:g} %".format if chart.percent else chart.write
    parts = [draw_axes(x, y, x_ticks, y_ticks, chart.x_label, chart.y_label, chart.write_place, write)]
    clip = f"clip-{chart.name.replace(' ', '-')}-{chart.number}"
    inside = [_draw_levels(chart, x, y), *(_draw_curve(curve, x, y) for curve in chart.curves)]
    if chart.cursor:
        places = " ".join(f"{x(step):.2f}" for step in range(1, int(x.high) + 1))
        inside.append(tag("line", class_="cursor", x1=x.start, x2=x.start, y1=y.start, y2=y.end, data_places=places))
    box = tag("rect", x=x.start - 6, y=y.end - 6, width=x.end - x.start + 12, height=y.start - y.end + 12)
    parts.append(tag("clipPath", box, id=clip))
    parts.append(tag("g", *inside, clip_path=f"url(#{clip})"))
    return draw_picture(join(parts), describe_curves(chart), chart.name)


def write_energy(picojoules: float) -> str:
    """Three digits and a unit: 4.07 nJ."""
    if not picojoules:
        return "0"
    for size, unit in ((1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ")):
        if picojoules >= 0.9995 * size:
            return f"{write_number(picojoules / size)} {unit}"
    return f"{write_number(picojoules)} pJ"


def describe_curves(chart: CurveChart) -> str:
    """The chart in words."""
    ends = [
        f"{curve.label}: from {chart.write(curve.ys[0])} at {chart.write_place(curve.xs[0])} to "
        f"{chart.write(curve.ys[-1])} at {chart.write_place(curve.xs[-1])}"
        for curve in chart.curves
    ]
    levels = [f"{level.label}: {chart.write(level.value)}" for level in chart.levels]
    return f"{chart.title}, over {chart.x_label}. {'; '.join([*ends, *levels])}."


def draw_swatch(look: int | None, rank: int = 0) -> Markup:
    """What a legend shows of a line: of a run, or of a level."""
    if look is None:
        line = tag("line", class_=f"level rank{rank}", x1=1, x2=27, y1=6, y2=6)
        content = tag("g", line)
    else:
        line = tag("line", class_="curve", x1=1, x2=27, y1=6, y2=6)
        content = tag("g", line, draw_marker(look, 14, 6), class_=f"look{look % LOOKS} dash{look % 4}")
    return tag("svg", content, viewBox="0 0 28 12", width=28, height=12, class_="swatch", aria_hidden="true")


def _make_scales(chart: CurveChart) -> tuple[Scale, Scale]:
    xs = [value for curve in chart.curves for value in curve.xs]
    ys = [value for curve in chart.curves for value in curve.ys]
    tops = [*ys, *(level.value for level in chart.levels)]
    tops += [top for curve in chart.curves for _, top in curve.band or ()]
    low, high = chart.window or (0.0, 100.0 if chart.percent else 1.06 * max(tops) or 1.0)
    left, right = min(xs), max(xs)
    if left == right and not chart.powers:
        left, right = left - 0.5, right + 0.5
    x = Scale(left, right, LEFT, WIDTH - RIGHT, chart.powers and left > 0)
    return x, Scale(low, high, HEIGHT - BOTTOM, TOP + 8)


def _draw_levels(chart: CurveChart, x: Scale, y: Scale) -> Markup:
    return join(
        [
            tag(
                "line",
                class_=f"level rank{level.rank}" + ("" if level.run is None else f" look{level.run % LOOKS}"),
                x1=x.start,
                x2=x.end,
                y1=y(level.value),
                y2=y(level.value),
            )
            for level in chart.levels
        ]
    )


def _draw_curve(curve: Curve, x: Scale, y: Scale) -> Markup:
    points = [(x(a), y(b)) for a, b in zip(curve.xs, curve.ys, strict=True)]
    parts = []
    if curve.band:
        lower = [(x(a), y(low)) for a, (low, _) in zip(curve.xs, curve.band, strict=True)]
        upper = [(x(a), y(high)) for a, (_, high) in zip(curve.xs, curve.band, strict=True)]
        if len(points) == 1:
            parts.append(tag("line", class_="curve", x1=upper[0][0], x2=upper[0][0], y1=upper[0][1], y2=lower[0][1]))
        else:
            parts.append(tag("polygon", class_="band", points=_list_points([*upper, *reversed(lower)])))
    parts.append(tag("polyline", class_="curve", points=_list_points(points)))
    stride = max(1, len(points) // _MARKED)
    chosen = sorted({*range(0, len(points), stride), len(points) - 1})
    parts += [draw_marker(curve.look, *points[index]) for index in chosen]
    return tag("g", *parts, class_=f"look{curve.look % LOOKS} dash{curve.look % 4}")


def _make_band(line: Line) -> tuple[tuple[float, float], ...] | None:
    if not any(line.spread or ()):
        return None
    pairs = zip(line.values, line.spread or (), strict=True)
    return tuple((value - half, value + half) for value, half in pairs)


def _list_points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.2f},{b:.2f}" for a, b in points)
