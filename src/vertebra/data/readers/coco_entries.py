"""Checks of a COCO file's entries: unique and matching ids, numbers as text, duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.values import whole_number
from vertebra.errors import DataError

Entry = Mapping[str, Any]
LARGEST = 1_000_000  # maximum side of an image in pixels


def values_of(entries: Sequence[Any], key: str, kind: str, file: Path) -> list[Any]:
    """The value of a key in each entry of a list.

    Args:
        kind: the list's name.

    Raises:
        DataError: an entry is not a JSON object, or lacks the key.
    """
    try:
        return [entry[key] for entry in entries]
    except KeyError:
        row = next(row for row, entry in enumerate(entries) if key not in entry)
        raise DataError(
            f"{file}: an entry lacks '{key}' (number {row + 1} of '{kind}'); images, annotations and categories need "
            "their ids, images a 'file_name' and categories a 'name'"
        ) from None
    except (TypeError, IndexError):
        raise DataError(f"{file}: an entry of '{kind}' is no object in braces; write the file again") from None


def ids_of(entries: Sequence[Any], kind: str, file: Path) -> list[Hashable]:
    """The ids of images or categories, all different.

    Raises:
        DataError: one occurs twice, or is neither a number nor text.
    """
    ids = values_of(entries, "id", kind, file)
    wrong = [entry_id for entry_id in ids if not isinstance(entry_id, (int, float, str))]
    if wrong:
        raise DataError(f"{file}: an id in '{kind}' is {str(wrong[0])[:60]}; ids are numbers or text")
    twice = [key for key, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(
            f"{file}: id {twice[0]} occurs twice in '{kind}'"
            + (f", and so do {len(twice) - 1} others" if len(twice) > 1 else "")
            + "; were two files merged? Give each its own id, in the annotations too"
        )
    return ids


def rows_of_ids(known: Sequence[Hashable], ids: Sequence[Any]) -> np.ndarray:
    """The row of each id among the known ones: by equality, or else as text (7, 7.0 and "7" are the same id).

    Returns:
        (n,) int64, -1 for unknown ids.
    """
    exact = {key: row for row, key in enumerate(known)}
    texts = Counter(map(_text, known))
    by_text = {_text(key): row for row, key in enumerate(known) if texts[_text(key)] == 1}

    def row_of(key: Any) -> int:
        try:
            row = exact.get(key)
        except TypeError:  # a list or an object
            return -1
        return by_text.get(_text(key), -1) if row is None else row

    return np.fromiter(map(row_of, ids), dtype=np.int64, count=len(ids))


def sizes_of(images: Sequence[Entry], names: Sequence[str], notes: list[Note]) -> np.ndarray:
    """(n, 2) int64 (height, width) of images in the file, 0 if missing; a note is added for invalid sizes."""
    sizes = np.zeros((len(images), 2), dtype=np.int64)
    wrong = []
    for row, one in enumerate(images):
        sides = (one.get("height"), one.get("width"))
        height, width = (whole_number(value) for value in sides)
        if height is not None and width is not None and 0 < min(height, width) <= max(height, width) <= LARGEST:
            sizes[row] = height, width
        elif any(value not in (None, 0) for value in sides):
            wrong.append(names[row])
    if wrong:
        notes.append(
            Note.of("image", "whose width and height are no size in pixels", "taken as of unknown size", wrong)
        )
    return sizes


def copies(objects: Sequence[Entry], rows: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """The annotations that are copies of an earlier one, with any id.

    Args:
        objects: the annotations; ``rows`` (A,) and ``categories`` (A,) are their images and categories.

    Returns:
        (A,) bool.
    """
    first: dict[Any, int] = {}
    same = np.zeros(len(objects), dtype=bool)
    for number, (one, row, category) in enumerate(zip(objects, rows.tolist(), categories.tolist(), strict=True)):
        box = one.get("bbox")
        try:
            before = first.setdefault((row, category, tuple(box) if isinstance(box, list) else None), number)
        except TypeError:  # a box of lists
            continue
        same[number] = before != number and _content(objects[before]) == _content(one)
    return same


def _content(one: Entry) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key not in ("id", "image_id", "category_id")}


def _text(key: Any) -> str:
    whole = isinstance(key, float) and key.is_integer()
    return str(int(key)) if whole else str(key).strip()
