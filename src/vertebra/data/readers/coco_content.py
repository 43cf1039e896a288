"""All that a COCO file holds, before its images are searched for."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET

from vertebra.annotations.notes import Note
from vertebra.annotations.scope import LabelScope
from vertebra.annotations.table import Category, Objects
from vertebra.annotations.values import whole_number
from vertebra.data.readers.coco_entries import copies, ids_of, rows_of_ids, sizes_of, values_of
from vertebra.data.readers.coco_json import AnnotationEntry, CocoFile, ImageEntry
from vertebra.data.readers.coco_objects import coco_objects
from vertebra.data.readers.coco_scope import coco_scope
from vertebra.errors import DataError


@dataclass(frozen=True, eq=False)
class CocoContent:
    """The images and annotations of a file.

    Attributes:
        names: the images' file names, all different.
        image_ids: their ids.
        sizes: (n, 2) int64 (height, width), 0 if missing.
        categories: those of one name are one.
        objects: rows are indices in ``names``.
        notes: problems that were handled.
        dropped: number of annotations of images that are not in the file.
        scope: the categories that are annotated in each image; None if the file does not limit them.
        key: a hash of the file's content; empty where it is not known.
    """

    names: list[str]
    image_ids: list[Any]
    sizes: np.ndarray
    categories: tuple[Category, ...]
    objects: Objects
    notes: list[Note]
    dropped: int
    scope: LabelScope | None = None
    key: str = ""


def content_of(raw: CocoFile, file: Path) -> CocoContent:
    """The checked content of a file.

    Raises:
        DataError: an entry lacks what COCO defines, or an id is missing, wrong, or occurs twice.
    """
    notes: list[Note] = []
    every_name = _file_names(raw.images, file)
    image_ids = ids_of(raw.images, "images", file)
    of_images = values_of(raw.annotations, "image_id", "annotations", file)
    row_of, first = _rows(every_name, notes)
    names = [every_name[i] for i in first]
    entry_rows = rows_of_ids(image_ids, of_images)
    rows = np.where(entry_rows >= 0, row_of[entry_rows], -1)
    unmatched = np.flatnonzero(rows < 0)
    if len(unmatched):
        unknown = [f"image_id {str(of_images[i])[:60]}" for i in unmatched]
        notes.append(Note.of("annotation", "of images that are not in the file", "dropped", unknown))
    category_ids = values_of(raw.annotations, "category_id", "annotations", file)
    categories, numbers = categories_of(raw.categories, category_ids, file, notes)
    sizes = sizes_of([raw.images[i] for i in first], names, notes)
    kept = np.flatnonzero(rows >= 0)
    objects = coco_objects(_chosen(raw.annotations, kept), rows[kept], numbers[kept], names, file, notes)
    same = copies(_chosen(raw.annotations, kept), objects)
    if same.any():
        notes.append(
            Note.of("annotation", "copied from another", "left out", [names[row] for row in objects.rows[same]])
        )
        objects = objects.take(~same)
    scope: LabelScope | None = None
    if any(one.neg_category_ids is not None or one.not_exhaustive_category_ids is not None for one in raw.images):
        scope = coco_scope(raw.images, row_of, raw.categories, categories, objects, file)
    return CocoContent(names, [image_ids[i] for i in first], sizes, categories, objects, notes, len(unmatched), scope)


def _chosen(entries: Sequence[AnnotationEntry], kept: np.ndarray) -> Sequence[AnnotationEntry]:
    return entries if len(kept) == len(entries) else [entries[i] for i in kept.tolist()]


def _file_names(images: Sequence[ImageEntry], file: Path) -> list[str]:
    """The name of each image; in LVIS, which has none, the end of its address: ``val2017/000000000139.jpg``.

    Raises:
        DataError: an entry has neither.
    """
    addresses = [one.coco_url for one in images if one.file_name is UNSET]
    if addresses and all(isinstance(address, str) for address in addresses):
        ends = ["/".join(str(one.coco_url).split("/")[-2:]) for one in images]
        return [end if one.file_name is UNSET else str(one.file_name) for one, end in zip(images, ends, strict=True)]
    return [str(name) for name in values_of(images, "file_name", "images", file)]


def _rows(names: Sequence[str], notes: list[Note]) -> tuple[np.ndarray, list[int]]:
    """The row of each entry of 'images', where entries of one file share a row.

    Returns:
        (n,) int64 rows, and the first entry of each row.
    """
    row_of: dict[str, int] = {}
    first: list[int] = []
    rows = np.zeros(len(names), dtype=np.int64)
    again = []
    for entry, name in enumerate(names):
        row = rows[entry] = row_of.setdefault(posixpath.normpath(name), len(first))
        if row == len(first):
            first.append(entry)
        else:
            again.append(name)
    if again:
        notes.append(Note.of("image", "that the file lists under several ids", "merged", again))
    return rows, first


def categories_of(
    entries: Sequence[Mapping[str, Any]], category_ids: Sequence[Any], file: Path, notes: list[Note]
) -> tuple[tuple[Category, ...], np.ndarray]:
    """The categories, those of one name together, and (A,) int64 the index of each annotation's category.

    Raises:
        DataError: an id is unknown, or occurs twice.
    """
    ids = ids_of(entries, "categories", file)
    names = [str(name) for name in values_of(entries, "name", "categories", file)]
    entry_rows = rows_of_ids(ids, category_ids)
    unknown = np.flatnonzero(entry_rows < 0)
    if len(unknown):
        raise DataError(
            f"{file}: {len(unknown)} annotations have category_id {str(category_ids[unknown[0]])[:60]}, which is not in its "
            f"'categories' (there is: {', '.join(map(str, ids[:12]))}); add the category or remove them"
        )
    different = {name: position for position, name in enumerate(dict.fromkeys(names))}
    if len(different) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        notes.append(Note.of("category name", "that several ids have", "merged", twice))
    positions = np.array([different[name] for name in names], dtype=np.int64)
    categories: dict[str, Category] = {}
    for name, entry in zip(names, entries, strict=True):
        categories.setdefault(name, _category(name, entry, notes))
    numbers = positions[entry_rows] if len(entry_rows) else np.zeros(0, dtype=np.int64)
    return tuple(categories.values()), numbers


def _category(name: str, entry: Mapping[str, Any], notes: list[Note]) -> Category:
    points = entry.get("keypoints")
    skeleton: tuple[tuple[int, int], ...] = ()
    try:
        # COCO counts points from 1
        skeleton = tuple((int(first) - 1, int(second) - 1) for first, second in entry.get("skeleton") or ())
    except (TypeError, ValueError, OverflowError):
        notes.append(Note.of("skeleton", "that is no list of pairs of point numbers", "left out", [name]))
    names = tuple(str(point) for point in points) if isinstance(points, list) else ()
    thing = whole_number(entry.get("isthing"))
    is_thing = bool(thing) if thing in (0, 1) else None
    supercategory = str(entry.get("supercategory") or "")
    return Category(name, entry["id"], supercategory, names, skeleton, is_thing=is_thing)
