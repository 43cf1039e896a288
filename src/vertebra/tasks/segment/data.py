"""Annotations of the segment task, from a data set to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.ranges import classes_of_objects
from vertebra.annotations.scope import relabeled
from vertebra.annotations.table import Annotations
from vertebra.preprocess.canvas_map import CanvasMap
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.images import apply_labels
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.class_counts import class_counts
from vertebra.tasks.column import Column
from vertebra.tasks.data import TaskData
from vertebra.tasks.scopes import stacked_scopes
from vertebra.tasks.segment.annotation import SegmentAnnotation, compact
from vertebra.tasks.segment.from_annotations import read_masks
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.outline_column import PolygonRLEColumn
from vertebra.tasks.segment.scope import certain_mask, limited
from vertebra.tasks.segment.segment_id_column import SegmentIdColumn

if TYPE_CHECKING:
    from PIL import Image


class SegmentData(TaskData):
    """Masks, transformed with their image; outside the image they hold the ignore index."""

    source_kinds = frozenset({"masks", "outlines"})
    direct_kinds = source_kinds
    steps_factor = 2.0

    def read(self, annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[Column, LabelSpec]:
        """See `vertebra.tasks.segment.from_annotations.read_masks`."""
        return read_masks(annotations, options, notes)

    def to_canvas(
        self, annotation: SegmentAnnotation, resize_spec: ResizeSpec, transform: ImageTransform, labels: SegmentLabels
    ) -> SegmentAnnotation:
        """The mask on the canvas."""
        return replace(annotation, mask=apply_labels(resize_spec, annotation.mask, labels.ignore_index))

    def cut(
        self, annotation: SegmentAnnotation, canvas_map: CanvasMap, resize_spec: ResizeSpec, labels: SegmentLabels
    ) -> SegmentAnnotation:
        """The mapped mask."""
        return replace(annotation, mask=canvas_map.labels(annotation.mask, resize_spec.size, labels.ignore_index))

    def relabel(
        self, annotation: SegmentAnnotation, ids: np.ndarray, source_labels: SegmentLabels, labels: SegmentLabels
    ) -> SegmentAnnotation:
        """The mask with the branch's ids; pixels of classes that the branch does not have are ignored."""
        mask, ignore = annotation.mask, labels.ignore_index
        known, exhaustive = ids >= 0, relabeled(annotation.exhaustive, ids, labels.class_count)
        if mask.ndim == 2:
            highest = max(source_labels.ignore_index, source_labels.unannotated)
            table = np.full(highest + 1, ignore, dtype=np.int32)
            table[: len(ids)] = np.where(known, ids, ignore)
            table[source_labels.ignore_index] = ignore
            if exhaustive is not None:
                table[source_labels.unannotated] = labels.unannotated
            return limited(compact(table[mask], ignore), exhaustive, labels)
        planes = np.zeros((labels.class_count, *mask.shape[1:]), dtype=mask.dtype)
        np.maximum.at(planes, ids[known], mask[known])  # several classes may map to one
        planes[planes == source_labels.ignore_index] = ignore
        return limited(planes, exhaustive, labels)

    def uses_scope(self, multilabel: bool) -> bool:
        """Always."""
        return True

    def partly_annotated(self, column: Any) -> np.ndarray | None:
        """See `vertebra.tasks.data.TaskData`."""
        return None if isinstance(column, SegmentIdColumn) or column.scope is None else column.scope.partial

    def occurrences(self, annotation: SegmentAnnotation, classes: int) -> np.ndarray:
        """1 for each class with a pixel."""
        mask = annotation.mask
        if mask.ndim == 3:
            planes: np.ndarray = (mask == 1).any(axis=(1, 2)).astype(np.int64)
            return planes
        occurring: np.ndarray = np.isin(np.arange(classes), np.unique(mask)).astype(np.int64)
        return occurring

    def strata(self, column: Any, ids: np.ndarray) -> np.ndarray:
        """(n, K + 1), the outlines of each class, and 1 for an image without any. Mask files are not read for this."""
        if isinstance(column, PolygonRLEColumn):
            return class_counts(column, ids[column.labels] >= 0, len(ids))
        return super().strata(column, ids)

    def class_presence(self, column: Any, class_count: int) -> np.ndarray | None:
        """The classes of the outlined objects of each image; None for masks in files."""
        if not isinstance(column, PolygonRLEColumn):
            return None
        return classes_of_objects(column.offsets, column.labels, np.ones(len(column.labels), dtype=bool), class_count)

    def counted(self, annotation: SegmentAnnotation, labels: SegmentLabels) -> int:
        """1: the image, or 0 if all of its pixels are ignored."""
        return int((annotation.mask != labels.ignore_index).any())

    def pixel_counts(self, annotation: SegmentAnnotation, labels: SegmentLabels) -> np.ndarray:
        """See `vertebra.tasks.data.TaskData`."""
        mask, ignored = annotation.mask, labels.ignore_index
        if mask.ndim == 3:
            planes = [int((plane == 1).sum()) for plane in mask]
            return np.array([*planes, int((mask == ignored).any(axis=0).sum())], dtype=np.int64)
        counts = np.bincount(mask.reshape(-1), minlength=max(labels.class_count, ignored) + 1)
        return np.append(counts[: labels.class_count], counts[ignored])

    def draw(self, annotation: SegmentAnnotation, labels: SegmentLabels, picture: Image.Image) -> Image.Image:
        """The picture with the classes' colors over it; ignored pixels have none."""
        from vertebra.tasks.segment.types import SegmentPrediction

        mask = annotation.mask == 1 if labels.multilabel else certain_mask(annotation, labels)
        return SegmentPrediction(mask, labels).draw(picture)

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
        if masks.ndim == 4:
            return SegmentTargets(masks.to(torch.uint8))
        scopes = [annotation.exhaustive for annotation in annotations]
        return SegmentTargets(masks.long(), stacked_scopes(scopes, labels.class_count))

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
