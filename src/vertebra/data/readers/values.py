"""Parses numbers and flags of annotation files, also if they are written as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra.data.index import Note

_YES = frozenset({"1", "1.0", "true", "yes", "y", "t"})
_NO = frozenset({"", "0", "0.0", "false", "no", "n", "f", "none", "null"})
DIGITS = 18  # maximum digits of a whole number; more do not fit in 64 bits


def flag(value: Any) -> bool | None:
    """Whether a flag is set: 1, true, "1", "true", "yes"; None for other values."""
    if value is None or isinstance(value, (bool, int, float)):
        return None if value not in (None, 0, 1) else bool(value)
    word = value.strip().lower() if isinstance(value, str) else None
    return True if word in _YES else False if word in _NO else None


def flags(values: Sequence[Any], name: str, names: Sequence[str], notes: list[Note]) -> np.ndarray:
    """Flags of objects as (n,) bool; other values count as no, with a note.

    Args:
        name: name of the flag.
        names: names of the objects' files.
    """
    read = [flag(value) for value in values]
    wrong = [names[row] for row, value in enumerate(read) if value is None]
    if wrong:
        notes.append(Note.of("object", f"whose '{name}' is neither 0 nor 1", "taken as 0", wrong))
    return np.array([bool(value) for value in read], dtype=bool)


def whole_number(value: Any) -> int | None:
    """A whole number, also as text or as a float; None for other values."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        text = value.strip()
        if len(text) > DIGITS:
            return None
        try:
            value = int(text) if text.lstrip("+-").isdecimal() else float(text)  # a float is exact up to 2**53 only
        except ValueError:
            return None
    if isinstance(value, int):
        return value if abs(value) < 10**DIGITS else None
    return int(value) if np.isfinite(value) and value == int(value) and abs(value) < 10**DIGITS else None
