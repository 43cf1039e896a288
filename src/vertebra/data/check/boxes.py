"""Boxes in another convention, tiny boxes, and objects that hardly differ from another one of their image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations
from vertebra.data.analysis.box_conventions import convention_mismatch
from vertebra.data.check.open_splits import OpenedSplit
from vertebra.data.check.report import Finding
from vertebra.errors import DataError

MIN_SIDE = 2.0  # pixels
TWIN_IOU = 0.95
MAX_BOXES = 100_000  # on which the convention is judged
MAX_OBJECTS = 2000  # of an image, that are compared
CONVENTION_CURE = "convert them: the files are of a format whose boxes are written otherwise"
TWIN_CURE = "remove the second of each pair: both are learned, and one of them always counts as missed"
TINY_CURE = "hardly anything is learned from them; --fix leaves out those below one pixel"


def convention(opened: OpenedSplit, sizes: np.ndarray) -> Iterator[Finding]:
    """Boxes that fit another convention than that by which they are read.

    Args:
        sizes: (n, 2) height and width of the images, 0 where they are not known.
    """
    annotations = opened.annotations
    if annotations is None or not annotations.objects.has_box.any():
        return
    known = np.where(annotations.sizes > 0, annotations.sizes, sizes)
    boxed = np.flatnonzero(annotations.objects.has_box & (known[annotations.objects.rows] > 0).all(axis=1))
    boxed = boxed[:: max(1, len(boxed) // MAX_BOXES)]
    boxes, box_sizes = annotations.objects.boxes[boxed], known[annotations.objects.rows[boxed]].astype(np.float64)
    for numbers, read_as in _as_written(boxes, box_sizes):
        mismatch = convention_mismatch(numbers, box_sizes, read_as)
        if mismatch is not None:
            message = f"boxes: {mismatch}"
            yield Finding("convention", "error", message, len(boxed), (), CONVENTION_CURE, opened.name)
            return


def _as_written(boxes: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    """The numbers that files of several kinds hold for boxes (xyxy in pixels), and how they are read."""
    width_height = boxes[:, 2:] - boxes[:, :2]
    yield boxes, "pixel xyxy"
    yield np.concatenate([boxes[:, :2], width_height], axis=1), "pixel xywh"
    scale = sizes[:, ::-1]
    yield np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2 / scale, width_height / scale], axis=1), "normalized cxcywh"


def tiny(opened: OpenedSplit) -> Iterator[Finding]:
    """Boxes with a side of less than two pixels, but some area."""
    annotations = opened.annotations
    if annotations is None or not len(annotations.objects):
        return
    sides = annotations.objects.boxes[:, 2:] - annotations.objects.boxes[:, :2]
    with np.errstate(invalid="ignore"):
        small = (sides > 0).all(axis=1) & (sides.min(axis=1) < MIN_SIDE) & ~annotations.objects.crowd
    if small.any():
        names = _names(opened, annotations.objects.rows[small])
        which = f"with a side of less than {MIN_SIDE:g} pixels"
        yield Finding.of("tiny_boxes", "warning", "box", which, names, TINY_CURE, split=opened.name)


def twins(opened: OpenedSplit) -> Iterator[Finding]:
    """Objects of one class that hardly differ from another one of their image, by box and outline."""
    annotations = opened.annotations
    if annotations is None or len(annotations.objects) < 2:
        return
    numbers = twin_objects(annotations)
    if len(numbers):
        names = _names(opened, annotations.objects.rows[numbers])
        which = "hardly different from another of its class and image"
        yield Finding.of("twins", "warning", "object", which, names, TWIN_CURE, split=opened.name)


def twin_objects(annotations: Annotations) -> np.ndarray:
    """(m,) int64, the numbers of the objects that hardly differ from an earlier one of their class and image."""
    objects = annotations.objects
    boxes = objects.boxes.copy()
    if objects.shapes is not None:
        bare = np.flatnonzero(~objects.has_box & objects.has_shape)
        boxes[bare] = objects.shapes.take(bare).bounds()
    solid = np.flatnonzero(((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1) & ~objects.crowd)
    if len(solid) < 2:
        return np.zeros(0, dtype=np.int64)
    keys = objects.rows[solid] * (len(annotations.categories) + 1) + objects.categories[solid]
    order = np.argsort(keys, kind="stable")
    solid, keys = solid[order], keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
    ends = np.append(starts[1:], len(keys))
    result: list[int] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if 2 <= end - start <= MAX_OBJECTS:
            members = solid[start:end]
            one, other = np.nonzero(np.triu(_pair_ious(boxes[members]) >= TWIN_IOU, 1))
            result += [
                int(members[b])
                for a, b in zip(one.tolist(), other.tolist(), strict=True)
                if _same_shape(objects.shapes, int(members[a]), int(members[b]), boxes[members[[a, b]]])
            ]
    return np.unique(np.array(result, dtype=np.int64))


def _pair_ious(boxes: np.ndarray) -> np.ndarray:
    """(m, m), the intersection over union of all pairs."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    iou: np.ndarray = shared / (areas[:, None] + areas[None] - shared)
    return iou


def _same_shape(shapes: Shapes | None, one: int, other: int, boxes: np.ndarray) -> bool:
    """Whether the outlines of two objects cover nearly the same pixels; True where one of them has none."""
    if shapes is None or not (shapes.drawn[one] and shapes.drawn[other]):
        return True
    right, bottom = np.ceil(boxes[:, 2:].max(axis=0)).astype(int).tolist()
    try:
        first, second = (shapes.draw(number, _size(shapes, number, (bottom, right))) for number in (one, other))
    except DataError:
        return False
    if first.shape != second.shape:
        return False
    union = int((first | second).sum())
    return union > 0 and int((first & second).sum()) >= TWIN_IOU * union


def _size(shapes: Shapes, number: int, size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) on which an object can be drawn: that of its run lengths, or the given one."""
    height, width = shapes.sizes[number].tolist()
    return (height, width) if height else size


def _names(opened: OpenedSplit, rows: np.ndarray) -> list[str]:
    return [opened.name_of(row) for row in rows.tolist()]
