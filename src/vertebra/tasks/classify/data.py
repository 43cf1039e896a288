"""Annotations of the classify task, from a data set to a batch."""

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
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.from_annotations import read_classes
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.column import Column
from vertebra.tasks.data import TaskData
from vertebra.tasks.scopes import stacked_scopes

if TYPE_CHECKING:
    from PIL import Image


class ClassifyData(TaskData):
    """Classes of whole images; they do not depend on the image's position on the canvas."""

    whole_image = True
    steps_factor = 0.4
    source_kinds = frozenset({"labels", "boxes", "outlines"})
    direct_kinds = frozenset({"labels"})

    def read(self, annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[Column, LabelSpec]:
        """See `vertebra.tasks.classify.from_annotations.read_classes`."""
        return read_classes(annotations, options, notes)

    def to_canvas(
        self, annotation: ClassifyAnnotation, resize_spec: ResizeSpec, transform: ImageTransform, labels: ClassifyLabels
    ) -> ClassifyAnnotation:
        """The same class."""
        return annotation

    def cut(
        self, annotation: ClassifyAnnotation, canvas_map: CanvasMap, resize_spec: ResizeSpec, labels: ClassifyLabels
    ) -> ClassifyAnnotation:
        """The same class."""
        return annotation

    def relabel(
        self, annotation: ClassifyAnnotation, ids: np.ndarray, source_labels: ClassifyLabels, labels: ClassifyLabels
    ) -> ClassifyAnnotation:
        """The class, or the set of classes, under its new id."""
        label = annotation.label
        if not isinstance(label, np.ndarray):
            return ClassifyAnnotation(int(ids[label]))
        known = ids >= 0
        mapped = np.zeros(labels.class_count, dtype=label.dtype)
        np.maximum.at(mapped, ids[known], label[known])  # several classes may map to one
        return ClassifyAnnotation(mapped, _known_classes(annotation, mapped, ids))

    def uses_scope(self, multilabel: bool) -> bool:
        """Where classes may overlap; of exclusive classes an image has one, whatever else is annotated."""
        return multilabel

    def partly_annotated(self, column: Any) -> np.ndarray | None:
        """See `vertebra.tasks.data.TaskData`."""
        return None if column.scope is None else column.scope.partial

    def occurrences(self, annotation: ClassifyAnnotation, classes: int) -> np.ndarray:
        """1 for each class of the image."""
        label = annotation.label
        return np.asarray(label) if isinstance(label, np.ndarray) else np.bincount([label], minlength=classes)

    def counted(self, annotation: ClassifyAnnotation, labels: ClassifyLabels) -> int:
        """1: the image."""
        return 1

    def usable(self, annotation_labels: LabelSpec, column: Any, ids: np.ndarray) -> np.ndarray:
        """For exclusive classes, the images whose class the branch has."""
        labeled = super().usable(annotation_labels, column, ids)
        if isinstance(annotation_labels, ClassifyLabels) and not annotation_labels.multilabel:
            labeled = labeled & (ids[column.values] >= 0)
        return labeled

    def draw(self, annotation: ClassifyAnnotation, labels: ClassifyLabels, picture: Image.Image) -> Image.Image:
        """The picture with its classes below."""
        from vertebra.tasks.palette import color
        from vertebra.tasks.picture import enlarge, with_legend

        label = annotation.label
        ids = np.flatnonzero(label).tolist() if isinstance(label, np.ndarray) else [label]
        return with_legend(enlarge(picture), [(labels.classes[number], color(number)) for number in ids])

    def stack(self, annotations: Sequence[ClassifyAnnotation], labels: ClassifyLabels) -> Any:
        """Class ids; probabilities of each class if an image is mixed of several, and where classes are not exclusive."""
        import torch

        from vertebra.tasks.classify.targets import ClassifyTargets

        if labels.multilabel or any(isinstance(annotation.label, np.ndarray) for annotation in annotations):
            rows = [probabilities(annotation, labels) for annotation in annotations]
            known = stacked_scopes([annotation.known for annotation in annotations], labels.class_count)
            return ClassifyTargets(torch.from_numpy(np.stack(rows)).float(), known)
        return ClassifyTargets(torch.tensor([int(annotation.label) for annotation in annotations]))

    def fake_labels(self, classes: Sequence[str], multilabel: bool) -> ClassifyLabels:
        """Labels with these classes."""
        return ClassifyLabels(tuple(classes), multilabel)

    def fake_targets(self, labels: ClassifyLabels, canvas: tuple[int, int], batch: int) -> Any:
        """Random classes."""
        import torch

        from vertebra.tasks.classify.targets import ClassifyTargets

        count = labels.class_count
        if not labels.multilabel:
            return ClassifyTargets(torch.randint(0, count, (batch,)))
        return ClassifyTargets(torch.randint(0, 2, (batch, count)).float())

    def class_presence(self, column: Any, class_count: int) -> np.ndarray | None:
        """The class, or the classes, of each labeled image."""
        if column.values.ndim > 1:
            return np.asarray(column.values > 0)
        presence: np.ndarray = column.values[:, None] == np.arange(class_count)
        presence &= column.labeled[:, None]
        return presence

    def strata(self, column: Any, ids: np.ndarray) -> np.ndarray:
        """The class of each image, -1 for none; for overlapping classes (n, K) of 0 and 1."""
        if column.values.ndim > 1:
            values: np.ndarray = column.values
            return values
        classes: np.ndarray = np.where(column.labeled, column.values, -1)
        return classes


def _known_classes(annotation: ClassifyAnnotation, label: np.ndarray, ids: np.ndarray) -> np.ndarray | None:
    """(K,) bool, the branch's classes that are known: those that the image has, and those of which all of the data set's are known.

    Args:
        annotation: in the data set's classes.
        label: (K,) in the branch's.
        ids: as for `ClassifyData.relabel`.
    """
    known = relabeled(annotation.known, ids, len(label))
    return None if known is None else known | (label > 0)


def probabilities(annotation: ClassifyAnnotation, labels: ClassifyLabels) -> np.ndarray:
    """(K,) float64, of each class."""
    label = annotation.label
    if isinstance(label, np.ndarray):
        return label.astype(np.float64)
    one_hot: np.ndarray = np.eye(labels.class_count)[label]
    return one_hot
