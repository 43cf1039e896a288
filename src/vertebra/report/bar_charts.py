"""Bars as SVG."""

from __future__ import annotations

import math
from html import escape

from vertebra.report.html_page import details, table
from vertebra.report.svg_axes import WIDTH, cut, svg, text_svg
from vertebra.tasks.diagnosis import BarChart

MAX_BARS = 16
NAMES, VALUES, LINE = 150, 64, 24  # widths of names and values, and height of a bar with its gap


def bar_chart(chart: BarChart) -> str:
    """A chart as HTML. Of more than `MAX_BARS` bars, it shows the longest ones, and all values on request; a value that is not
    finite has no bar."""
    bars = {name: float(value) for name, value in chart.bars.items() if math.isfinite(value)}
    if not bars:
        return ""
    longest = sorted(bars, key=lambda name: -abs(bars[name]))[:MAX_BARS]
    shown = {name: bars[name] for name in bars if name in longest}
    body = _drawing(chart, shown)
    if len(shown) < len(bars):
        columns = ["name", chart.unit or "value"]
        body += details(f"All {len(bars)} values", table(columns, list(bars.items()), label=chart.title))
    text = f"<p>{escape(chart.text)}</p>" if chart.text else ""
    return f'<figure class="chart"><h4>{escape(chart.title)}</h4>{text}{body}</figure>'


def _drawing(chart: BarChart, bars: dict[str, float]) -> str:
    low, high = min(0.0, *bars.values()), max(0.0, *bars.values())
    room = WIDTH - NAMES - VALUES - 10
    scale = room / ((high - low) or 1.0)
    zero = NAMES + 10 - low * scale
    top = 18 if chart.unit else 4
    pieces = [text_svg(NAMES + 10, 12, chart.unit, "start", "dim")]
    for number, (name, value) in enumerate(bars.items()):
        y = top + LINE * number
        x, length = zero + min(value, 0) * scale, max(abs(value) * scale, 1)
        title = f"<title>{escape(name)}: {_text(value)} {escape(chart.unit)}</title>"
        pieces.append(text_svg(NAMES, y + 16, cut(name, 22), "end"))
        pieces.append(
            f'<rect x="{x:.1f}" y="{y + 3}" width="{length:.1f}" height="{LINE - 7}" rx="2" fill="currentColor">{title}</rect>'
        )
        pieces.append(text_svg(zero + max(value, 0) * scale + 5, y + 16, _text(value), "start"))
    pieces.append(f'<path class="axis" d="M{zero:.1f} {top}v{LINE * len(bars)}"/>')
    values = "; ".join(f"{name} {_text(value)}" for name, value in bars.items())
    label = f"{chart.title}{f' in {chart.unit}' if chart.unit else ''}: {values}"
    return svg(top + LINE * len(bars) + 4, label, f'<g class="c0">{"".join(pieces)}</g>')


def _text(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
