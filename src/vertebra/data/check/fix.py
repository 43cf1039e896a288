"""Writes a corrected copy of a data set: what a check found and what can be put right without a decision of the user."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, SizeChange
from vertebra.annotations.boxes import clean_boxes
from vertebra.annotations.class_edits import ClassEdits
from vertebra.annotations.drawing import patch_runs
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import SPLITS, Annotations, Objects
from vertebra.data.analysis.class_names import similar_class_names
from vertebra.data.analysis.small_images import read_small
from vertebra.data.check.open_splits import SplitOpener, find_for_tasks
from vertebra.data.check.report import DataReport
from vertebra.data.check.scanning import content_hash
from vertebra.data.convert import check_target, write_data
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.writers import all_writers
from vertebra.data.writers.base import Target
from vertebra.errors import DataError
from vertebra.preprocess.images import image_size
from vertebra.shards.members import file_size

MIN_SIDE = 1.0  # pixels; smaller boxes are left out


def fix_data(
    path: str | Path,
    out: str | Path,
    report: DataReport,
    *,
    merge_classes: bool = False,
    ignore_index: int | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[Note]:
    """Writes a corrected copy of a data set; the data set itself does not change.

    Images that cannot be read, or whose annotations are for another image, are left out, so are boxes without area or outside their
    image; boxes that reach out of it are clipped; annotations made for another size are brought over; an image that is also in
    val or test is taken out of train.

    Args:
        path: the data set.
        out: the new folder.
        report: of `vertebra.data.check.run.check_data`.
        merge_classes: whether classes with similar names become one, of the name that most annotations have.
        ignore_index, columns: as `check_data` took them.

    Returns:
        What was changed, in counted notes.

    Raises:
        DataError: nothing is left to write, or the data set cannot be read as a whole.
        ConfigError: the folder is not empty, or inside of the data set.
    """
    check_target(Path(out), Path(path))
    pairs = tuple((columns or {}).items())
    options = ReadOptions(None, ignore_index, columns=pairs)
    task = report.tasks[0] if len(report.tasks) == 1 else None
    data_set, tasks = find_for_tasks(path, task, report.format)
    reader = all_readers()[data_set.format]
    if not isinstance(reader, AnnotationReader):
        raise DataError(
            f"{path}: data sets of format '{reader.name}' cannot be corrected; its reader gives no annotations as a whole"
        )
    opener = SplitOpener(data_set.path, data_set.format, tasks, options)
    annotations = reader.load_for(data_set.path, None, options, opener.kinds)
    notes: list[Note] = []
    annotations = without_unusable(annotations, notes)
    annotations = without_leaks(annotations, notes)
    annotations = with_image_sizes(annotations, notes)
    annotations = with_clean_boxes(annotations, notes)
    if merge_classes:
        annotations = with_merged_classes(annotations, notes)
    return [*notes, *write_data(annotations, written_format(annotations, data_set.format), Target(Path(out)))]


def written_format(annotations: Annotations, format: str) -> str:
    """The format of the corrected copy: that of the data set where it is written and holds all, or else one that does."""
    kinds = annotations.kinds
    several = len(np.unique(annotations.labels[:, 0])) < len(annotations.labels)
    for writer in all_writers().values():
        if writer.reader == format and kinds <= writer.holds and not (writer.name == "image_folder" and several):
            return writer.name
    if annotations.masks is not None:
        return "masks"
    if kinds == {"labels"}:
        return "csv" if several else "image_folder"
    return "coco"


def without_unusable(annotations: Annotations, notes: list[Note]) -> Annotations:
    """Without images that cannot be read, and those whose annotations cannot be brought over to their size."""
    broken: list[int] = []
    unfitting: list[int] = []
    annotated = AnnotatedSizes.of(annotations)
    for row in range(len(annotations)):
        try:
            size = _decoded_size(annotations.path(row))
        except DataError:
            broken.append(row)
            continue
        try:
            if annotated is not None:
                annotated.change(row, size)
        except DataError:
            unfitting.append(row)
    names = [os.fsdecode(name) for name in annotations.images]
    for rows, which in ((broken, "that cannot be read"), (unfitting, "whose annotations are for another image")):
        if rows:
            notes.append(Note.of("image", which, "left out", [names[row] for row in rows]))
    kept = np.setdiff1d(np.arange(len(annotations)), [*broken, *unfitting])
    if not len(kept):
        raise DataError(f"{annotations.where}: none of its images can be used; nothing is left to write")
    return annotations.take(kept) if len(kept) < len(annotations) else annotations


def without_leaks(annotations: Annotations, notes: list[Note]) -> Annotations:
    """Without the images of train of which val or test has an identical copy."""
    if annotations.splits is None:
        return annotations
    train = annotations.splits == SPLITS.index("train")
    sizes = np.array([file_size(annotations.path(row)) or 0 for row in range(len(annotations))])
    suspects = np.flatnonzero(train & np.isin(sizes, sizes[~train]))
    others = np.flatnonzero(~train & np.isin(sizes, sizes[train]))
    known = {content_hash(annotations.path(row)) for row in others.tolist()}
    leaked = [row for row in suspects.tolist() if content_hash(annotations.path(row)) in known]
    if not leaked:
        return annotations
    names = [os.fsdecode(annotations.images[row]) for row in leaked]
    notes.append(Note.of("image", "that val or test has too", "taken out of train", names))
    return annotations.take(np.setdiff1d(np.arange(len(annotations)), leaked))


def with_image_sizes(annotations: Annotations, notes: list[Note]) -> Annotations:
    """With the annotations of images of another size brought over to them."""
    annotated = AnnotatedSizes.of(annotations)
    if annotated is None:
        return annotations
    changes: dict[int, SizeChange] = {}
    for row in np.flatnonzero((annotations.sizes > 0).all(axis=1)).tolist():
        change = annotated.change(row, image_size(annotations.path(row)))
        if change.done:
            changes[row] = change
    if not changes:
        return annotations
    for done in ("scaled", "turned"):
        names = [annotations.name(row) for row, change in changes.items() if change.done == done]
        if names:
            notes.append(
                Note.of("image", "annotated for another size or orientation", f"given {done} annotations", names)
            )
    sizes = annotations.sizes.copy()
    for row, change in changes.items():
        sizes[row] = change.size
    return replace(annotations, sizes=sizes, objects=_brought_over(annotations.objects, changes))


def with_clean_boxes(annotations: Annotations, notes: list[Note]) -> Annotations:
    """Without boxes that have no area or lie outside of their image; the others are clipped to it."""
    objects = annotations.objects
    boxed = np.flatnonzero(objects.has_box)
    if not len(boxed):
        return annotations
    sizes = annotations.sizes.copy()
    for row in np.flatnonzero((sizes == 0).any(axis=1)).tolist():
        sizes[row] = image_size(annotations.path(row))
    kept, _, more = clean_boxes(objects.rows[boxed], objects.boxes[boxed], sizes, annotations.name)
    notes += more
    limits = sizes[objects.rows][:, [1, 0, 1, 0]].astype(np.float64)
    boxes = np.where(objects.has_box[:, None], np.clip(objects.boxes, 0, limits), objects.boxes)
    with np.errstate(invalid="ignore"):
        tiny = objects.has_box & ((boxes[:, 2:] - boxes[:, :2]).min(axis=1) < MIN_SIDE)
    dropped = np.zeros(len(objects), dtype=bool)
    dropped[boxed[~kept]] = True
    if (tiny & ~dropped).any():
        which = f"with a side of less than {MIN_SIDE:g} pixel"
        notes.append(Note.of("box", which, "dropped", annotations.names(objects.rows[tiny & ~dropped])))
    return replace(annotations, objects=replace(objects, boxes=boxes).take(~(dropped | tiny)))


def with_merged_classes(annotations: Annotations, notes: list[Note]) -> Annotations:
    """With one class for those whose names are likely the same, of the name that occurs most often."""
    names = annotations.category_names
    counts = np.bincount(
        np.concatenate([annotations.objects.categories, annotations.labels[:, 1]]), minlength=len(names)
    )
    merge: dict[str, tuple[str, ...]] = {}
    for group in similar_class_names(names):
        kept = max(group.rows, key=lambda row: int(counts[row]))
        merge[names[kept]] = group.names
    if not merge:
        return annotations
    merged = [f"{', '.join(name for name in old if name != new)} to {new}" for new, old in merge.items()]
    notes.append(Note.of("group", "of classes", "merged", merged))
    return ClassEdits(merge=merge).apply(annotations)


def _decoded_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image that can be decoded."""
    return read_small(path).size


