"""COCO JSON: boxes, outlines or run lengths, and keypoints.

A file, or a folder with one for each split: ``annotations/instances_train.json``, ``train.json``, or
``train/_annotations.coco.json``. Category ids, which may be any numbers, become indices in the file's order of categories; names
are kept.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.join import joined
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.paths import path_column
from vertebra.annotations.table import Annotations, Category
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.coco_entries import copies, ids_of, rows_of_ids, sizes_of, values_of
from vertebra.data.readers.coco_files import image_folder, looks_like, split_files
from vertebra.data.readers.coco_objects import coco_objects
from vertebra.data.readers.files import exist
from vertebra.errors import DataError


class CocoReader(AnnotationReader):
    """COCO JSON."""

    name = "coco"
    summary = "COCO JSON"
    holds = frozenset({"boxes", "outlines", "points"})

    def looks_like(self, path: Path) -> bool:
        """Whether a file is COCO JSON, or a folder contains such files."""
        return looks_like(path)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that have a file."""
        return () if path.is_file() else tuple(split for split in split_files(path) if split)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All that the file of a split holds.

        Raises:
            DataError: the file is damaged or lacks what COCO defines, or its images are not found.
        """
        files = {"": path} if path.is_file() else split_files(path)
        folder = path if path.is_dir() else path.parent
        if split is None and "" not in files:
            parts = {name: _annotations(file, folder) for name, file in files.items()}
            return joined(parts, folder)
        return _annotations(files[split or ""], folder)


def _load(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_bytes())
    except RecursionError:
        raise DataError(f"{file}: damaged, lists within lists without end; copy the file again") from None
    except ValueError as error:
        raise DataError(f"{file}: damaged or cut off, not JSON ({error}); copy the file again") from None
    needed = ("images", "annotations", "categories")
    if not isinstance(raw, dict) or any(not isinstance(raw.get(key), list) for key in needed):
        raise DataError(f"{file}: not a COCO file; it needs lists 'images', 'annotations' and 'categories'")
    if not raw["images"] or not raw["categories"]:
        empty = "images" if not raw["images"] else "categories"
        raise DataError(f"{file}: its list '{empty}' is empty")
    return raw


def _annotations(file: Path, folder: Path) -> Annotations:
    """All that one file holds."""
    raw = _load(file)
    notes: list[Note] = []
    names = [str(name) for name in values_of(raw["images"], "file_name", "images", file)]
    image_ids = ids_of(raw["images"], "images", file)
    entries = raw["annotations"]
    of_images = values_of(entries, "image_id", "annotations", file)
    root = image_folder(file, folder, names)
    row_of, first = _rows(names, exist(root, names), notes)
    entry_rows = rows_of_ids(image_ids, of_images)
    rows = np.where(entry_rows >= 0, row_of[entry_rows], -2)
    unmatched = np.flatnonzero(rows == -2)
    if len(unmatched):
        unknown = [f"image_id {str(of_images[i])[:60]}" for i in unmatched]
        notes.append(Note.of("annotation", "of images that are not in the file", "dropped", unknown))
    categories, numbers = _categories(raw, file, notes)
    kept_names = [names[i] for i in first]
    sizes = sizes_of([raw["images"][i] for i in first], kept_names, notes)
    kept = np.flatnonzero(rows >= 0)
    same = copies([entries[i] for i in kept.tolist()], rows[kept], numbers[kept])
    if same.any():
        twice = [kept_names[row] for row in rows[kept[same]]]
        notes.append(Note.of("annotation", "copied from another", "left out", twice))
    kept = kept[~same]
    chosen = [entries[i] for i in kept.tolist()]
    objects = coco_objects(chosen, rows[kept], numbers[kept], kept_names, file, notes)
    return Annotations(
        root=root,
        images=path_column(kept_names),
        categories=categories,
        objects=objects,
        labels=np.zeros((0, 2), dtype=np.int64),
        masks=None,
        annotated=np.ones(len(kept_names), dtype=bool),
        sizes=sizes,
        where=file,
        image_ids=tuple(image_ids[i] for i in first),
        notes=notes,
        dropped=len(unmatched),
    )


def _rows(names: Sequence[str], existing: np.ndarray, notes: list[Note]) -> tuple[np.ndarray, list[int]]:
    """The row of each entry of 'images', -1 for missing files; entries of one file share a row.

    Returns:
        (n,) int64 rows, and the entry of each row.
    """
    if not existing.all():
        missing = [name for name, exists in zip(names, existing.tolist(), strict=True) if not exists]
        notes.append(Note.of("image", "that the file names", "not found and left out", missing))
    entry_of: dict[str, int] = {}
    rows = np.full(len(names), -1, dtype=np.int64)
    row_of: dict[str, int] = {}
    for entry in np.flatnonzero(existing).tolist():
        key = posixpath.normpath(names[entry])
        entry_of.setdefault(key, entry)
        rows[entry] = row_of.setdefault(key, len(row_of))
    again = [
        names[entry]
        for entry in np.flatnonzero(existing).tolist()
        if entry_of[posixpath.normpath(names[entry])] != entry
    ]
    if again:
        notes.append(Note.of("image", "that the file lists under several ids", "merged", again))
    return rows, list(entry_of.values())


def _categories(raw: Mapping[str, Any], file: Path, notes: list[Note]) -> tuple[tuple[Category, ...], np.ndarray]:
    """The categories, those of one name together, and (A,) int64 the index of each annotation's category."""
    ids = ids_of(raw["categories"], "categories", file)
    names = [str(name) for name in values_of(raw["categories"], "name", "categories", file)]
    category_ids = values_of(raw["annotations"], "category_id", "annotations", file)
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
    entries: dict[str, Category] = {}
    for name, entry in zip(names, raw["categories"], strict=True):
        entries.setdefault(name, _category(name, entry, notes))
    numbers = positions[entry_rows] if len(entry_rows) else np.zeros(0, dtype=np.int64)
    return tuple(entries.values()), numbers


def _category(name: str, entry: Mapping[str, Any], notes: list[Note]) -> Category:
    points = entry.get("keypoints")
    skeleton: tuple[tuple[int, int], ...] = ()
    try:
        # COCO counts points from 1
        skeleton = tuple((int(first) - 1, int(second) - 1) for first, second in entry.get("skeleton") or ())
    except (TypeError, ValueError, OverflowError):
        notes.append(Note.of("skeleton", "that is no list of pairs of point numbers", "left out", [name]))
    names = tuple(str(point) for point in points) if isinstance(points, list) else ()
    return Category(name, entry["id"], str(entry.get("supercategory") or ""), names, skeleton)
