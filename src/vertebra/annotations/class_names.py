"""Matches class names of a data set with those of the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.values import whole_number
from vertebra.errors import DataError, suggest


def sorted_names(names: Iterable[str]) -> list[str]:
    """Names of classes in the order of their numbers if all are whole numbers, else by the alphabet."""
    listed = sorted(names)
    numbers = {name: whole_number(name) for name in listed}
    return sorted(listed, key=lambda name: numbers[name] or 0) if None not in numbers.values() else listed


def class_ids(names: Sequence[str], classes: Sequence[str], where: Path | str) -> np.ndarray:
    """The id of each name in a list of classes, -1 for other names.

    Raises:
        DataError: none of the names is in the list.
    """
    ids = {name: position for position, name in enumerate(classes)}
    matched = np.array([ids.get(name, -1) for name in names], dtype=np.int64)
    if len(names) and (matched < 0).all():
        raise DataError(
            f"{where}: none of its classes ({shorten(names)}) is among those asked for ({shorten(classes)}). "
            f"{suggest(classes[0], names)}"
        )
    return matched


def left_out(counts: Mapping[str, int], annotation: str) -> list[Note]:
    """One note about annotations of classes that are not listed; none if there are no such annotations.

    Args:
        counts: the number of annotations of each such class.
        annotation: the noun for an annotation: "box", "image".
    """
    unlisted = {name: count for name, count in counts.items() if count}
    if not unlisted:
        return []
    which = "of classes that are not listed"
    return [Note.of(annotation, which, "left out", list(unlisted), sum(unlisted.values()))]


def without_images(classes: Sequence[str], used: np.ndarray) -> list[Note]:
    """A note about classes without images; none if all classes occur.

    Args:
        used: (K,) bool or counts.
    """
    empty = [name for name, count in zip(classes, used.tolist(), strict=True) if not count]
    return [Note.of("class", "that no image has", "kept", empty)] if empty else []


def shorten(names: Sequence[str], count: int = 8) -> str:
    """The first few names as text."""
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")


def bincount(ids: np.ndarray, count: int) -> np.ndarray:
    """The number of occurrences of each of ``count`` class ids; other ids are ignored."""
    counts: np.ndarray = np.bincount(ids[(ids >= 0) & (ids < count)], minlength=count)
    return counts
