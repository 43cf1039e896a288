"""Curves as SVG, with a legend; of many curves, only some are drawn in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

import numpy as np

from vertebra.report.html_page import details, number_text
from vertebra.report.svg_axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    axes_svg,
    epoch_axis,
    make_axis,
    svg,
    text_svg,
)
from vertebra.tasks.diagnosis import Curve, LineChart

MAX_CURVES = 8  # the colors of the style
SHOWN_ENDS = 3  # of many curves, so many of the highest and of the lowest are drawn
MAX_POINTS = 240  # points of a curve; of more, evenly spaced ones are drawn
MAX_DOTS = 40  # a curve of few points has a dot with its value at each
DASHES = ("", "", "", "", "7 3", "7 3", "2 3", "2 3", "10 3 2 3")


def line_chart(chart: LineChart, *, log: bool = False) -> str:
    """A chart as HTML: its drawing and its legend. Of more than `MAX_CURVES` curves, it shows the highest and the lowest ones and
    their mean, and the others on request.

    Args:
        log: allow a logarithmic vertical axis.
    """
    curves = [curve for curve in map(_finite, chart.curves) if len(curve.x)]
    if not curves:
        return ""
    if len(curves) <= MAX_CURVES:
        return _figure(chart, _drawing(chart, curves, log))
    curves = sorted(curves, key=lambda curve: -float(curve.y.mean()))
    ends = [*curves[:SHOWN_ENDS], *curves[-SHOWN_ENDS:]]
    shown = _drawing(chart, ends, log, mean=_mean(curves))
    parts = [_drawing(chart, curves[first : first + MAX_CURVES], log) for first in range(0, len(curves), MAX_CURVES)]
    note = f"The {SHOWN_ENDS} highest and the {SHOWN_ENDS} lowest of {len(curves)} curves, and the mean of all."
    text = f"{chart.text} {note}".strip()
    return _figure(replace(chart, text=text), shown + details(f"All {len(curves)} curves", "".join(parts)))


def _figure(chart: LineChart, body: str) -> str:
    text = f"<p>{escape(chart.text)}</p>" if chart.text else ""
    return f'<figure class="chart"><h4>{escape(chart.title)}</h4>{text}{body}</figure>'


def _finite(curve: Curve) -> Curve:
    """The curve's points that are finite; evenly spaced ones of many."""
    x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float)
    kept = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(kept) > MAX_POINTS:
        kept = kept[np.linspace(0, len(kept) - 1, MAX_POINTS, dtype=int)]
    return Curve(curve.name, x[kept], y[kept], curve.mark)


def _mean(curves: Sequence[Curve]) -> Curve:
    """The mean of curves, where at least one of them is defined."""
    grid = np.unique(np.concatenate([curve.x for curve in curves]))
    if len(grid) > MAX_POINTS:
        grid = np.linspace(grid[0], grid[-1], MAX_POINTS)
    values = np.full((len(curves), len(grid)), np.nan)
    for row, curve in zip(values, curves, strict=True):
        order = np.argsort(curve.x, kind="stable")
        row[:] = np.interp(grid, curve.x[order], curve.y[order], left=np.nan, right=np.nan)
    known = np.isfinite(values).any(axis=0)
    return Curve("mean of all", grid[known], np.nanmean(values[:, known], axis=0))


def _drawing(chart: LineChart, curves: Sequence[Curve], log: bool, mean: Curve | None = None) -> str:
    every = [*curves, *([mean] if mean is not None else [])]
    x, y = np.concatenate([curve.x for curve in every]), np.concatenate([curve.y for curve in every])
    for curve in every:
        if curve.mark is not None:
            x, y = np.append(x, curve.mark[0]), np.append(y, curve.mark[1])
    epochs = chart.x_label == "epoch"
    if not epochs and min(x.min(), y.min()) >= 0 and max(x.max(), y.max()) <= 1:  # both are shares
        x, y = np.append(x, (0, 1)), np.append(y, (0, 1))
    across = epoch_axis(x, LEFT, WIDTH - RIGHT) if epochs else make_axis(x, LEFT, WIDTH - RIGHT)
    down = make_axis(y, HEIGHT - BOTTOM, TOP, log=log)
    pieces = [axes_svg(across, down, chart.x_label, chart.y_label + (" (logarithmic)" if down.log else ""))]
    if chart.diagonal:
        pieces.append(_diagonal(across, down))
    legend = []
    for number, curve in enumerate(every):
        color = MAX_CURVES if curve is mean else number
        pieces.append(_curve(curve, color, across, down, chart.x_label))
        legend.append(f"<li>{_sample(color)}{escape(curve.name)}{_mark_text(curve, chart.x_label)}</li>")
    label = f"{chart.title}: {chart.y_label} by {chart.x_label}; {'; '.join(map(_summary, every))}"
    return svg(HEIGHT, label, "".join(pieces)) + f'<ul class="legend">{"".join(legend)}</ul>'


def _summary(curve: Curve) -> str:
    return f"{curve.name} from {number_text(float(curve.y[0]))} to {number_text(float(curve.y[-1]))}"


def _mark_text(curve: Curve, x_label: str) -> str:
    """The marked point of a curve, in parentheses; empty for none."""
    if curve.mark is None:
        return ""
    return f" ({escape(number_text(float(curve.mark[1])))} at {escape(x_label)} {curve.mark[0]:.4g})"


def _sample(color: int) -> str:
    return f'<svg viewBox="0 0 30 10" aria-hidden="true" class="c{color}"><path d="M0 5H30" {_stroke(color)}/></svg>'


def _stroke(color: int) -> str:
    dashes = f' stroke-dasharray="{DASHES[color]}"' if DASHES[color] else ""
    return f'fill="none" stroke="currentColor" stroke-width="2"{dashes}'


def _curve(curve: Curve, color: int, across: Axis, down: Axis, x_label: str) -> str:
    x, y = across.position(curve.x), down.position(curve.y)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    pieces = [f'<polyline points="{points}" {_stroke(color)}><title>{escape(curve.name)}</title></polyline>']
    if len(curve.x) <= MAX_DOTS:
        values = zip(curve.x.tolist(), curve.y.tolist(), x.tolist(), y.tolist(), strict=True)
        pieces += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="currentColor">'
            f"<title>{escape(curve.name)}: {number_text(value)} at {escape(x_label)} {at:g}</title></circle>"
            for at, value, a, b in values
        ]
    if curve.mark is not None:
        a, b = float(across.position(curve.mark[0])), float(down.position(curve.mark[1]))
        pieces.append(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="5" class="flat" stroke="currentColor" stroke-width="2">'
            f"<title>{escape(curve.name)}{_mark_text(curve, x_label)}</title></circle>"
        )
    return f'<g class="c{color}">{"".join(pieces)}</g>'


def _diagonal(across: Axis, down: Axis) -> str:
    low, high = max(across.low, down.low), min(across.high, down.high)
    ends = [(float(across.position(value)), float(down.position(value))) for value in (low, high)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in ends)
    drawn = f'<polyline points="{path}" fill="none" stroke="currentColor" class="dim" stroke-dasharray="3 4"/>'
    return drawn + text_svg(ends[0][0] + 14, ends[0][1] - 22, "ideal", "start", "dim")
