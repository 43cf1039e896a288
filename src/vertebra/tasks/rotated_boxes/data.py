"""Annotations of the task of rotated boxes, from a data set to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.scope import relabeled
from vertebra.annotations.table import Annotations
from vertebra.geometry.rectangles import enclosing_rectangles, upright_corners
from vertebra.preprocess.canvas_map import CanvasMap
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.column import Column
from vertebra.tasks.data import ObjectData
from vertebra.tasks.detect.data import MIN_VISIBLE_FRACTION, fake_boxes
from vertebra.tasks.rotated_boxes.annotation import RotatedBoxAnnotation
from vertebra.tasks.rotated_boxes.column import shown
from vertebra.tasks.rotated_boxes.from_annotations import read_rotated_boxes
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.scopes import stacked_scopes

if TYPE_CHECKING:
    from PIL import Image


class RotatedBoxData(ObjectData):
    """Rotated boxes; their corners are mapped with the image."""

    source_kinds = frozenset({"outlines"})
    annotates_boxes = True
    sized_by = "boxes"

    def read(self, annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[Column, LabelSpec]:
        """See `vertebra.tasks.rotated_boxes.from_annotations.read_rotated_boxes`."""
        return read_rotated_boxes(annotations, options, notes)

    def to_canvas(
        self,
        annotation: RotatedBoxAnnotation,
        resize_spec: ResizeSpec,
        transform: ImageTransform,
        labels: RotatedBoxLabels,
    ) -> RotatedBoxAnnotation:
        """The boxes on the canvas."""
        return shown(_mapped(annotation, transform.points_to_canvas(annotation.corners)), transform.size, 0.0)

    def cut(
        self, annotation: RotatedBoxAnnotation, canvas_map: CanvasMap, resize_spec: ResizeSpec, labels: RotatedBoxLabels
    ) -> RotatedBoxAnnotation:
        """The mapped boxes, around what is visible of them, without those that are mostly cropped away."""
        mapped = _mapped(annotation, canvas_map.points(annotation.corners))
        return shown(mapped, canvas_map.out, MIN_VISIBLE_FRACTION)

    def relabel(
        self,
        annotation: RotatedBoxAnnotation,
        ids: np.ndarray,
        source_labels: RotatedBoxLabels,
        labels: RotatedBoxLabels,
    ) -> RotatedBoxAnnotation:
        """Boxes of the branch's classes with their new ids."""
        changed = ids[annotation.labels]
        exhaustive = relabeled(annotation.exhaustive, ids, labels.class_count)
        return replace(annotation, labels=changed, exhaustive=exhaustive).take(changed >= 0)

    def uses_scope(self, multilabel: bool) -> bool:
        """Always."""
        return True

    def partly_annotated(self, column: Any) -> np.ndarray | None:
        """See `vertebra.tasks.data.TaskData`."""
        return None if column.scope is None else column.scope.partial

    def draw(self, annotation: RotatedBoxAnnotation, labels: RotatedBoxLabels, picture: Image.Image) -> Image.Image:
        """The picture with the boxes and their classes."""
        from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction

        scores = np.full(len(annotation.labels), np.nan, dtype=np.float32)
        drawn = RotatedBoxPrediction(annotation.corners, annotation.boxes, scores, annotation.labels, labels)
        return drawn.draw(picture)

    def stack(self, annotations: Sequence[RotatedBoxAnnotation], labels: RotatedBoxLabels) -> Any:
        """Corners, padded to the largest number of boxes in an image."""
        import torch

        from vertebra.tasks.rotated_boxes.targets import RotatedBoxTargets

        counts = [len(annotation.labels) for annotation in annotations]
        shape = (len(annotations), max(counts))
        corners, ids = torch.zeros(*shape, 4, 2), torch.full(shape, -1)
        crowd = torch.zeros(shape, dtype=torch.bool)
        for row, (annotation, count) in enumerate(zip(annotations, counts, strict=True)):
            corners[row, :count] = torch.from_numpy(annotation.corners)
            ids[row, :count] = torch.from_numpy(annotation.labels)
            crowd[row, :count] = torch.from_numpy(annotation.crowd)
        scopes, scope = [annotation.exhaustive for annotation in annotations], None
        if any(each is not None for each in scopes):
            scope = stacked_scopes(scopes, labels.class_count)
        return RotatedBoxTargets(corners, ids, crowd, torch.tensor(counts), scope)

    def fake_labels(self, classes: Sequence[str], multilabel: bool) -> RotatedBoxLabels:
        """Labels with these classes."""
        return RotatedBoxLabels(tuple(classes))

    def fake_targets(self, labels: RotatedBoxLabels, canvas: tuple[int, int], batch: int) -> Any:
        """Two turned boxes of random classes in each image, none in the last of several."""
        import torch

        from vertebra.tasks.rotated_boxes.targets import RotatedBoxTargets

        boxes, ids, counts = fake_boxes(labels.class_count, canvas, batch)
        center = (boxes[..., :2] + boxes[..., 2:])[..., None, :] / 2
        offsets = upright_corners(boxes) - center
        turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])  # by 37 degrees; half as long, to stay inside
        return RotatedBoxTargets(center + 0.5 * offsets @ turn, ids, torch.zeros(batch, 2, dtype=torch.bool), counts)


def _mapped(annotation: RotatedBoxAnnotation, corners: np.ndarray) -> RotatedBoxAnnotation:
    """The objects with mapped corners (M, 4, 2), which a stretch or perspective makes a parallelogram or less: the smallest
    rectangles around these."""
    finite = np.isfinite(corners).all(axis=(1, 2))
    rectangles = enclosing_rectangles(np.where(finite[:, None, None], corners, 0).astype(np.float64))
    return replace(annotation, corners=rectangles.astype(np.float32)).take(finite)
