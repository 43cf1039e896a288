"""Annotations of the box_attributes task, from a data set to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.ranges import classes_of_objects
from vertebra.annotations.table import Annotations
from vertebra.preprocess.canvas_map import CanvasMap
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.box_attributes.annotation import AttributeAnnotation, follow, labeled_objects
from vertebra.tasks.box_attributes.column import AttributeColumn
from vertebra.tasks.box_attributes.from_annotations import read_attribute
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.class_counts import class_counts
from vertebra.tasks.column import Column
from vertebra.tasks.data import TaskData, images_of
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.data import DetectData, fake_boxes
from vertebra.tasks.detect.labels import DetectLabels

if TYPE_CHECKING:
    from PIL import Image

BOXES = DetectData()
OBJECTS = DetectLabels(("object",))


class AttributeData(TaskData):
    """Boxes with values, transformed with their image; values go where the boxes go."""

    source_kinds = BOXES.source_kinds
    annotates_boxes = True

    def read(self, annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[Column, LabelSpec]:
        """See `vertebra.tasks.box_attributes.from_annotations.read_attribute`."""
        return read_attribute(annotations, options, notes)

    def to_canvas(
        self,
        annotation: AttributeAnnotation,
        resize_spec: ResizeSpec,
        transform: ImageTransform,
        labels: AttributeLabels,
    ) -> AttributeAnnotation:
        """The objects on the canvas."""
        return follow(BOXES.to_canvas(annotation.numbered, resize_spec, transform, OBJECTS), [annotation])

    def cut(
        self, annotation: AttributeAnnotation, canvas_map: CanvasMap, resize_spec: ResizeSpec, labels: AttributeLabels
    ) -> AttributeAnnotation:
        """The objects whose boxes remain, see `vertebra.tasks.detect.data.DetectData.cut`."""
        return follow(BOXES.cut(annotation.numbered, canvas_map, resize_spec, OBJECTS), [annotation])

    def object_boxes(self, annotation: AttributeAnnotation) -> np.ndarray:
        """The boxes that do not mark a crowd."""
        return BOXES.object_boxes(annotation.objects)

    def relabel(
        self, annotation: AttributeAnnotation, ids: np.ndarray, source_labels: AttributeLabels, labels: AttributeLabels
    ) -> AttributeAnnotation:
        """Objects of the branch's box classes, with the new ids of their values; other values are not labeled."""
        values = _new_values(annotation.values, ids, labels.class_count)
        positions = {name: number for number, name in enumerate(labels.box_classes)}
        box_ids = np.array([positions.get(name, -1) for name in source_labels.box_classes], dtype=np.int64)
        box_labels = box_ids[annotation.objects.labels]
        kept = np.flatnonzero(box_labels >= 0)
        outlines = annotation.objects.outlines
        objects = DetectAnnotation(
            annotation.objects.boxes[kept],
            box_labels[kept],
            annotation.objects.crowd[kept],
            None if outlines is None else outlines[kept],
        )
        return AttributeAnnotation(objects, values[kept])

    def occurrences(self, annotation: AttributeAnnotation, classes: int) -> np.ndarray:
        """The number of objects with each value."""
        known = annotation.values[annotation.known]
        counts: np.ndarray = (
            known.sum(axis=0, dtype=np.int64) if known.ndim > 1 else np.bincount(known, minlength=classes)
        )
        return counts

    def counted(self, annotation: AttributeAnnotation, labels: AttributeLabels) -> int:
        """The number of objects that are labeled for the attribute."""
        return int(annotation.known.sum())

    def measurable(self, column: AttributeColumn, ids: np.ndarray) -> np.ndarray:
        """Images with an object that has a value of the branch."""
        values = _new_values(column.ordered, ids, int(ids.max(initial=0)) + 1)
        return images_of(column, labeled_objects(values) & column.known)

    def strata(self, column: AttributeColumn, ids: np.ndarray) -> np.ndarray:
        """(n, K + 1), the objects with each value, and 1 for an image without any; for several values see `TaskData.strata`."""
        if column.values.ndim > 1:
            return super().strata(column, ids)
        values = column.ordered
        return class_counts(replace(column.boxes, labels=values), column.known & (ids[values] >= 0), len(ids))

    def class_presence(self, column: AttributeColumn, class_count: int) -> np.ndarray | None:
        """The values of the objects in each image, without crowds."""
        values = column.ordered
        if values.ndim == 1:
            return classes_of_objects(column.offsets, values, column.known, class_count)
        parts = [images_of(column, column.known & (values[:, number] > 0)) for number in range(class_count)]
        return np.stack(parts, axis=1)

    def draw(self, annotation: AttributeAnnotation, labels: AttributeLabels, picture: Image.Image) -> Image.Image:
        """The picture with the boxes and their values; "?" for objects that are not labeled."""
        from vertebra.tasks.detect.types import DetectPrediction

        texts = []
        for value, known in zip(annotation.values, annotation.known.tolist(), strict=True):
            ids = np.flatnonzero(value > 0).tolist() if value.ndim else [int(value)]
            texts.append((", ".join(labels.classes[number] for number in ids) or "-") if known else "?")
        names = list(dict.fromkeys(texts)) or ["?"]
        ids_of_texts = np.array([names.index(text) for text in texts], dtype=np.int64)
        scores = np.full(len(texts), np.nan, dtype=np.float32)
        return DetectPrediction(annotation.objects.boxes, scores, ids_of_texts, DetectLabels(tuple(names))).draw(
            picture
        )

    def stack(self, annotations: Sequence[AttributeAnnotation], labels: AttributeLabels) -> Any:
        """The objects that are labeled for the attribute, padded to the largest number in an image."""
        import torch

        from vertebra.tasks.box_attributes.targets import AttributeTargets

        chosen = [each.known for each in annotations]
        counts = [int(known.sum()) for known in chosen]
        shape = (len(annotations), max(counts))
        boxes, ids = torch.zeros(*shape, 4), torch.full(shape, -1)
        values = torch.zeros(*shape, labels.class_count) if labels.multilabel else torch.full(shape, -1)
        for row, (each, known, count) in enumerate(zip(annotations, chosen, counts, strict=True)):
            boxes[row, :count] = torch.from_numpy(each.objects.boxes[known])
            ids[row, :count] = torch.from_numpy(each.objects.labels[known])
            values[row, :count] = torch.from_numpy(each.values[known]).to(values.dtype)
        return AttributeTargets(boxes, values, ids, torch.tensor(counts))

    def fake_labels(self, classes: Sequence[str], multilabel: bool) -> AttributeLabels:
        """Labels with these values, of objects of one class."""
        return AttributeLabels(tuple(classes), multilabel, "kind", ("object",))

    def fake_targets(self, labels: AttributeLabels, canvas: tuple[int, int], batch: int) -> Any:
        """Two boxes with random values in each image, none in the last of several."""
        import torch

        from vertebra.tasks.box_attributes.targets import AttributeTargets

        boxes, values, counts = fake_boxes(labels.class_count, canvas, batch)
        ids = torch.where(values >= 0, 0, -1)
        if labels.multilabel:
            values = torch.randint(0, 2, (*values.shape, labels.class_count)).float() * (ids >= 0)[..., None]
        return AttributeTargets(boxes, values, ids, counts)


def _new_values(values: np.ndarray, ids: np.ndarray, classes: int) -> np.ndarray:
    """Values under new ids, see `vertebra.data.class_mapping.ClassMapping`; those without one become -1."""
    if values.ndim == 1:
        table = np.append(ids, -1)  # the last entry is for objects without a value
        return np.asarray(table[values])
    known = ids >= 0
    mapped = np.zeros((classes, len(values)), dtype=values.dtype)
    np.maximum.at(mapped, ids[known], values.T[known])  # several values may map to one
    return np.where(values[:, :1] < 0, -1, mapped.T).astype(values.dtype)
