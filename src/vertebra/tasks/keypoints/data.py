"""The truth of the keypoints task, from a data set to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra.preprocess.plan import Placement, Plan
from vertebra.preprocess.window import Window
from vertebra.tasks.data import TaskData
from vertebra.tasks.detect.data import box_areas, visible
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import KeypointLabels


class KeypointData(TaskData):
    """Points and boxes that move with their image; left and right points change places when it is mirrored."""

    def place(
        self, annotation: KeypointAnnotation, plan: Plan, placement: Placement, labels: KeypointLabels
    ) -> KeypointAnnotation:
        """The objects on the canvas."""
        points = annotation.points.copy()
        points[..., :2] = placement.points_to_canvas(points[..., :2])
        boxes, kept = visible(placement.boxes_to_canvas(annotation.boxes), placement.size)
        areas = annotation.areas * (placement.scale_x * placement.scale_y)
        return _some(
            KeypointAnnotation(seen_inside(points, placement.size), boxes, annotation.labels, annotation.crowd, areas),
            kept,
        )

    def cut(
        self, annotation: KeypointAnnotation, window: Window, plan: Plan, labels: KeypointLabels
    ) -> KeypointAnnotation:
        """The objects of the window; points beyond it are not labelled, objects of which too little is left are left out."""
        points = annotation.points.copy()
        points[..., :2] = window.points(points[..., :2])
        if window.mirror:
            points = points[:, mirrored_order(labels)]
        whole = window.area_scale * box_areas(annotation.boxes)
        boxes, kept = visible(window.boxes(annotation.boxes), window.out, whole)
        areas = annotation.areas * window.area_scale
        return _some(
            KeypointAnnotation(seen_inside(points, window.out), boxes, annotation.labels, annotation.crowd, areas), kept
        )

    def relabel(
        self, annotation: KeypointAnnotation, ids: np.ndarray, own: KeypointLabels, labels: KeypointLabels
    ) -> KeypointAnnotation:
        """Objects of the branch's classes, and its points by their names; what the data set lacks is not labelled."""
        places = {name: place for place, name in enumerate(own.points)}
        order = np.array([places.get(name, len(own.points)) for name in labels.points], dtype=np.int64)
        none = np.zeros((len(annotation.points), 1, 3), dtype=np.float32)
        points = np.concatenate([annotation.points, none], axis=1)[:, order]
        changed = ids[annotation.labels]
        moved = KeypointAnnotation(points, annotation.boxes, changed, annotation.crowd, annotation.areas)
        return _some(moved, changed >= 0)

    def occurrences(self, annotation: KeypointAnnotation, classes: int) -> np.ndarray:
        """How many objects each class has."""
        counts: np.ndarray = np.bincount(annotation.labels, minlength=classes)
        return counts

    def stack(self, annotations: Sequence[KeypointAnnotation], labels: KeypointLabels) -> Any:
        """Objects that can be learned from (no crowds, at least one labelled point), padded to the most of an image."""
        import torch

        from vertebra.tasks.keypoints.targets import KeypointTargets

        chosen = [_some(each, ~each.crowd & (each.points[..., 2] > 0).any(axis=1)) for each in annotations]
        counts = [len(each.labels) for each in chosen]
        shape = (len(chosen), max(counts))
        points, boxes = torch.zeros(*shape, len(labels.points), 3), torch.zeros(*shape, 4)
        ids = torch.full(shape, -1)
        for row, (each, count) in enumerate(zip(chosen, counts, strict=True)):
            points[row, :count] = torch.from_numpy(each.points)
            boxes[row, :count] = torch.from_numpy(each.boxes)
            ids[row, :count] = torch.from_numpy(each.labels)
        return KeypointTargets(points, boxes, ids, torch.tensor(counts))


def mirrored_order(labels: KeypointLabels) -> list[int]:
    """For each point the one that stands in its place when the image is mirrored."""
    order = list(range(len(labels.points)))
    for left, right in labels.flip_pairs:
        order[left], order[right] = right, left
    return order


def seen_inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Points (M, K, 3), with those outside of (height, width) pixels, and those not labelled, as 0, 0, 0."""
    x, y, seen = points[..., 0], points[..., 1], points[..., 2]
    kept = (seen > 0) & (x >= 0) & (y >= 0) & (x <= size[1]) & (y <= size[0])
    inside: np.ndarray = np.where(kept[..., None], points, 0).astype(np.float32)
    return inside


def _some(annotation: KeypointAnnotation, kept: np.ndarray) -> KeypointAnnotation:
    return KeypointAnnotation(
        annotation.points[kept],
        annotation.boxes[kept],
        annotation.labels[kept],
        annotation.crowd[kept],
        annotation.areas[kept],
    )
