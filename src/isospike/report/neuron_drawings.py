"""Single neurons: who fired when, and a membrane potential between its moving thresholds."""

from itertools import groupby

from markupsafe import Markup

from isospike.report.charts import write_number
from isospike.report.sample import LayerTrace, MembraneTrace, Sample
from isospike.report.vector import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    choose_steps,
    choose_ticks,
    draw_axes,
    draw_picture,
    join,
    tag,
)

_ROW = 11.0
_COUNTED = 20
_HEIGHT = 250.0


def draw_raster(layer: LayerTrace, label: str) -> Markup:
    """Spikes of the neurons that fired most: one row a neuron, one column a step."""
    steps = len(layer.spikes)
    height = TOP + _ROW * len(layer.raster) + BOTTOM + 4
    x = Scale(0.5, steps + 0.5, LEFT + 22, WIDTH - RIGHT)
    y = Scale(0.0, 1.0, height - BOTTOM, TOP)
    column = (x.end - x.start) / steps
    parts = [draw_axes(x, y, choose_steps(steps), [], "time step", "")]
    paths: dict[str, list[str]] = {"positive": [], "negative": []}
    for row, train in enumerate(layer.raster):
        middle = TOP + _ROW * (row + 0.5)
        parts.append(tag("line", class_="grid", x1=x.start, x2=x.end, y1=middle, y2=middle))
        if row % 2 == 0:
            name = write_place(train.neuron)
            parts.append(tag("text", name, class_="tiny", x=x.start - 5, y=middle + 3, text_anchor="end"))
        for step, spikes in enumerate(train.spikes, start=1):
            if spikes:
                wide = min(7.0, 0.7 * column)
                place = f"{x(step) - wide / 2:.1f} {middle:.1f}"
                if spikes > 0:
                    paths["positive"].append(f"M{place}m0 4.5h{wide:.1f}v-9h-{wide:.1f}z")
                else:
                    paths["negative"].append(f"M{place}h{wide:.1f}l-{wide / 2:.1f} 4.5z")
    parts += [tag("path", class_=f"bar {kind}", d="".join(found)) for kind, found in paths.items() if found]
    total = sum(sum(map(abs, train.spikes)) for train in layer.raster)
    words = (
        f"Raster of {layer.name} in {label}: {len(layer.raster)} of {layer.fired} neurons that fired, {total} spikes "
        f"over {steps} steps."
    )
    return draw_picture(join(parts), words, "raster", height)


def draw_membrane(layer: LayerTrace, trace: MembraneTrace, sample: Sample) -> Markup:
    """The potential of one neuron at each step, the thresholds that it met, and its spikes."""
    steps = sample.steps
    ends = [value for value in (*trace.membrane, *trace.rise, *trace.fall, 0.0) if value is not None]
    margin = 0.08 * (max(ends) - min(ends)) or 1.0
    x = Scale(0.5, steps + 0.5, LEFT, WIDTH - RIGHT)
    counted = steps <= _COUNTED
    y = Scale(min(ends) - margin, max(ends) + margin, _HEIGHT - BOTTOM, TOP + (26 if counted else 8))
    parts = [
        draw_axes(x, y, choose_steps(steps), choose_ticks(y.low, y.high, 5), "time step", "", write_y=_write_potential)
    ]
    parts.append(_draw_thresholds(trace, x, y))
    line = " ".join(f"{x(step):.2f},{y(value):.2f}" for step, value in enumerate(trace.membrane, start=1))
    parts.append(tag("polyline", class_="potential", points=line))
    before = (0, *trace.count[:-1])
    for step, (value, now, was) in enumerate(zip(trace.membrane, trace.count, before, strict=True), start=1):
        kind = "fires" if now > was else "falls" if now < was else "rests"
        parts.append(_draw_point(kind, x(step), y(value)))
        if counted:
            parts.append(tag("text", str(now), class_="small", x=x(step), y=TOP + 10, text_anchor="middle"))
    if counted:
        parts.append(tag("text", "count", class_="small", x=LEFT - 6, y=TOP + 10, text_anchor="end"))
    ups = sum(max(0, now - was) for now, was in zip(trace.count, before, strict=True))
    downs = sum(max(0, was - now) for now, was in zip(trace.count, before, strict=True))
    words = (
        f"Membrane potential of neuron {write_place(trace.neuron)} of {layer.name} over {steps} steps: {ups} positive "
        f"and {downs} negative spikes; at the end count {trace.count[-1]}, "
        f"potential {_write_potential(trace.membrane[-1])}."
    )
    return draw_picture(join(parts), words, "membrane", _HEIGHT)


def write_place(neuron: tuple[int, ...]) -> str:
    """Channel, row and column of a neuron, or its feature."""
    return ",".join(map(str, neuron))


def _draw_thresholds(trace: MembraneTrace, x: Scale, y: Scale) -> Markup:
    """The two thresholds in force at each step, and the calm between them."""
    half = (x.end - x.start) / (x.high - x.low) / 2
    parts = []
    step = 1
    for (rise, fall), same in groupby(zip(trace.rise, trace.fall, strict=True)):
        first, step = step, step + len(list(same))
        start, end = x(first) - half, x(step - 1) + half
        top = y.end if rise is None else y(rise)
        bottom = y.start if fall is None else y(fall)
        parts.append(tag("rect", class_="calm", x=start, y=top, width=end - start, height=max(0.0, bottom - top)))
        if rise is not None:
            parts.append(tag("line", class_="rise", x1=start, x2=end, y1=top, y2=top))
        if fall is not None:
            parts.append(tag("line", class_="fall", x1=start, x2=end, y1=bottom, y2=bottom))
    return join(parts)


def _draw_point(kind: str, x: float, y: float) -> Markup:
    if kind == "rests":
        return tag("circle", class_="rests", cx=x, cy=y, r=2.4)
    sign = -1 if kind == "fires" else 1
    points = f"{x:.2f},{y + 6 * sign:.2f} {x + 5.5:.2f},{y - 4 * sign:.2f} {x - 5.5:.2f},{y - 4 * sign:.2f}"
    return tag("polygon", class_=kind, points=points)


def _write_potential(value: float) -> str:
    return f"-{write_number(-value)}" if value < 0 else write_number(value)
