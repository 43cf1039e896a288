"""Annotations of the keypoints task, from a data set to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.preprocess.canvas_map import CanvasMap
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.class_counts import class_counts
from vertebra.tasks.column import Column
from vertebra.tasks.data import ObjectData, images_of
from vertebra.tasks.detect.data import box_areas, clip_to_visible, fake_boxes
from vertebra.tasks.keypoints.annotation import KeypointAnnotation, clear_points_outside
from vertebra.tasks.keypoints.from_annotations import read_points
from vertebra.tasks.keypoints.labels import KeypointLabels

if TYPE_CHECKING:
    from PIL import Image


class KeypointData(ObjectData):
    """Points and boxes, transformed with their image; mirroring exchanges left and right points."""

    source_kinds = frozenset({"points"})
    direct_kinds = source_kinds
    annotates_boxes = True
    sized_by = "points"

    def read(self, annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[Column, LabelSpec]:
        """See `vertebra.tasks.keypoints.from_annotations.read_points`."""
        return read_points(annotations, options, notes)

    def to_canvas(
        self, annotation: KeypointAnnotation, resize_spec: ResizeSpec, transform: ImageTransform, labels: KeypointLabels
    ) -> KeypointAnnotation:
        """The objects on the canvas."""
        positions = transform.points_to_canvas(annotation.points[..., :2])
        boxes, kept = clip_to_visible(transform.boxes_to_canvas(annotation.boxes), transform.size)
        scale = transform.scale_x * transform.scale_y
        return _with_positions(annotation, positions, boxes, scale, transform.size).take(kept)

    def cut(
        self, annotation: KeypointAnnotation, canvas_map: CanvasMap, resize_spec: ResizeSpec, labels: KeypointLabels
    ) -> KeypointAnnotation:
        """The mapped objects; points outside become unlabeled, objects that are mostly cropped away are left out."""
        positions = canvas_map.points(annotation.points[..., :2])
        mapped = canvas_map.boxes(annotation.boxes)
        boxes, kept = clip_to_visible(mapped, canvas_map.out, box_areas(mapped))
        on_canvas = _with_positions(annotation, positions, boxes, canvas_map.area_scale, canvas_map.out).take(kept)
        if canvas_map.mirrored:
            on_canvas = replace(on_canvas, points=on_canvas.points[:, labels.mirrored])
        return on_canvas

    def relabel(
        self, annotation: KeypointAnnotation, ids: np.ndarray, source_labels: KeypointLabels, labels: KeypointLabels
    ) -> KeypointAnnotation:
        """Objects of the branch's classes, with its points matched by name; points that the data set lacks are unlabeled."""
        row_of = {name: row for row, name in enumerate(source_labels.points)}
        order = np.array([row_of.get(name, len(source_labels.points)) for name in labels.points], dtype=np.int64)
        none = np.zeros((len(annotation.points), 1, 3), dtype=np.float32)
        points = np.concatenate([annotation.points, none], axis=1)[:, order]
        changed = ids[annotation.labels]
        return replace(annotation, points=points, labels=changed).take(changed >= 0)

    def measurable(self, column: Any, ids: np.ndarray) -> np.ndarray:
        """Images with an object of the branch's classes that is not a crowd and has a labeled point."""
        labeled = (column.points[..., 2] > 0).any(axis=1)
        return images_of(column, ~column.crowd & labeled & (ids[column.labels] >= 0))

    def strata(self, column: Any, ids: np.ndarray) -> np.ndarray:
        """(n, K + 1), the objects of each class with a labeled point, and 1 for an image without any."""
        labeled = (column.points[..., 2] > 0).any(axis=1)
        return class_counts(column, ~column.crowd & labeled & (ids[column.labels] >= 0), len(ids))

    def counted(self, annotation: KeypointAnnotation, labels: KeypointLabels) -> int:
        """The number of objects with a labeled point that do not mark a crowd."""
        return int(annotation.known.sum())

    def advice(self, labels: KeypointLabels, column: Any) -> list[str]:
        """Suggests the left-right pairs of points where they are not given."""
        from vertebra.tasks.keypoints.flip_pair_suggestions import propose_pairs

        return [] if labels.mirror_refusal is None else [propose_pairs(labels, column.points[~column.crowd])]

    def draw(self, annotation: KeypointAnnotation, labels: KeypointLabels, picture: Image.Image) -> Image.Image:
        """The picture with the labeled points."""
        from vertebra.tasks.keypoints.types import KeypointPrediction

        known = (annotation.points[..., 2] > 0).astype(np.float32)
        scores = np.ones(len(annotation.labels), dtype=np.float32)
        points, boxes = annotation.points[..., :2], annotation.boxes
        return KeypointPrediction(points, known, boxes, scores, annotation.labels, labels).draw(picture)

    def stack(self, annotations: Sequence[KeypointAnnotation], labels: KeypointLabels) -> Any:
        """Objects for training (no crowds, at least one labeled point), padded to the largest number in an image."""
        import torch

        from vertebra.tasks.keypoints.targets import KeypointTargets

        chosen = [each.take(each.known) for each in annotations]
        counts = [len(each.labels) for each in chosen]
        shape = (len(chosen), max(counts))
        points, boxes = torch.zeros(*shape, len(labels.points), 3), torch.zeros(*shape, 4)
        ids = torch.full(shape, -1)
        for row, (each, count) in enumerate(zip(chosen, counts, strict=True)):
            points[row, :count] = torch.from_numpy(each.points)
            boxes[row, :count] = torch.from_numpy(each.boxes)
            ids[row, :count] = torch.from_numpy(each.labels)
        return KeypointTargets(points, boxes, ids, torch.tensor(counts))

    def fake_labels(self, classes: Sequence[str], multilabel: bool) -> KeypointLabels:
        """Labels with these classes and four points."""
        return KeypointLabels(tuple(classes), points=tuple(f"p{index}" for index in range(4)))

    def fake_targets(self, labels: KeypointLabels, canvas: tuple[int, int], batch: int) -> Any:
        """Two boxes with random points in each image, none in the last of several."""
        import torch

        from vertebra.tasks.keypoints.targets import KeypointTargets

        boxes, ids, counts = fake_boxes(labels.class_count, canvas, batch)
        parts = torch.rand(batch, 2, len(labels.points), 2)
        positions = boxes[..., None, :2] + parts * (boxes[..., 2:] - boxes[..., :2])[..., None, :]
        visibility = torch.randint(0, 3, (*parts.shape[:-1], 1)).float()
        visibility[..., 0, :] = 2
        known = torch.arange(2)[:, None, None] < counts[:, None, None, None]
        points = torch.where(known, torch.cat([positions, visibility], dim=-1), 0.0)
        return KeypointTargets(points, boxes, ids, counts)


def _with_positions(
    annotation: KeypointAnnotation, positions: np.ndarray, boxes: np.ndarray, area_scale: float, size: tuple[int, int]
) -> KeypointAnnotation:
    """The objects with new ``positions`` (M, K, 2) of their points, in an image of another (height, width)."""
    points = np.concatenate([positions, annotation.points[..., 2:]], axis=-1)
    areas = (annotation.areas * area_scale).astype(np.float32)
    return KeypointAnnotation(
        clear_points_outside(points, size), boxes, annotation.labels, annotation.crowd, areas, (size[0], size[1])
    )
