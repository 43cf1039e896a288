"""Brings annotations to the kinds that a format holds: boxes of all objects, run lengths of mask files, outlines of masks."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import numpy as np

from vertebra.annotations.class_ids import object_boxes
from vertebra.annotations.drawing import patch_runs
from vertebra.annotations.join import joined_objects
from vertebra.annotations.mask_files import read_mask, read_segment_ids, upright_mask
from vertebra.annotations.notes import Note
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import IGNORED, UNKNOWN, Annotations, MaskFiles, Objects
from vertebra.annotations.tracing import mask_outlines
from vertebra.data.writers.base import Progress, objects_of
from vertebra.errors import DataError


def finite_boxes(annotations: Annotations, notes: list[Note]) -> np.ndarray:
    """(B, 4) float64 xyxy of all objects; of those without a box, the box around the outline, the mask or the points, with a note.

    Boxes with a side that is no number become nan, with a note.
    """
    objects = annotations.objects
    boxes: np.ndarray = object_boxes(annotations, "object", [])
    derived = ~objects.has_box & ~np.isnan(boxes).all(axis=1)
    if derived.any():
        names = annotations.names(objects.rows[derived])
        done = "written with the box around the outline, mask or points"
        notes.append(Note.of("object", "without a box", done, names))
    damaged = objects.has_box & ~np.isfinite(boxes).all(axis=1)
    if damaged.any():
        names = annotations.names(objects.rows[damaged])
        notes.append(Note.of("box", "with a side that is no number", "left out", names))
        boxes = np.where(damaged[:, None], np.nan, boxes)
    return boxes


def without(annotations: Annotations, chosen: np.ndarray, which: str, notes: list[Note]) -> Annotations:
    """Annotations without some objects, chosen by (B,) bool, with a note; ``which`` is the reason."""
    if not chosen.any():
        return annotations
    notes.append(Note.of("object", which, "left out", annotations.names(annotations.objects.rows[chosen])))
    return replace(annotations, objects=annotations.objects.take(~chosen))


def without_damaged(annotations: Annotations, notes: list[Note]) -> Annotations:
    """Annotations without the objects whose run lengths are damaged, with a note."""
    shapes = annotations.objects.shapes
    if shapes is None:
        return annotations
    damaged = np.zeros(len(shapes), dtype=bool)
    for number in np.flatnonzero((np.diff(shapes.runs_of) > 0) | (np.diff(shapes.text_of) > 0)).tolist():
        try:
            shapes.region(number, (int(shapes.sizes[number, 0]), int(shapes.sizes[number, 1])))
        except DataError:
            damaged[number] = True
    return without(annotations, damaged, "with damaged run lengths", notes)


def masks_as_objects(annotations: Annotations, notes: list[Note], progress: Progress) -> Annotations:
    """Annotations whose mask files have become objects: for each class of an image, one with run lengths, with notes.

    Raises:
        DataError: a mask cannot be read.
    """
    masks = annotations.masks
    if masks is None:
        return annotations
    if masks.segments:
        return _segments_as_objects(annotations, masks, notes, progress)
    rows: list[int] = []
    numbers: list[int] = []
    shapes: list[Segmentation] = []
    odd: dict[int, list[str]] = {IGNORED: [], UNKNOWN: []}
    none = np.zeros(0, dtype=np.int64)
    for row in progress(range(len(annotations)), "masks"):
        if not masks.files[row]:
            continue
        ids = category_map(annotations, masks, row, none)
        for number in np.unique(ids).tolist():
            if number >= 0:
                rows.append(row)
                numbers.append(number)
                shapes.append(patch_runs([(ids == number, 0, 0)], (ids.shape[0], ids.shape[1])))
            elif number in odd:
                odd[number].append(annotations.name(row))
    _note_masks(len(set(rows)), odd, notes)
    count = len(rows)
    regions = replace(
        Objects.none(),
        rows=np.array(rows, dtype=np.int64),
        categories=np.array(numbers, dtype=np.int64),
        boxes=np.full((count, 4), np.nan),
        shapes=Shapes.joined(shapes) if shapes else None,
        point_offsets=np.zeros(count + 1, dtype=np.int64),
        crowd=np.zeros(count, dtype=bool),
        areas=np.full(count, np.nan),
    )
    same = np.arange(len(annotations.categories))
    objects = joined_objects([annotations.objects, regions], [0, 0], [same, same])
    return replace(annotations, objects=objects, masks=None)


def _segments_as_objects(
    annotations: Annotations, masks: MaskFiles, notes: list[Note], progress: Progress
) -> Annotations:
    """Annotations whose objects have the run lengths of their segments."""
    objects = annotations.objects
    shapes = [Segmentation()] * len(objects)
    ignored: list[str] = []
    numbers_of = objects_of(annotations)
    for row in progress(range(len(annotations)), "masks"):
        if not masks.files[row]:
            continue
        ids = read_segment_ids(masks.root / os.fsdecode(masks.files[row]))
        known = [(objects.ids or ())[number] for number in numbers_of[row].tolist()]
        for number, key in zip(numbers_of[row].tolist(), known, strict=True):
            shapes[number] = patch_runs([(ids == key, 0, 0)], (ids.shape[0], ids.shape[1]))
        if not np.isin(ids, known).all():
            ignored.append(annotations.name(row))
    if ignored:
        notes.append(Note.of("mask", "with pixels of no segment", "written without these", ignored))
    return replace(annotations, objects=replace(objects, shapes=Shapes.joined(shapes)), masks=None)


def _note_masks(count: int, odd: dict[int, list[str]], notes: list[Note]) -> None:
    notes.append(Note.of("mask", "of an image", "written as one object for each class in it", [], count))
    for number, which in ((IGNORED, "with ignored pixels"), (UNKNOWN, "with pixels of no class")):
        if odd[number]:
            notes.append(Note.of("mask", which, "written without these", odd[number]))


def category_map(annotations: Annotations, masks: MaskFiles, row: int, numbers: np.ndarray) -> np.ndarray:
    """(H, W) int32, the category of each pixel of an image; see `MaskFiles` for negative numbers.

    Args:
        annotations: have the objects of segments.
        masks: the mask files.
        row: of the image.
        numbers: of the image's objects.
    """
    file = masks.root / os.fsdecode(masks.files[row])
    if masks.segments:
        ids, objects = read_segment_ids(file), annotations.objects
        known = np.array([(objects.ids or ())[number] for number in numbers.tolist()], dtype=np.int64)
        order = np.argsort(known)
        if not len(known):
            return np.full(ids.shape, IGNORED, dtype=np.int32)
        chosen = order[np.minimum(np.searchsorted(known[order], ids), len(known) - 1)]
        return np.where(known[chosen] == ids, objects.categories[numbers][chosen], IGNORED).astype(np.int32)
    values = np.minimum(read_mask(file, masks.codes).astype(np.int64), len(masks.categories) - 1)
    turned = values if masks.turns is None else upright_mask(values, int(masks.turns[row]))
    categories: np.ndarray = masks.categories[turned]
    return categories


def outlines_of(shapes: Shapes, number: int) -> list[np.ndarray]:
    """The outlines of one object, (2P,) float64 each; of run lengths, the borders of their pixels.

    Raises:
        DataError: run lengths are damaged.
    """
    first, last = shapes.outlines_of[number], shapes.outlines_of[number + 1]
    if last > first:
        return [shapes.points[a:b] for a, b in itertools.pairwise(shapes.outlines[first : last + 1].tolist())]
    if not has_runs(shapes, number):
        return []
    return mask_outlines(shapes.draw(number, (int(shapes.sizes[number, 0]), int(shapes.sizes[number, 1]))))


def has_runs(shapes: Shapes, number: int) -> bool:
    """Whether an object has run lengths."""
    return bool(
        shapes.runs_of[number + 1] > shapes.runs_of[number] or shapes.text_of[number + 1] > shapes.text_of[number]
    )
