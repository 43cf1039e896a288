"""Durations as text."""

from __future__ import annotations

MINUTE, HOUR = 60, 3600


def duration_text(seconds: float) -> str:
    """A duration in its two largest units: "8.4 s", "42 s", "3 min 20 s", "2 h 05 min", "1 d 4 h"."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    if round(seconds) < MINUTE:
        return f"{round(seconds)} s"
    if round(seconds) < HOUR:
        minutes, rest = divmod(round(seconds), MINUTE)
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / MINUTE), 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / HOUR), 24)
    return f"{days} d {hours} h"
