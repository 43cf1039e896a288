"""Annotations of the instances task, from a data set to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from vertebra.tasks.detect.data import LARGE, MIN_VISIBLE_FRACTION, fake_boxes
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.cells import TARGET_CELLS, covered_shares
from vertebra.tasks.instances.from_annotations import read_instances
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.region_mapping import mapped_region, uncropped_map

if TYPE_CHECKING:
    from PIL import Image


class InstanceData(ObjectData):
    """Masks, transformed with their image; the boxes are those around the masks."""

    source_kinds = frozenset({"outlines"})
    annotates_boxes = True
    sized_by = "boxes"

    def read(self, annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[Column, LabelSpec]:
        """See `vertebra.tasks.instances.from_annotations.read_instances`."""
        return read_instances(annotations, options, notes)

    def to_canvas(
        self,
        annotation: InstanceAnnotation,
        resize_spec: ResizeSpec,
        transform: ImageTransform,
        labels: InstanceLabels,
    ) -> InstanceAnnotation:
        """The objects on the canvas that have a pixel there."""
        return _mapped(annotation, uncropped_map(transform), transform.canvas)

    def cut(
        self, annotation: InstanceAnnotation, canvas_map: CanvasMap, resize_spec: ResizeSpec, labels: InstanceLabels
    ) -> InstanceAnnotation:
        """The mapped objects, without those that are mostly cropped away."""
        mapped = replace(annotation, labels=np.arange(len(annotation.labels)))
        mapped = _mapped(mapped, canvas_map, resize_spec.size)
        rows, short = mapped.labels, (mapped.boxes[:, 2:] - mapped.boxes[:, :2]).min(axis=1, initial=np.inf)
        whole = annotation.areas[rows] * canvas_map.area_scale
        kept = (mapped.areas >= MIN_VISIBLE_FRACTION * whole) | (short >= LARGE)
        return replace(mapped, labels=annotation.labels[rows]).take(kept)

    def relabel(
        self, annotation: InstanceAnnotation, ids: np.ndarray, source_labels: InstanceLabels, labels: InstanceLabels
    ) -> InstanceAnnotation:
        """Objects of the branch's classes with their new ids."""
        changed = ids[annotation.labels]
        exhaustive = relabeled(annotation.exhaustive, ids, labels.class_count)
        return replace(annotation, labels=changed, exhaustive=exhaustive).take(changed >= 0)

    def uses_scope(self, multilabel: bool) -> bool:
        """Always."""
        return True

    def partly_annotated(self, column: Any) -> np.ndarray | None:
        """See `vertebra.tasks.data.TaskData`."""
        return None if column.scope is None else column.scope.partial

    def draw(self, annotation: InstanceAnnotation, labels: InstanceLabels, picture: Image.Image) -> Image.Image:
        """The picture with the masks and their classes."""
        from vertebra.tasks.instances.types import InstancePrediction, region_array

        scores = np.full(len(annotation.labels), np.nan, dtype=np.float32)
        rles = region_array(annotation.rles)
        drawn = InstancePrediction(rles, annotation.boxes, scores, annotation.labels, annotation.size, labels)
        return drawn.draw(picture)

    def stack(self, annotations: Sequence[InstanceAnnotation], labels: InstanceLabels) -> Any:
        """Objects for training (no crowds), padded to the largest number in an image."""
        import torch

        from vertebra.tasks.instances.targets import InstanceTargets

        chosen = [each.take(~each.crowd) for each in annotations]
        counts = [len(each.labels) for each in chosen]
        shape = (len(chosen), max(counts))
        masks = torch.zeros(*shape, TARGET_CELLS, TARGET_CELLS, dtype=torch.uint8)
        boxes, ids = torch.zeros(*shape, 4), torch.full(shape, -1)
        for row, (each, count) in enumerate(zip(chosen, counts, strict=True)):
            if count:
                masks[row, :count] = torch.from_numpy(np.stack([covered_shares(region) for region in each.rles]))
            boxes[row, :count] = torch.from_numpy(each.boxes)
            ids[row, :count] = torch.from_numpy(each.labels)
        return InstanceTargets(masks, boxes, ids, torch.tensor(counts))

    def fake_labels(self, classes: Sequence[str], multilabel: bool) -> InstanceLabels:
        """Labels with these classes."""
        return InstanceLabels(tuple(classes))

    def fake_targets(self, labels: InstanceLabels, canvas: tuple[int, int], batch: int) -> Any:
        """Two boxes with random masks in each image, none in the last of several."""
        import torch

        from vertebra.tasks.instances.targets import InstanceTargets

        boxes, ids, counts = fake_boxes(labels.class_count, canvas, batch)
        masks = torch.randint(0, 256, (batch, 2, TARGET_CELLS, TARGET_CELLS), dtype=torch.uint8)
        known = torch.arange(2) < counts[:, None]
        return InstanceTargets(masks * known[..., None, None], boxes, ids, counts)


def _mapped(annotation: InstanceAnnotation, canvas_map: CanvasMap, canvas: tuple[int, int]) -> InstanceAnnotation:
    """The objects on a canvas of (height, width) that have a pixel there."""
    rles = [mapped_region(region, canvas_map).shifted(0, 0, canvas) for region in annotation.rles]
    return InstanceAnnotation.of(rles, annotation.labels, annotation.crowd, canvas, annotation.exhaustive)
