"""Checks of a COCO file's entries: unique and matching ids, numbers as text, duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET

from vertebra.annotations.notes import Note
from vertebra.annotations.table import Objects
from vertebra.annotations.values import whole_number
from vertebra.data.readers.coco_json import AnnotationEntry, ImageEntry
from vertebra.errors import DataError

_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], dtype=np.uint64)
LARGEST = 1_000_000  # maximum side of an image in pixels


def values_of(entries: Sequence[Any], key: str, kind: str, file: Path) -> list[Any]:
    """The value of a key in each entry of a list.

    Args:
        kind: the list's name.

    Raises:
        DataError: an entry lacks the key.
    """
    as_mappings = bool(entries) and isinstance(entries[0], Mapping)
    values = [entry.get(key, UNSET) for entry in entries] if as_mappings else list(map(attrgetter(key), entries))
    if UNSET in values:
        row = next(row for row, value in enumerate(values) if value is UNSET)
        raise DataError(
            f"{file}: an entry lacks '{key}' (number {row + 1} of '{kind}'); images, annotations and categories need "
            "their ids, images a 'file_name' and categories a 'name'"
        )
    return values


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
    try:
        rows = np.fromiter(map(exact.get, ids, repeat(-1)), dtype=np.int64, count=len(ids))
    except TypeError:  # a list or an object
        rows = np.full(len(ids), -1, dtype=np.int64)
    others = np.flatnonzero(rows < 0)
    if len(others):
        rows[others] = _rows_by_text(exact, known, [ids[i] for i in others.tolist()])
    return rows


def _rows_by_text(exact: Mapping[Hashable, int], known: Sequence[Hashable], ids: Sequence[Any]) -> list[int]:
    texts = Counter(map(_text, known))
    by_text = {_text(key): row for row, key in enumerate(known) if texts[_text(key)] == 1}

    def row_of(key: Any) -> int:
        try:
            row = exact.get(key)
        except TypeError:  # a list or an object
            return -1
        return by_text.get(_text(key), -1) if row is None else row

    return [row_of(key) for key in ids]


def sizes_of(images: Sequence[ImageEntry], names: Sequence[str], notes: list[Note]) -> np.ndarray:
    """(n, 2) int64 (height, width) of images in the file, 0 if missing; a note is added for invalid sizes."""
    sides = [(one.height, one.width) for one in images]
    if {type(side) for pair in sides for side in pair} == {int}:
        try:
            numbers = np.array(sides, dtype=np.int64).reshape(-1, 2)
        except OverflowError:
            pass
        else:
            if (numbers > 0).all() and (numbers <= LARGEST).all():
                return numbers
    sizes = np.zeros((len(images), 2), dtype=np.int64)
    wrong = []
    for row, pair in enumerate(sides):
        height, width = (whole_number(value) for value in pair)
        if height is not None and width is not None and 0 < min(height, width) <= max(height, width) <= LARGEST:
            sizes[row] = height, width
        elif any(value not in (None, 0) for value in pair):
            wrong.append(names[row])
    if wrong:
        notes.append(
            Note.of("image", "whose width and height are no size in pixels", "taken as of unknown size", wrong)
        )
    return sizes


def copies(entries: Sequence[AnnotationEntry], objects: Objects) -> np.ndarray:
    """The annotations that are copies of an earlier one, with any id.

    Args:
        entries: A annotations.
        objects: the same, as columns.

    Returns:
        (A,) bool.
    """
    bits = np.ascontiguousarray(objects.boxes).view(np.uint64).reshape(-1, 4)
    keys = (bits * _MIX).sum(axis=1, dtype=np.uint64) ^ (objects.rows.astype(np.uint64) * _MIX[1])
    keys = keys * _MIX[0] ^ objects.categories.astype(np.uint64)
    same = np.zeros(len(entries), dtype=bool)
    order = np.argsort(keys, kind="stable")
    equal = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    first: dict[Any, int] = {}
    for number in sorted({*order[equal].tolist(), *order[equal + 1].tolist()}):
        key = (int(objects.rows[number]), int(objects.categories[number]), bits[number].tobytes())
        before = first.setdefault(key, number)
        same[number] = before != number and _content(entries[before]) == _content(entries[number])
    return same


def _content(one: AnnotationEntry) -> tuple[Any, ...]:
    return (one.bbox, one.area, one.iscrowd, one.keypoints, one.num_keypoints, one.attributes, one.segmentation)


def _text(key: Any) -> str:
    whole = isinstance(key, float) and key.is_integer()
    return str(int(key)) if whole else str(key).strip()
