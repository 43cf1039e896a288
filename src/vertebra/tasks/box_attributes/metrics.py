"""Metrics of the box_attributes task: on true boxes, on the predicted boxes that match, and of detection with the value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vertebra.tasks.box_attributes.annotation import AttributeAnnotation
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.matching import matched_boxes
from vertebra.tasks.box_attributes.targets import AttributeDecoded, AttributeTargets
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.metrics import build_metric as build_class_metric
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.metrics import BoxMetric
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.metric import TaskMetric, each
from vertebra.tasks.thresholds import CLASS_THRESHOLD

JOINT = ("map", "map_50")


def build_metric(labels: AttributeLabels) -> TaskMetric:
    """The metric of an attribute."""
    return AttributeMetric(labels)


class AttributeMetric(TaskMetric):
    """Metrics of the values of boxes; objects without a value do not count, right or wrong.

    On the annotated boxes: ``accuracy``, ``f1`` (mean over the values), and ``class/NAME`` of each value, as for images; where an
    object may have several values ``accuracy``, ``f1`` and ``map``, as for images. An exported file does not run on annotated
    boxes and has none of these.

    On the predicted boxes: ``matched_accuracy``, the accuracy of those that match an object of their class at an IoU of 0.5; and
    ``joint_map`` and ``joint_map_50``, COCO's mean average precision where class and value must both be right: each pair of a class
    and a value is a class, and a box counts for each value with the product of its score and the value's probability.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "accuracy": "share of the annotated boxes whose most probable value is correct; with several values, share of correct "
        "decisions",
        "top_5": "share of the annotated boxes whose value is among the five most probable ones",
        "f1": "mean F1 of the values on the annotated boxes (harmonic mean of precision and recall); each value counts the same",
        "map": "mean average precision of the values on the annotated boxes",
        "class": "accuracy on the annotated boxes with each value",
        "matched_accuracy": "accuracy of the predicted boxes that match an object at an IoU of 0.5",
        "joint_map": "mean average precision of boxes, where class and value must both be right, over IoU 0.50 to 0.95",
        "joint_map_50": "average precision of boxes from an IoU of 0.50, where class and value must both be right",
    }

    matched: Tensor
    right: Tensor

    def __init__(self, labels: AttributeLabels) -> None:
        super().__init__(labels)
        self.labels = labels
        self.on_true_boxes = build_class_metric(ClassifyLabels(labels.classes, labels.multilabel))
        self.joint = BoxMetric(DetectLabels(labels.joint_classes()))
        for name in ("matched", "right"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.reset()

    def reset(self) -> None:
        """Clears all states."""
        self.on_true_boxes.reset()
        self.joint.reset()
        super().reset()

    def update(self, predictions: Sequence[AttributePrediction], ground_truths: Sequence[AttributeAnnotation]) -> None:
        """Add the predictions of some images on predicted boxes and their annotations, in the same order."""
        for prediction, annotation in zip(predictions, ground_truths, strict=True):
            matched, right = self._matched(prediction, annotation)
            self.matched += matched
            self.right += right
        if predictions:
            joint = [self._joint_prediction(each) for each in predictions]
            self.joint.update(joint, [self._joint_annotation(each) for each in ground_truths])

    def update_true_boxes(self, decoded: AttributeDecoded, targets: AttributeTargets) -> None:
        """Adds the predictions of some images on their annotated boxes."""
        real = torch.arange(targets.values.shape[1], device=targets.count.device) < targets.count[:, None]
        probabilities = decoded.probabilities[:, : real.shape[1]][real].float().cpu().numpy()
        values = targets.values[real].long().cpu().numpy()
        labels = ClassifyLabels(self.labels.classes, self.labels.multilabel)
        predictions = [ClassifyPrediction(row, labels) for row in probabilities]
        truths = [ClassifyAnnotation(value if self.labels.multilabel else int(value)) for value in values]
        self.on_true_boxes.update(predictions, truths)
        self._computed = None  # as `update` does

    def names(self) -> list[str]:
        """All metrics by name."""
        return [*self.on_true_boxes.names(), "matched_accuracy", *(f"joint_{name}" for name in JOINT),
                *each("joint_map", self.labels.joint_classes())]  # fmt: skip

    def compute(self) -> dict[str, float]:
        """The metrics over all images added so far; empty without images."""
        metrics = self.on_true_boxes.compute()
        if int(self.matched):
            metrics["matched_accuracy"] = int(self.right) / int(self.matched)
        joint = self.joint.compute()
        named = {name: value for name, value in joint.items() if name in JOINT or name.startswith("map/")}
        return metrics | {f"joint_{name}": value for name, value in named.items()}

    def _matched(self, prediction: AttributePrediction, annotation: AttributeAnnotation) -> tuple[int, int]:
        """How many decisions about values there are on boxes that match a labeled object, and how many are right."""
        boxes, rows = matched_boxes(prediction, annotation)
        values = annotation.values[rows]
        if self.labels.multilabel:
            right = (prediction.probabilities[boxes] >= CLASS_THRESHOLD) == (values > 0)
        else:
            right = prediction.class_ids[boxes] == values
        return right.size, int(right.sum())

    def _joint_prediction(self, prediction: AttributePrediction) -> DetectPrediction:
        """Each box once for each value."""
        count = self.labels.class_count
        scores = (prediction.box_scores[:, None] * prediction.probabilities).reshape(-1)
        ids = (prediction.box_class_ids[:, None] * count + np.arange(count)).reshape(-1)
        boxes = np.repeat(prediction.boxes, count, axis=0)
        return DetectPrediction(boxes, scores.astype(np.float32), ids, DetectLabels(self.labels.joint_classes()))

    def _joint_annotation(self, annotation: AttributeAnnotation) -> DetectAnnotation:
        """Each object once for each of its values; one without a value, and a crowd, is to be ignored for every value."""
        count, objects = self.labels.class_count, annotation.objects
        known, values = annotation.known, annotation.values
        has: np.ndarray = values > 0 if values.ndim > 1 else values[:, None] == np.arange(count)
        rows, ids = np.nonzero(np.where(known[:, None], has, True))
        return DetectAnnotation(objects.boxes[rows], objects.labels[rows] * count + ids, ~known[rows])
