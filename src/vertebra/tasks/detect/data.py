"""Annotations of the detect task, from a data set to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.scope import relabeled
from vertebra.annotations.table import Annotations
from vertebra.preprocess.canvas_map import CanvasMap
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.column import Column
from vertebra.tasks.data import ObjectData
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.from_annotations import read_boxes
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.scopes import stacked_scopes

if TYPE_CHECKING:
    from PIL import Image

MIN_VISIBLE_FRACTION = 0.25
LARGE = 16.0


class DetectData(ObjectData):
    """Boxes, transformed with their image."""

    source_kinds = frozenset({"boxes", "outlines", "points"})
    direct_kinds = frozenset({"boxes", "outlines"})
    annotates_boxes = True
    sized_by = "boxes"

    def read(self, annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[Column, LabelSpec]:
        """See `vertebra.tasks.detect.from_annotations.read_boxes`."""
        return read_boxes(annotations, options, notes)

    def to_canvas(
        self, annotation: DetectAnnotation, resize_spec: ResizeSpec, transform: ImageTransform, labels: DetectLabels
    ) -> DetectAnnotation:
        """Boxes on the canvas, clipped to the image's valid pixels."""
        boxes, kept = clip_to_visible(transform.boxes_to_canvas(annotation.boxes), transform.size)
        return visible(annotation, boxes, kept)

    def cut(
        self, annotation: DetectAnnotation, canvas_map: CanvasMap, resize_spec: ResizeSpec, labels: DetectLabels
    ) -> DetectAnnotation:
        """The boxes around the mapped outlines, or boxes where there are none, without those that are mostly cropped away."""
        outlines = annotation.outlines
        mapped = canvas_map.boxes(annotation.boxes) if outlines is None else canvas_map.boxes_around(outlines)
        boxes, kept = clip_to_visible(mapped, canvas_map.out, box_areas(mapped))
        return visible(annotation, boxes, kept)

    def relabel(
        self, annotation: DetectAnnotation, ids: np.ndarray, source_labels: DetectLabels, labels: DetectLabels
    ) -> DetectAnnotation:
        """Boxes of the branch's classes with their new ids."""
        changed = ids[annotation.labels]
        kept = changed >= 0
        outlines = None if annotation.outlines is None else annotation.outlines[kept]
        exhaustive = relabeled(annotation.exhaustive, ids, labels.class_count)
        return DetectAnnotation(annotation.boxes[kept], changed[kept], annotation.crowd[kept], outlines, exhaustive)

    def uses_scope(self, multilabel: bool) -> bool:
        """Always."""
        return True

    def partly_annotated(self, column: Any) -> np.ndarray | None:
        """See `vertebra.tasks.data.TaskData`."""
        return None if column.scope is None else column.scope.partial

    def draw(self, annotation: DetectAnnotation, labels: DetectLabels, picture: Image.Image) -> Image.Image:
        """The picture with the boxes and their classes."""
        from vertebra.tasks.detect.types import DetectPrediction

        scores = np.full(len(annotation.labels), np.nan, dtype=np.float32)
        return DetectPrediction(annotation.boxes, scores, annotation.labels, labels).draw(picture)

    def stack(self, annotations: Sequence[DetectAnnotation], labels: DetectLabels) -> Any:
        """Boxes, padded to the largest number of boxes in an image."""
        import torch

        from vertebra.tasks.detect.targets import DetectTargets

        counts = [len(annotation.labels) for annotation in annotations]
        shape = (len(annotations), max(counts))
        boxes, ids = torch.zeros(*shape, 4), torch.full(shape, -1)
        crowd = torch.zeros(shape, dtype=torch.bool)
        for row, (annotation, count) in enumerate(zip(annotations, counts, strict=True)):
            boxes[row, :count] = torch.from_numpy(annotation.boxes)
            ids[row, :count] = torch.from_numpy(annotation.labels)
            crowd[row, :count] = torch.from_numpy(annotation.crowd)
        scopes, scope = [annotation.exhaustive for annotation in annotations], None
        if any(each is not None for each in scopes):
            scope = stacked_scopes(scopes, labels.class_count)
        return DetectTargets(boxes, ids, crowd, torch.tensor(counts), scope)

    def fake_labels(self, classes: Sequence[str], multilabel: bool) -> DetectLabels:
        """Labels with these classes."""
        return DetectLabels(tuple(classes))

    def fake_targets(self, labels: DetectLabels, canvas: tuple[int, int], batch: int) -> Any:
        """Two boxes of random classes in each image, none in the last of several."""
        import torch

        from vertebra.tasks.detect.targets import DetectTargets

        boxes, ids, counts = fake_boxes(labels.class_count, canvas, batch)
        return DetectTargets(boxes, ids, torch.zeros(batch, 2, dtype=torch.bool), counts)


def visible(annotation: DetectAnnotation, boxes: np.ndarray, kept: np.ndarray) -> DetectAnnotation:
    """The objects (M,) that are ``kept``, with their boxes (M, 4) in another image."""
    return DetectAnnotation(
        boxes[kept], annotation.labels[kept], annotation.crowd[kept], exhaustive=annotation.exhaustive
    )


def fake_boxes(classes: int, canvas: tuple[int, int], batch: int) -> tuple[Any, Any, Any]:
    """Two boxes in each image, none in the last of several.

    Returns:
        Tensors: boxes (batch, 2, 4), random labels (batch, 2) and counts (batch,).
    """
    import torch

    height, width = canvas
    shares = ((0.1, 0.1, 0.6, 0.7), (0.3, 0.2, 0.9, 0.9))
    sides = (width, height, width, height)
    canvas_boxes = torch.tensor([[share * side for share, side in zip(box, sides, strict=True)] for box in shares])
    boxes = canvas_boxes.repeat(batch, 1, 1)
    ids, counts = torch.randint(0, classes, (batch, 2)), torch.full((batch,), 2)
    if batch > 1:
        boxes[-1], ids[-1], counts[-1] = 0, -1, 0
    return boxes, ids, counts


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """(M,) areas of boxes (M, 4) xyxy."""
    areas: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def clip_to_visible(
    boxes: np.ndarray, size: tuple[int, int], whole: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Clips boxes to the valid pixels, and selects those that are still visible enough.

    A box is left out if less than a pixel of it remains along an axis, or if less than ``MIN_VISIBLE_FRACTION`` of its area
    remains and its short side is under ``LARGE`` pixels.

    Args:
        boxes: (M, 4) xyxy in canvas pixels.
        size: (height, width) of the valid pixels.
        whole: (M,) area of each whole box in canvas pixels; None where nothing is cropped.

    Returns:
        (M, 4) float32 and (M,) bool.
    """
    limit = np.array([size[1], size[0], size[1], size[0]], dtype=np.float32)
    clipped = np.clip(boxes, 0, limit).astype(np.float32)
    sides = clipped[:, 2:] - clipped[:, :2]
    short = sides.min(axis=1, initial=np.inf)
    if whole is None:
        return clipped, short > 0
    return clipped, (short >= 1) & ((sides.prod(axis=1) >= MIN_VISIBLE_FRACTION * whole) | (short >= LARGE))
