"""COCO JSON: boxes, outlines or run lengths as semantic masks, and keypoints.

A file, or a folder with one for each split: ``annotations/instances_train.json``, ``train.json``, or
``train/_annotations.coco.json``. Category ids, which may be any numbers, become indices in the file's order of categories; names
are kept.

For task segment with exclusive classes, class 0 is "background", the pixels without an object. With ``multilabel: true``
there is no background: each class has its own mask.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.data.columns import BoxColumn, PointColumn, offsets_of
from vertebra.data.index import Column, Index, Note, path_column
from vertebra.data.polygons_rle import PolygonRLEColumn, Shapes
from vertebra.data.readers.boxes import classes_of_boxes, clean_boxes
from vertebra.data.readers.classes import bincount, class_ids, left_out, without_images
from vertebra.data.readers.coco_entries import copies, ids_of, rows_of_ids, sizes_of, values_of
from vertebra.data.readers.coco_files import image_folder, looks_like, split_files
from vertebra.data.readers.coco_points import point_column, point_labels, point_names
from vertebra.data.readers.files import exist
from vertebra.data.readers.options import ReadOptions
from vertebra.data.readers.values import check_usable, flags
from vertebra.data.segmentations import Segmentation, parse_segmentation
from vertebra.data.splits import divide, source_split
from vertebra.errors import DataError
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.segment.labels import SegmentLabels

BACKGROUND = "background"


@dataclass
class _Content:
    """A COCO file as columns: its existing images and their annotations."""

    file: Path
    root: Path
    names: list[str]
    sizes: np.ndarray
    objects: list[dict[str, Any]]
    rows: np.ndarray
    categories: np.ndarray
    category_names: list[str]
    category_entries: dict[str, Mapping[str, Any]]
    dropped: int = 0

    def select(self, kept: np.ndarray) -> None:
        """Keeps some of the annotations; ``kept`` is (A,) bool."""
        self.objects = [entry for entry, keep in zip(self.objects, kept.tolist(), strict=True) if keep]
        self.rows, self.categories = self.rows[kept], self.categories[kept]


class CocoReader:
    """COCO JSON."""

    name = "coco"
    tasks = ("detect", "segment", "classify", "keypoints")
    summary = "COCO JSON"

    def looks_like(self, path: Path) -> bool:
        """Whether a file is COCO JSON, or a folder contains such files."""
        return looks_like(path)

    def read(self, path: Path, task: str, split: str, options: ReadOptions) -> Index:
        """One split of a COCO data set.

        Raises:
            DataError: there is no such split, the file is damaged or lacks what COCO defines, or its images are not found.
        """
        files = {} if path.is_file() else split_files(path)
        single = path if path.is_file() else files.pop("", None)
        source, shares = source_split(files, split, path)
        file = files[source] if source else single
        assert file is not None
        notes: list[Note] = []
        raw = _load(file)
        content = _content(raw, file, path if path.is_dir() else path.parent, notes)
        classes = options.classes or _classes(content, task, options.multilabel)
        if not classes:
            raise DataError(
                f"{file}: no category has keypoints; its 'categories' need a list 'keypoints' of the points' names"
            )
        ids = class_ids(content.category_names, classes, file)[content.categories]
        counts = bincount(content.categories, len(content.category_names))
        unlisted = set(content.category_names) - set(classes)
        by_name = dict(zip(content.category_names, counts.tolist(), strict=True))
        notes += left_out({name: by_name[name] for name in by_name if name in unlisted}, "object")
        content.select(ids >= 0)
        total = content.dropped + len(content.objects)
        column, labels, used = _COLUMNS[task](content, ids[ids >= 0], tuple(classes), options, notes)
        check_usable(total, content.dropped, _ignored(column), file, notes)
        notes += without_images(labels, used)
        index = Index(content.root, path_column(content.names), {task: column}, {task: labels}, notes)
        return (
            index if shares is None else index.take(divide(len(index), shares, split, options.seed, index.strata(task)))
        )


def _ignored(column: Column) -> int:
    """The number of objects that are not used for training: crowds, and objects without a labeled point."""
    if isinstance(column, PointColumn):
        return int((column.crowd | ~(column.points[..., 2] > 0).any(axis=1)).sum())
    return int(column.crowd.sum()) if isinstance(column, BoxColumn) else 0


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


def _content(raw: Mapping[str, Any], file: Path, folder: Path, notes: list[Note]) -> _Content:
    names = [str(name) for name in values_of(raw["images"], "file_name", "images", file)]
    image_ids = ids_of(raw["images"], "images", file)
    objects = raw["annotations"]
    of_images = values_of(objects, "image_id", "annotations", file)
    root = image_folder(file, folder, names)
    row_of, first = _rows(names, exist(root, names), notes)
    entry_rows = rows_of_ids(image_ids, of_images)
    rows = np.where(entry_rows >= 0, row_of[entry_rows], -2)
    unmatched = np.flatnonzero(rows == -2)
    if len(unmatched):
        unknown = [f"image_id {str(of_images[i])[:60]}" for i in unmatched]
        notes.append(Note.of("annotation", "of images that are not in the file", "dropped", unknown))
    category_names, categories = _categories(raw, file, notes)
    entries = dict(
        zip(map(str, values_of(raw["categories"], "name", "categories", file)), raw["categories"], strict=True)
    )
    sizes = sizes_of([raw["images"][i] for i in first], [names[i] for i in first], notes)
    kept_names = [names[i] for i in first]
    content = _Content(
        file, root, kept_names, sizes, objects, rows, categories, category_names, entries, len(unmatched)
    )
    content.select(rows >= 0)
    same = copies(content.objects, content.rows, content.categories)
    if same.any():
        twice = [kept_names[row] for row in content.rows[same]]
        notes.append(Note.of("annotation", "copied from another", "left out", twice))
        content.select(~same)
    return content


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


def _categories(raw: Mapping[str, Any], file: Path, notes: list[Note]) -> tuple[list[str], np.ndarray]:
    """The distinct names of the categories, and (A,) int64 the index of each annotation's category."""
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
    return list(different), positions[entry_rows] if len(entry_rows) else np.zeros(0, dtype=np.int64)


