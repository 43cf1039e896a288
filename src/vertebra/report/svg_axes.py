"""The axes of a chart: ticks at round numbers, and the position of a value in the drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 26, 42  # margins of the plotted area
LOG_RATIO = 50  # largest to median value of an axis that is drawn logarithmically, where that is allowed


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        low, high: the values at its ends.
        ticks: the values with a label.
        start, end: the positions of its ends in the drawing.
        log: whether it is logarithmic.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    start: float
    end: float
    log: bool = False

    def position(self, values: np.ndarray | float) -> np.ndarray:
        """The position of values in the drawing."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        scaled = np.log10(values) if self.log else np.asarray(values, dtype=float)
        return np.asarray(self.start + (scaled - low) / ((high - low) or 1.0) * (self.end - self.start))


def make_axis(values: np.ndarray, start: float, end: float, *, count: int = 5, log: bool = False) -> Axis:
    """The axis for some finite values, from a round number to a round number.

    Args:
        values: at least one.
        count: about how many ticks it gets.
        log: draw it logarithmically if the values span several orders of magnitude.
    """
    low, high = float(values.min()), float(values.max())
    if log and low > 0 and high > LOG_RATIO * float(np.median(values)):
        return _log_axis(low, high, start, end)
    if 0 < low < 0.6 * high:
        low = 0.0
    if high == low:
        low, high = min(low, 0.0), max(high, 0.0) or 1.0
    step = _round_step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(number * step, 12) for number in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks, start, end)


def epoch_axis(values: np.ndarray, start: float, end: float) -> Axis:
    """The axis for whole numbers, such as epochs, which ends where they end."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return Axis(low - 1, high + 1, (low,), start, end)
    step = max(1, math.ceil(_round_step((high - low) / 6)))
    first = math.ceil(low / step) * step
    ticks = [float(low), *(float(tick) for tick in range(int(first), int(high) + 1, step) if tick - low > step / 2)]
    return Axis(low, high, tuple(ticks), start, end)


def _log_axis(low: float, high: float, start: float, end: float) -> Axis:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, (last - first) // 5)
    ticks = tuple(10.0**power for power in range(first, last + 1, every))
    return Axis(10.0**first, max(10.0**last, ticks[-1]), ticks, start, end, log=True)


def _round_step(step: float) -> float:
    """The smallest of 1, 2, 2.5, 5 and 10 times a power of ten that is not below a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * 0.999)


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """The label of a tick, with enough digits to differ from its neighbors."""
    step = min((abs(other - value) for other in ticks if other != value), default=1.0)
    if value != 0 and (abs(value) >= 1e6 or step < 1e-4):
        return f"{value:.3g}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    if round(step * 10**digits, 6) != round(step * 10**digits):
        digits += 1  # a step of 2.5
    return f"{value:,.{digits}f}"


def axes_svg(across: Axis, down: Axis, x_label: str, y_label: str) -> str:
    """The lines, ticks and labels of both axes."""
    bottom = down.start
    pieces = []
    for tick in down.ticks:
        y = float(down.position(tick))
        pieces.append(f'<path class="axis" d="M{across.start:.1f} {y:.1f}H{across.end:.1f}"/>')
        pieces.append(text_svg(across.start - 6, y + 4, tick_text(tick, down.ticks), "end", "dim"))
    for tick in across.ticks:
        x = float(across.position(tick))
        pieces.append(f'<path class="axis" d="M{x:.1f} {bottom:.1f}v5"/>')
        pieces.append(text_svg(x, bottom + 17, tick_text(tick, across.ticks), "middle", "dim"))
    pieces.append(text_svg((across.start + across.end) / 2, bottom + 35, x_label, "middle"))
    pieces.append(text_svg(4, 13, y_label, "start"))
    return "".join(pieces)


def text_svg(x: float, y: float, text: str, anchor: str = "start", kind: str = "", turn: float = 0) -> str:
    """A text in a drawing.

    Args:
        x, y: of its anchor on the base line.
        text: the text.
        anchor: "start", "middle" or "end".
        kind: its class in the page's style.
        turn: degrees by which it is turned around its anchor.
    """
    marked = f' class="{kind}"' if kind else ""
    turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}"{marked}{turned}>{escape(text)}</text>'
        if text
        else ""
    )


def cut(text: str, letters: int) -> str:
    """A text of at most so many letters, shortened with an ellipsis."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def svg(height: float, label: str, body: str) -> str:
    """A drawing as an ``svg`` element.

    Args:
        height: in its units; the width is `WIDTH`.
        label: what it shows, for screen readers.
        body: its elements.
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" font-family="sans-serif" role="img" '
        f'aria-label="{escape(label)}">{body}</svg>'
    )
