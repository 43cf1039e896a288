"""Checks of annotation files: numbers and flags, also those written as text, and whether enough annotations are usable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.errors import DataError

_YES = frozenset({"1", "1.0", "true", "yes", "y", "t"})
_NO = frozenset({"", "0", "0.0", "false", "no", "n", "f", "none", "null"})
FEW = 10  # fewer unusable annotations give a note and no error, if others are left
DROPPED = 0.5  # fraction of annotations
UNUSED = 0.9
IGNORED_BOXES = "ignored in training and metrics"
"""What is done with an object of which a task needs more than its box, in notes."""

DIGITS = 18  # of the longest whole number that is read; more do not fit in 64 bits


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


def check_usable(total: int, dropped: int, crowd: int, where: Path, notes: list[Note]) -> None:
    """Checks that enough annotations can be used for training.

    Args:
        total: number of annotations.
        dropped: number of wrong annotations that were left out.
        crowd: number of remaining annotations that mark a crowd or a region to ignore, or are `IGNORED_BOXES` by a note, which are
            not used in training.
        notes: the warnings of the reader, for the message.

    Raises:
        DataError: all annotations were dropped or mark a crowd; or at least `FEW` were, and more than half were dropped, or more
            than 90 percent were dropped or mark a crowd.
    """
    unused = dropped + crowd
    few = unused < FEW and unused < total
    if not total or few or (unused < total and dropped <= DROPPED * total and unused <= UNUSED * total):
        return
    reasons = [str(note) for note in notes if note.done.startswith(("dropped", "taken as 0", IGNORED_BOXES))]
    marked = crowd - sum(note.count for note in notes if note.done == IGNORED_BOXES)
    if marked > 0:
        reasons.append(f"{marked} mark a crowd or something to ignore ('iscrowd', 'difficult'), which is not learned")
    listed = "; ".join(reasons) or f"{dropped} were dropped"
    raise DataError(f"{where}: {unused} of its {total} annotations cannot be used; put them right first: {listed}")