def _classes(content: _Content, task: str, multilabel: bool) -> tuple[str, ...]:
    names = content.category_names
    if task == "keypoints":
        return tuple(name for name in names if point_names(content.category_entries[name]))
    if task == "segment" and not multilabel:
        return (BACKGROUND, *(name for name in names if name != BACKGROUND))
    return tuple(names)


def _boxes(content: _Content, ids: np.ndarray, notes: list[Note]) -> BoxColumn:
    raw_boxes = [entry.get("bbox") for entry in content.objects]
    sound = np.array([isinstance(box, list) and len(box) == 4 for box in raw_boxes], dtype=bool)
    if not sound.all():
        names = [content.names[row] for row in content.rows[~sound]]
        notes.append(Note.of("annotation", "without a box of four numbers", "dropped", names))
    boxes = _numbers(content, [box for box, good in zip(raw_boxes, sound.tolist(), strict=True) if good], sound)
    with np.errstate(invalid="ignore", over="ignore"):  # infinity minus infinity, in boxes that are dropped below
        boxes[:, 2:] += boxes[:, :2]
    kept, cleaned, more = clean_boxes(content.rows[sound], boxes, content.sizes, content.names.__getitem__)
    notes += more
    stays = np.flatnonzero(sound)[kept]
    content.dropped += len(content.objects) - len(stays)
    labeled = np.ones(len(content.names), dtype=bool)
    files = [content.names[row] for row in content.rows.tolist()]
    crowd = flags([entry.get("iscrowd") for entry in content.objects], "iscrowd", files, notes)
    return BoxColumn.of(content.rows[stays], cleaned[kept], ids[stays], crowd[stays], labeled)


