"""COCO JSON: boxes, outlines or run lengths as semantic masks, and keypoints.

A file, or a folder with one for each split: ``annotations/instances_train.json``, ``train.json``, or
``train/_annotations.coco.json``. Category ids become positions in the file's own order of categories, whatever numbers
they are; names are kept.

For task segment with exclusive classes, class 0 is "background": what no object covers. With ``exclusive: false`` there
is none: each class has a mask of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.data.columns import BoxColumn, offsets_of
from vertebra.data.index import Column, Index, Note, path_column
from vertebra.data.readers.boxes import classes_of_boxes, clean_boxes
from vertebra.data.readers.classes import bincount, class_ids, left_out, without_images
from vertebra.data.readers.coco_files import image_folder, looks_like, split_files
from vertebra.data.readers.coco_points import point_column, point_labels, point_names
from vertebra.data.readers.files import exist
from vertebra.data.readers.options import ReadOptions
from vertebra.data.regions import RegionColumn, Shapes
from vertebra.data.splits import divide, source_split
from vertebra.errors import DataError
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.segment.labels import SegmentLabels

TASKS = ("detect", "segment", "classify", "keypoints")
BACKGROUND = "background"

__all__ = ["BACKGROUND", "TASKS", "looks_like", "read"]


@dataclass
class _Content:
    """A COCO file as columns: its images that exist, and the annotations of these."""

    file: Path
    root: Path
    names: list[str]
    sizes: np.ndarray
    objects: list[dict[str, Any]]
    rows: np.ndarray
    categories: np.ndarray
    category_names: list[str]
    category_entries: dict[str, Mapping[str, Any]]

    def keep(self, kept: np.ndarray) -> None:
        """Only some of the annotations; ``kept`` is (A,) bool."""
        self.objects = [one for one, stays in zip(self.objects, kept.tolist(), strict=True) if stays]
        self.rows, self.categories = self.rows[kept], self.categories[kept]


def read(path: Path, task: str, split: str, options: ReadOptions) -> Index:
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
    classes = options.classes or _classes(content, task, options.exclusive)
    if not classes:
        raise DataError(
            f"{file}: no category has keypoints; its 'categories' need a list 'keypoints' of the points' names"
        )
    ids = class_ids(content.category_names, classes, file)[content.categories]
    counts = bincount(content.categories, len(content.category_names))
    unlisted = set(content.category_names) - set(classes)
    by_name = dict(zip(content.category_names, counts.tolist(), strict=True))
    notes += left_out({name: by_name[name] for name in by_name if name in unlisted}, "object")
    content.keep(ids >= 0)
    column, labels, used = _COLUMNS[task](content, ids[ids >= 0], tuple(classes), options, notes)
    notes += without_images(labels, used)
    index = Index(content.root, path_column(content.names), {task: column}, {task: labels}, notes)
    return index if shares is None else index.take(divide(len(index), shares, split, options.seed, index.strata(task)))


def _load(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: damaged or cut off, not JSON ({error}); copy the file again") from None
    needed = ("images", "annotations", "categories")
    if not isinstance(raw, dict) or any(not isinstance(raw.get(key), list) for key in needed):
        raise DataError(f"{file}: not a COCO file; it needs lists 'images', 'annotations' and 'categories'")
    if not raw["images"] or not raw["categories"]:
        empty = "images" if not raw["images"] else "categories"
        raise DataError(f"{file}: its list '{empty}' is empty")
    return raw


def _content(raw: Mapping[str, Any], file: Path, folder: Path, notes: list[Note]) -> _Content:
    try:
        names = [str(one["file_name"]) for one in raw["images"]]
        image_ids = [one["id"] for one in raw["images"]]
        sizes = np.array([(one.get("height") or 0, one.get("width") or 0) for one in raw["images"]], dtype=np.int64)
        category_ids = [one["id"] for one in raw["categories"]]
        category_names = [str(one["name"]) for one in raw["categories"]]
        objects = raw["annotations"]
        of_images = [one["image_id"] for one in objects]
        of_categories = [one["category_id"] for one in objects]
    except (KeyError, TypeError) as error:
        raise DataError(f"{file}: an entry lacks {error}; images, annotations and categories need their ids") from None
    root = image_folder(file, folder, names)
    there = exist(root, names)
    if not there.all():
        lost = [name for name, found in zip(names, there.tolist(), strict=True) if not found]
        notes.append(Note.of("image", "that the file names", "not found and left out", lost))
    place = np.cumsum(there) - 1
    row_of = {key: int(place[i]) if there[i] else -1 for i, key in enumerate(image_ids)}
    rows = np.array([row_of.get(key, -2) for key in of_images], dtype=np.int64)
    if (rows == -2).any():
        strange = [f"image_id {of_images[i]}" for i in np.flatnonzero(rows == -2)]
        notes.append(Note.of("annotation", "of images that are not in the file", "dropped", strange))
    different = list(dict.fromkeys(category_names))
    category_of = {key: different.index(name) for key, name in zip(category_ids, category_names, strict=True)}
    unknown = [key for key in of_categories if key not in category_of]
    if unknown:
        raise DataError(
            f"{file}: {len(unknown)} annotations have category_id {unknown[0]}, which is not in its 'categories' "
            f"(there is: {', '.join(map(str, category_ids[:12]))}); add the category or remove them"
        )
    categories = np.array([category_of[key] for key in of_categories], dtype=np.int64)
    kept_names = [name for name, found in zip(names, there.tolist(), strict=True) if found]
    entries = dict(zip(category_names, raw["categories"], strict=True))
    content = _Content(file, root, kept_names, sizes[there], objects, rows, categories, different, entries)
    content.keep(rows >= 0)
    return content


def _classes(content: _Content, task: str, exclusive: bool) -> tuple[str, ...]:
    names = content.category_names
    if task == "keypoints":
        return tuple(name for name in names if point_names(content.category_entries[name]))
    if task == "segment" and exclusive:
        return (BACKGROUND, *(name for name in names if name != BACKGROUND))
    return tuple(names)


def _crowd(content: _Content) -> np.ndarray:
    return np.array([bool(one.get("iscrowd", 0)) for one in content.objects], dtype=bool)


def _boxes(content: _Content, ids: np.ndarray, notes: list[Note]) -> BoxColumn:
    given = [one.get("bbox") for one in content.objects]
    sound = np.array([isinstance(box, list) and len(box) == 4 for box in given], dtype=bool)
    if not sound.all():
        names = [content.names[row] for row in content.rows[~sound]]
        notes.append(Note.of("annotation", "without a box of four numbers", "dropped", names))
    try:
        boxes = np.array([one for one, good in zip(given, sound.tolist(), strict=True) if good], dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"{content.file}: a 'bbox' holds something that is no number") from None
    boxes = boxes.reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    kept, cleaned, more = clean_boxes(content.rows[sound], boxes, content.sizes, content.names.__getitem__)
    notes += more
    stays = np.flatnonzero(sound)[kept]
    labelled = np.ones(len(content.names), dtype=bool)
    return BoxColumn.of(content.rows[stays], cleaned[kept], ids[stays], _crowd(content)[stays], labelled)


_Read = tuple[Column, LabelSpec, np.ndarray]


def _detect(
    content: _Content, ids: np.ndarray, classes: tuple[str, ...], options: ReadOptions, notes: list[Note]
) -> _Read:
    column = _boxes(content, ids, notes)
    return column, DetectLabels(classes), bincount(column.labels, len(classes))


def _classify(
    content: _Content, ids: np.ndarray, classes: tuple[str, ...], options: ReadOptions, notes: list[Note]
) -> _Read:
    labels = ClassifyLabels(classes, options.exclusive)
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
    if options.exclusive and BACKGROUND not in classes:
        raise DataError(
            f"{content.file}: exclusive classes need one for what no object covers; put '{BACKGROUND}' first among the "
            "classes, or set exclusive: false"
        )
    labels = SegmentLabels(classes, options.exclusive, 255 if len(classes) <= 255 else 65535)
    drawn = np.array([bool(one.get("segmentation")) for one in content.objects], dtype=bool)
    if not drawn.all():
        names = [content.names[row] for row in content.rows[~drawn]]
        notes.append(Note.of("annotation", "without a segmentation", "left out of the masks", names))
    content.keep(drawn)
    try:
        shapes = Shapes.of([one["segmentation"] for one in content.objects])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{content.file}: a 'segmentation' is neither outlines nor run lengths ({error})") from None
    background = classes.index(BACKGROUND) if options.exclusive else 0
    labelled = np.ones(len(content.names), dtype=bool)
    column = RegionColumn.of(
        content.rows,
        ids[drawn],
        labelled,
        shapes,
        len(classes),
        exclusive=options.exclusive,
        ignore_index=labels.ignore_index,
        background=background,
    )
    used = bincount(ids[drawn], len(classes))
    used[background] += int(options.exclusive)
    return column, labels, used


def _keypoints(
    content: _Content, ids: np.ndarray, classes: tuple[str, ...], options: ReadOptions, notes: list[Note]
) -> _Read:
    labels = point_labels(content.category_entries, classes, content.file, notes)
    column = point_column(content.objects, content.rows, ids, content.names, len(labels.points), content.file, notes)
    return column, labels, bincount(column.labels, len(classes))


_COLUMNS = {"detect": _detect, "classify": _classify, "segment": _segment, "keypoints": _keypoints}
