"""The entries of a COCO file, checked: ids that are there once and are found, text that means numbers, copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.data.index import Note
from vertebra.data.readers.values import whole_number
from vertebra.errors import DataError

Entry = Mapping[str, Any]
LARGEST = 1_000_000  # pixels a side of an image


def values_of(entries: Sequence[Any], key: str, kind: str, file: Path) -> list[Any]:
    """What each entry of a list has under a key.

    Args:
        kind: the list's name.

    Raises:
        DataError: an entry is no JSON object, or lacks the key.
    """
    try:
        return [one[key] for one in entries]
    except KeyError:
        row = next(row for row, one in enumerate(entries) if key not in one)
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
    wrong = [one for one in ids if not isinstance(one, (int, float, str))]
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


def rows_of_ids(known: Sequence[Hashable], wanted: Sequence[Any]) -> np.ndarray:
    """The row of each id among the known ones: equal as it is, or else as text (7, 7.0 and "7" are one id).

    Returns:
        (n,) int64, -1 for ids that are not among them.
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

    return np.fromiter(map(row_of, wanted), dtype=np.int64, count=len(wanted))


def sizes_of(images: Sequence[Entry], names: Sequence[str], notes: list[Note]) -> np.ndarray:
    """(n, 2) int64 (height, width) of images in the file, 0 where it is missing; with a note where it is no size."""
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
    """Which annotations are copies of an earlier one, whatever their ids.

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