def _numbers(content: _Content, boxes: Sequence[Any], sound: np.ndarray) -> np.ndarray:
    """(B, 4) float64 of boxes that are lists of four."""
    try:
        return np.array(boxes, dtype=np.float64).reshape(-1, 4)
    except (TypeError, ValueError, OverflowError):
        wrong_row = next(wrong_row for wrong_row, box in enumerate(boxes) if not _are_numbers(box))
        wrong = content.objects[np.flatnonzero(sound)[wrong_row]]
        raise DataError(
            f"{content.file}: a 'bbox' holds something that is no number, {str(wrong['bbox'])[:60]} of annotation "
            f"{str(wrong.get('id'))[:60]}; write it as [x, y, width, height]"
        ) from None


def _are_numbers(box: Any) -> bool:
    try:
        return np.array(box, dtype=np.float64).shape == (4,)
    except (TypeError, ValueError, OverflowError):
        return False


_Read = tuple[Column, LabelSpec, np.ndarray]


def _detect(
    content: _Content, ids: np.ndarray, classes: tuple[str, ...], options: ReadOptions, notes: list[Note]
) -> _Read:
    column = _boxes(content, ids, notes)
    return column, DetectLabels(classes), bincount(column.labels, len(classes))


def _classify(
    content: _Content, ids: np.ndarray, classes: tuple[str, ...], options: ReadOptions, notes: list[Note]
) -> _Read:
    labels = ClassifyLabels(classes, options.multilabel)
    count = len(content.names)
    order = np.argsort(content.rows, kind="stable")
    nothing = np.zeros((len(ids), 4), dtype=np.float32)
    boxes = BoxColumn(
        offsets_of(content.rows, count), nothing, ids[order], nothing[:, 0] > 0, np.ones(count, dtype=bool)
    )
    column = classes_of_boxes(boxes, labels, content.names.__getitem__, content.file)
    return column, labels, bincount(ids, len(classes))


def _segment(
    content: _Content, ids: np.ndarray, classes: tuple[str, ...], options: ReadOptions, notes: list[Note]
) -> _Read:
    if not options.multilabel and BACKGROUND not in classes:
        raise DataError(
            f"{content.file}: exclusive classes need one for what no object covers; put '{BACKGROUND}' first among the "
            "classes, or set multilabel: true"
        )
    labels = SegmentLabels(classes, options.multilabel, 255 if len(classes) <= 255 else 65535)
    drawn = np.array([bool(entry.get("segmentation")) for entry in content.objects], dtype=bool)
    if not drawn.all():
        names = [content.names[row] for row in content.rows[~drawn]]
        notes.append(Note.of("annotation", "without a segmentation", "left out of the masks", names))
        content.dropped += len(names)
    content.select(drawn)
    shapes = Shapes.joined([_segmentation(entry, content.file) for entry in content.objects])
    background = classes.index(BACKGROUND) if not options.multilabel else 0
    labeled = np.ones(len(content.names), dtype=bool)
    column = PolygonRLEColumn.of(
        content.rows,
        ids[drawn],
        labeled,
        shapes,
        len(classes),
        multilabel=options.multilabel,
        ignore_index=labels.ignore_index,
        background=background,
    )
    used = bincount(ids[drawn], len(classes))
    used[background] += int(not options.multilabel)
    return column, labels, used


def _segmentation(entry: Mapping[str, Any], file: Path) -> Segmentation:
    try:
        return parse_segmentation(entry["segmentation"])
    except ValueError as error:
        raise DataError(
            f"{file}: a 'segmentation' is neither outlines nor run lengths, that of annotation {str(entry.get('id'))[:60]} "
            f"({str(error)[:100]}); remove or correct it"
        ) from None


def _keypoints(
    content: _Content, ids: np.ndarray, classes: tuple[str, ...], options: ReadOptions, notes: list[Note]
) -> _Read:
    labels = point_labels(content.category_entries, classes, content.file, notes)
    column = point_column(content.objects, content.rows, ids, content.names, len(labels.points), content.file, notes)
    return column, labels, bincount(column.labels, len(classes))


_COLUMNS = {"detect": _detect, "classify": _classify, "segment": _segment, "keypoints": _keypoints}
