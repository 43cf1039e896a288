"""Annotations of the segment task, from a data set to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.ranges import classes_of_objects
from vertebra.annotations.table import Annotations
from vertebra.preprocess.canvas_map import CanvasMap
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.images import apply_labels
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.column import Column
from vertebra.tasks.data import TaskData
from vertebra.tasks.segment.annotation import SegmentAnnotation, compact
from vertebra.tasks.segment.from_annotations import read_masks
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.outline_column import PolygonRLEColumn


class SegmentData(TaskData):
    """Masks, transformed with their image; outside the image they hold the ignore index."""

    source_kinds = frozenset({"masks", "outlines"})

    def read(self, annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[Column, LabelSpec]:
        """See `vertebra.tasks.segment.from_annotations.read_masks`."""
        return read_masks(annotations, options, notes)

    def to_canvas(
        self, annotation: SegmentAnnotation, resize_spec: ResizeSpec, transform: ImageTransform, labels: SegmentLabels
    ) -> SegmentAnnotation:
        """The mask on the canvas."""
        return SegmentAnnotation(apply_labels(resize_spec, annotation.mask, labels.ignore_index))

    def cut(
        self, annotation: SegmentAnnotation, canvas_map: CanvasMap, resize_spec: ResizeSpec, labels: SegmentLabels
    ) -> SegmentAnnotation:
        """The mapped mask."""
        return SegmentAnnotation(canvas_map.labels(annotation.mask, resize_spec.size, labels.ignore_index))

    def relabel(
        self, annotation: SegmentAnnotation, ids: np.ndarray, source_labels: SegmentLabels, labels: SegmentLabels
    ) -> SegmentAnnotation:
        """The mask with the branch's ids; pixels of classes that the branch does not have are ignored."""
        mask, ignore = annotation.mask, labels.ignore_index
        known = ids >= 0
        if mask.ndim == 2:
            table = np.full(max(len(ids), source_labels.ignore_index + 1), ignore, dtype=np.int32)
            table[: len(ids)] = np.where(known, ids, ignore)
            table[source_labels.ignore_index] = ignore
            return SegmentAnnotation(compact(table[mask], ignore))
        planes = np.zeros((labels.class_count, *mask.shape[1:]), dtype=mask.dtype)
        np.maximum.at(planes, ids[known], mask[known])  # several classes may map to one
        planes[planes == source_labels.ignore_index] = ignore
        return SegmentAnnotation(planes)

    def occurrences(self, annotation: SegmentAnnotation, classes: int) -> np.ndarray:
        """1 for each class with a pixel."""
        mask = annotation.mask
        if mask.ndim == 3:
            planes: np.ndarray = (mask == 1).any(axis=(1, 2)).astype(np.int64)
            return planes
        occurring: np.ndarray = np.isin(np.arange(classes), np.unique(mask)).astype(np.int64)
        return occurring

    def class_presence(self, column: Any, class_count: int) -> np.ndarray | None:
        """The classes of the outlined objects of each image; None for masks in files."""
        if not isinstance(column, PolygonRLEColumn):
            return None
        return classes_of_objects(column.offsets, column.labels, np.ones(len(column.labels), dtype=bool), class_count)

    def counted(self, annotation: SegmentAnnotation, labels: SegmentLabels) -> int:
        """1: the image, or 0 if all of its pixels are ignored."""
        return int((annotation.mask != labels.ignore_index).any())

    def ignored(self, annotation: SegmentAnnotation, labels: SegmentLabels) -> tuple[int, int]:
        """The pixels with the ignore index; of overlapping masks those of the first, since all ignore the same."""
        mask = annotation.mask if annotation.mask.ndim == 2 else annotation.mask[0]
        return int((mask == labels.ignore_index).sum()), mask.size

    def stack(self, annotations: Sequence[SegmentAnnotation], labels: SegmentLabels) -> Any:
        """The masks, padded with the ignore index at their right and bottom."""
        import torch

        from vertebra.tasks.segment.targets import SegmentTargets

        height, width = (max(each.mask.shape[axis] for each in annotations) for axis in (-2, -1))
        dtype = np.result_type(*(each.mask for each in annotations))  # a mask with few ids is smaller than others
        planes = annotations[0].mask.shape[:-2]
        whole = np.full((len(annotations), *planes, height, width), labels.ignore_index, dtype=dtype)
        for row, annotation in zip(whole, annotations, strict=True):
            row[..., : annotation.mask.shape[-2], : annotation.mask.shape[-1]] = annotation.mask
        masks = torch.from_numpy(whole)
        return SegmentTargets(masks.long() if masks.ndim == 3 else masks.to(torch.uint8))

    def fake_labels(self, classes: Sequence[str], multilabel: bool) -> SegmentLabels:
        """Labels with these classes."""
        return SegmentLabels(tuple(classes), multilabel)

    def fake_targets(self, labels: SegmentLabels, canvas: tuple[int, int], batch: int) -> Any:
        """Random masks with an ignored upper eighth."""
        import torch

        from vertebra.tasks.segment.targets import SegmentTargets

        count, (height, width) = labels.class_count, canvas
        if not labels.multilabel:
            masks = torch.randint(0, count, (batch, height, width))
        else:
            masks = torch.randint(0, 2, (batch, count, height, width), dtype=torch.uint8)
        masks[..., : max(1, height // 8), :] = labels.ignore_index
        return SegmentTargets(masks)
