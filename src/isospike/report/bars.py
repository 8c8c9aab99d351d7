"""Bars: when images settle, and what each layer fires."""

from collections.abc import Sequence

from markupsafe import Markup

from isospike.report.charts import shorten, write_number
from isospike.report.curves import LOOKS
from isospike.report.pieces import write_share
from isospike.report.run_record import LayerRecord
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
    draw_picture,
    join,
    tag,
)

_ROW = 30.0
_NAMES = 112.0


def draw_histogram(shares: Sequence[float], look: int, label: str, *, left: float = 0.0) -> Markup:
    """Bars over time steps.

    Args:
        shares: fraction of the images that settle in each step.
        look: index of the run's colour.
        label: of the run.
        left: fraction that has not settled by the last step: a hatched bar at the end.
    """
    last = len(shares) + (left > 0)
    x = Scale(0.5, last + 0.5, LEFT, WIDTH - RIGHT)
    top = max([*shares, left, 1e-9])
    y = Scale(0.0, 100 * top * 1.08, HEIGHT - BOTTOM, TOP + 8)
    width = (x.end - x.start) / last * 0.8
    parts = [
        draw_axes(
            x,
            y,
            choose_steps(len(shares)),
            choose_ticks(0, y.high),
            "settled in time step",
            "images",
            write_y="{:g} %".format,
        )
    ]
    for step, share in enumerate([*shares, *([left] if left > 0 else [])], start=1):
        if share <= 0:
            continue
        late = step > len(shares)
        words = f"{write_share(share)} not by step {len(shares)}" if late else f"step {step}: {write_share(share)}"
        bar = tag(
            "rect",
            tag("title", words),
            class_="bar late" if late else "bar",
            x=x(step) - width / 2,
            y=y(100 * share),
            width=width,
            height=y.start - y(100 * share),
        )
        parts.append(bar)
    if left > 0:
        parts.append(tag("text", "later", x=x(last), y=y.start + 17, text_anchor="middle"))
    settled = [step for step, share in enumerate(shares, start=1) if share > 0]
    words = f"from step {settled[0]} to step {settled[-1]}" if settled else "none"
    late_words = f"; {write_share(left)} not by step {len(shares)}" if left > 0 else ""
    described = f"Settle times of {label}: images settle {words}{late_words}."
    return draw_picture(tag("g", *parts, class_=f"look{look % LOOKS}"), described, "settling")


def draw_layer_bars(layers: Sequence[LayerRecord], label: str) -> Markup:
    """Positive and negative spikes of each layer, per neuron where the number of neurons is known."""
    known = all(layer.neurons for layer in layers)
    rows = [
        (layer, layer.positive[-1] / size, layer.negative[-1] / size)
        for layer in layers
        if layer.positive and layer.negative and (size := layer.neurons or 1 if known else 1)
    ]
    height = TOP + _ROW * len(rows) + BOTTOM
    unit = "spikes per neuron" if known else "spikes per image"
    x = Scale(0.0, max([1e-9, *(max(up, down) for _, up, down in rows)]) * 1.18, _NAMES, WIDTH - RIGHT)
    y = Scale(0.0, 1.0, height - BOTTOM, TOP)
    parts = [draw_axes(x, y, choose_ticks(0, x.high, 4), [], f"{unit}, after the last step", "")]
    for index, (layer, up, down) in enumerate(rows):
        top = TOP + _ROW * index
        parts.append(tag("text", shorten(layer.name, 16), x=_NAMES - 6, y=top + 18, text_anchor="end"))
        for kind, value, offset in (("positive", up, 3.0), ("negative", down, 15.0)):
            width = x(value) - x.start
            parts.append(tag("rect", class_=f"bar {kind}", x=x.start, y=top + offset, width=width, height=11.0))
            parts.append(tag("text", write_number(value), class_="small", x=x(value) + 4, y=top + offset + 9))
    words = "; ".join(
        f"{layer.name} {write_number(up)} positive, {write_number(down)} negative" for layer, up, down in rows
    )
    return draw_picture(join(parts), f"Spikes by layer of {label}, {unit}: {words}.", "layer-bars", height)
