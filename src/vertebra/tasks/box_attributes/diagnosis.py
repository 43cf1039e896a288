"""What a report shows of an attribute of boxes (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vertebra.tasks.box_attributes.annotation import AttributeAnnotation
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.matching import MATCH_IOU, matched_boxes
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.diagnosis import ClassifyDiagnosis
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.diagnosis import Cell, Diagnosis, LikelyWrongLabel, Table
from vertebra.tasks.thresholds import CLASS_THRESHOLD

MAX_NAMED = 3  # objects in the text of an image


class AttributeDiagnosis:
    """Compares the values of predicted boxes with those of the labeled objects that they match.

    The loss of an image is the mean cross-entropy of its matched objects, 0 without any.

    Args:
        labels: the values.
    """

    def __init__(self, labels: AttributeLabels) -> None:
        self.labels = labels
        self.classes = ClassifyLabels(labels.classes, labels.multilabel)
        self.values = ClassifyDiagnosis(self.classes, "object")
        self.images: list[int] = []  # of each matched object
        self.boxes: list[np.ndarray] = []
        self.labeled: list[int] = []  # objects of each image
        self.counts = np.zeros((2, labels.class_count), dtype=np.int64)

    def update(self, predictions: Sequence[AttributePrediction], ground_truths: Sequence[AttributeAnnotation]) -> None:
        """Adds the predictions of some images, with all boxes, and their annotations, in the same order."""
        for prediction, annotation in zip(predictions, ground_truths, strict=True):
            boxes, objects = matched_boxes(prediction, annotation)
            values = annotation.values[objects]
            labels = list(values) if self.labels.multilabel else values.tolist()
            self.values.update(
                [ClassifyPrediction(row, self.classes) for row in prediction.probabilities[boxes]],
                [ClassifyAnnotation(label) for label in labels],
            )
            self.counts += [self._count(annotation.values[annotation.known]), self._count(values)]
            self.images += [len(self.labeled)] * len(objects)
            self.boxes += list(annotation.objects.boxes[objects])
            self.labeled.append(int(annotation.known.sum()))

    def compute(self) -> Diagnosis:
        """The diagnosis of all images added so far."""
        of_objects = self.values.compute()
        images, count = np.array(self.images, dtype=np.int64), len(self.labeled)
        matched = np.bincount(images, minlength=count)
        losses = np.bincount(images, np.asarray(of_objects.image_losses, dtype=float), minlength=count)
        return Diagnosis(
            [self._table(), *of_objects.blocks],
            losses / np.maximum(matched, 1),
            self._texts(of_objects, matched),
            likely_wrong=[self._of_object(label) for label in of_objects.likely_wrong],
        )

    def _count(self, values: np.ndarray) -> np.ndarray:
        """(K,) objects with each value."""
        has: np.ndarray = values > 0 if values.ndim > 1 else values[:, None] == np.arange(self.labels.class_count)
        return np.asarray(has.sum(axis=0))

    def _table(self) -> Table:
        labeled, matched = self.counts.tolist()
        rows: list[list[Cell]] = [
            [name, total, count, count / total if total else None]
            for name, total, count in zip(self.labels.classes, labeled, matched, strict=True)
        ]
        text = (
            f"An object is matched if a box of its class overlaps it with an IoU of {MATCH_IOU} or more, whatever the score. "
            "All that follows is of matched objects."
        )
        return Table("Labeled objects", ["value", "objects", "matched", "share"], rows, text)

    def _texts(self, of_objects: Diagnosis, matched: np.ndarray) -> list[str]:
        """What is wrong in each image: its objects with the largest losses."""
        wrong = self._wrong()
        texts = [
            f"{count} of {labeled} objects matched"
            for count, labeled in zip(matched.tolist(), self.labeled, strict=True)
        ]
        order = np.argsort(-np.asarray(of_objects.image_losses, dtype=float), kind="stable")
        named: dict[int, list[str]] = {}
        for row in order[wrong[order]].tolist():
            named.setdefault(self.images[row], []).append(of_objects.image_texts[row])
        for image, each in named.items():
            more = f" and {len(each) - MAX_NAMED} more" if len(each) > MAX_NAMED else ""
            texts[image] += f", {len(each)} wrong: {'; '.join(each[:MAX_NAMED])}{more}"
        return texts

    def _wrong(self) -> np.ndarray:
        """(P,) bool, the matched objects with a wrong value."""
        shape = (len(self.images), self.labels.class_count)
        probabilities = np.asarray(self.values.probabilities).reshape(shape)
        present = np.asarray(self.values.ground_truths, dtype=bool).reshape(shape)
        if self.labels.multilabel:
            return np.asarray(((probabilities >= CLASS_THRESHOLD) != present).any(axis=1))
        return np.asarray(~present[np.arange(len(present)), probabilities.argmax(axis=1)])

    def _of_object(self, label: LikelyWrongLabel) -> LikelyWrongLabel:
        """A label of an object as one of its image."""
        x1, y1, x2, y2 = self.boxes[label.image].tolist()
        return replace(label, image=self.images[label.image], box=(x1, y1, x2, y2))