def _brought_over(objects: Objects, changes: Mapping[int, SizeChange]) -> Objects:
    """The objects of some images in pixels of another size."""
    boxes, points, areas = objects.boxes.copy(), objects.points.copy(), objects.areas.copy()
    shapes = None if objects.shapes is None else [_entry(objects.shapes, number) for number in range(len(objects))]
    for number in np.flatnonzero(np.isin(objects.rows, list(changes))).tolist():
        change = changes[int(objects.rows[number])]
        boxes[number] = change.boxes(boxes[number][None])[0]
        part = slice(objects.point_offsets[number], objects.point_offsets[number + 1])
        points[part, :2] = change.points(points[part, :2])
        areas[number] *= change.area_factor
        if shapes is not None and objects.shapes is not None:
            shapes[number] = _moved_shape(objects.shapes, number, change)
    joined = None if shapes is None else Shapes.joined(shapes)
    return replace(objects, boxes=boxes, points=points, areas=areas, shapes=joined)


def _entry(shapes: Shapes, number: int) -> Segmentation:
    """The outlines or run lengths of one object."""
    first, last = shapes.outlines_of[number], shapes.outlines_of[number + 1]
    bounds = shapes.outlines[first : last + 1].tolist()
    outlines = tuple(shapes.points[a:b] for a, b in itertools.pairwise(bounds))
    runs = shapes.runs[shapes.runs_of[number] : shapes.runs_of[number + 1]]
    text = shapes.text[shapes.text_of[number] : shapes.text_of[number + 1]]
    return Segmentation(outlines=outlines, runs=runs, text=text, size=tuple(shapes.sizes[number].tolist()))


def _moved_shape(shapes: Shapes, number: int, change: SizeChange) -> Segmentation:
    """The outlines or run lengths of one object on an image of another size."""
    entry = _entry(shapes, number)
    if entry.outlines:
        return Segmentation(outlines=tuple(_moved_outline(points, change) for points in entry.outlines))
    if not shapes.drawn[number]:
        return entry
    return patch_runs([(shapes.region(number, change.size, change).mask(), 0, 0)], change.size)


def _moved_outline(points: np.ndarray, change: SizeChange) -> np.ndarray:
    moved: np.ndarray = change.points(points[: len(points) // 2 * 2].reshape(-1, 2)).reshape(-1)
    return moved
