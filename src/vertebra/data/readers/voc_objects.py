"""Masks of objects of a VOC data set, ``SegmentationObject``: each has the numbers of an image's objects from 1, 255 at borders.

The objects of the XML file have the same order as a rule. A mask is taken for the object of its number if its bounds fit the
object's box; where they do not, for the object whose box fits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from vertebra.annotations.drawing import patch_runs
from vertebra.annotations.mask_files import read_mask
from vertebra.annotations.notes import Note
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.shapes import DeferredShapes, Shapes
from vertebra.annotations.table import Annotations
from vertebra.data.readers.files import any_below, folders_called
from vertebra.data.readers.mask_pair_lists import is_mask, masks_below
from vertebra.errors import DataError
from vertebra.tasks.box_iou import iou as box_iou

FOLDERS = ("SegmentationObject",)
BORDER = 255
MIN_IOU = 0.5  # of a mask's bounds and a box that fits
BY_NUMBER = ("with the number of an object in the XML file whose box fits", "taken for that object")


def has_object_masks(path: Path) -> bool:
    """Whether there are masks of objects."""
    return any(any_below(folder, is_mask) for folder in folders_called(path, FOLDERS))


def with_object_masks(annotations: Annotations, path: Path) -> Annotations:
    """Annotations of boxes whose objects have run lengths, as far as there are masks; these are read when first used."""
    masks = {mask.stem: mask for folder in folders_called(path, FOLDERS) for mask in masks_below(folder)}
    objects, boxes = annotations.objects, annotations.objects.boxes
    rows = objects.rows
    of_rows = {
        row: masks[stem] for row in range(len(annotations)) if (stem := Path(annotations.name(row)).stem) in masks
    }
    if not of_rows:
        return annotations

    def read(numbers: np.ndarray) -> Shapes:
        wanted = set(numbers.tolist())
        segmentations: dict[int, Segmentation] = {}
        named: dict[tuple[str, str], list[str]] = defaultdict(list)
        members = np.split(
            np.argsort(rows, kind="stable"), np.cumsum(np.bincount(rows, minlength=len(annotations)))[:-1]
        )
        for row, mask in of_rows.items():
            if wanted.intersection(members[row].tolist()):
                segmentations.update(_objects_of(mask, members[row], boxes[members[row]], named))
        notes = tuple(Note.of("object mask", which, done, names) for (which, done), names in named.items())
        return replace(
            Shapes.joined([segmentations.get(int(number), Segmentation()) for number in numbers]), notes=notes
        )

    return replace(annotations, objects=replace(objects, shapes=DeferredShapes(read, np.arange(len(objects)))))


def only_with_masks(annotations: Annotations) -> Annotations:
    """The images of which an object has a mask, since the others are not segmented; with a note about these."""
    objects = annotations.objects
    kept = np.unique(objects.rows[objects.has_shape])
    bare = np.setdiff1d(np.arange(len(annotations)), kept)
    left = annotations.take(kept)
    if len(bare):
        left.notes.append(Note.of("image", "without masks of its objects", "left out", annotations.names(bare)))
    return left


def _objects_of(
    file: Path, numbers: np.ndarray, boxes: np.ndarray, named: Mapping[tuple[str, str], list[str]]
) -> dict[int, Segmentation]:
    """The run lengths of an image's objects by their numbers; adds the file's name to the problems in ``named``."""
    try:
        values = read_mask(file)
    except DataError:
        named["that cannot be read", "left out"].append(file.name)
        return {}
    ids, bounds = bounds_of_numbers(values, BORDER)
    if not len(ids):
        return {}
    overlaps = box_iou(bounds[:, None], boxes[None])
    ordered = ids - 1
    listed = ordered < len(boxes)
    fits = listed & (overlaps[np.arange(len(ids)), np.where(listed, ordered, 0)] >= MIN_IOU)
    chosen = np.where(fits, ordered, -1)
    if fits.any():
        named[BY_NUMBER].extend([file.name] * int(fits.sum()))
    free = np.setdiff1d(np.arange(len(boxes)), chosen)
    for at in np.flatnonzero(~fits).tolist():
        best = free[overlaps[at, free].argmax()] if len(free) else -1
        if best >= 0 and overlaps[at, best] >= MIN_IOU:
            chosen[at] = best
            free = free[free != best]
            named[
                "whose number is not that of the object in the XML file", "taken for the object whose box fits"
            ].append(file.name)
        else:
            named["that fits no box", "left out"].append(file.name)
    pairs = [
        (int(ids[at]), int(chosen[at]), bounds[at].astype(int).tolist()) for at in range(len(ids)) if chosen[at] >= 0
    ]
    return {
        int(numbers[position]): patch_runs([(values[top:bottom, left:right] == number, left, top)], values.shape[:2])
        for number, position, (left, top, right, bottom) in pairs
    }


def bounds_of_numbers(values: np.ndarray, no_object: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of objects in a mask (m,), ascending, and the bounds (m, 4) xyxy of each.

    Args:
        no_object: a value that is no object, beside 0; None for none.
    """
    down, across = np.nonzero((values > 0) & (values != (0 if no_object is None else no_object)))
    ids, inverse = np.unique(values[down, across].astype(np.int64), return_inverse=True)
    low, high = np.full((len(ids), 2), np.inf), np.zeros((len(ids), 2))
    positions = np.stack([across, down], axis=1)
    np.minimum.at(low, inverse.reshape(-1), positions)
    np.maximum.at(high, inverse.reshape(-1), positions + 1)
    return ids, np.concatenate([low, high], axis=1)
