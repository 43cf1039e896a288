"""Metrics of the classify task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from vertebra.errors import DataError
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.metric import TaskMetric, each, gathered, named


def build_metric(labels: ClassifyLabels) -> TaskMetric:
    """The metric for exclusive or for overlapping classes."""
    return ExclusiveMetric(labels) if not labels.multilabel else MultiLabelMetric(labels)


class ExclusiveMetric(TaskMetric):
    """Metrics for exclusive classes.

    ``accuracy`` (the most probable class is correct), ``top_5`` (the correct class is among the five most probable; only for
    more than five classes), ``f1`` (mean over the classes that occur in annotations or predictions), and ``class/NAME``, the
    accuracy on the images of each class.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "accuracy": "share of the images whose most probable class is correct",
        "top_5": "share of the images whose class is among the five most probable ones",
        "f1": "mean F1 of the classes (harmonic mean of precision and recall); each class counts the same",
        "class": "accuracy on the images of each class",
    }

    right: Tensor
    predicted: Tensor
    true: Tensor
    in_top: Tensor

    def __init__(self, labels: ClassifyLabels) -> None:
        super().__init__(labels)
        for name in ("right", "predicted", "true"):
            self.add_state(name, torch.zeros(labels.class_count, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("in_top", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.reset()

    def update(self, predictions: Sequence[ClassifyPrediction], ground_truths: Sequence[ClassifyAnnotation]) -> None:
        """Add the predictions of some images and their annotations, in the same order.

        Raises:
            DataError: a label is not a class id.
        """
        if not predictions:
            return
        count = len(self.classes)
        ground_truth = np.asarray([int(annotation.label) for annotation in ground_truths], dtype=np.int64)
        wrong = ground_truth[(ground_truth < 0) | (ground_truth >= count)]
        if len(wrong):
            raise DataError(f"label {wrong[0]} is not a class id: there are {count} classes")
        probabilities = np.stack([prediction.probabilities for prediction in predictions])
        ranking = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        answer = ranking[:, 0]
        self.right += self._tally(ground_truth[answer == ground_truth])
        self.predicted += self._tally(answer)
        self.true += self._tally(ground_truth)
        self.in_top += int((ranking == ground_truth[:, None]).sum())

    def _tally(self, ids: np.ndarray) -> Tensor:
        return torch.from_numpy(np.bincount(ids, minlength=len(self.classes))).to(self.device)

    def names(self) -> list[str]:
        """All metrics by name."""
        top = ["top_5"] if len(self.classes) > 5 else []
        return ["accuracy", *top, "f1", *each("class", self.classes)]

    def compute(self) -> dict[str, float]:
        """The metrics over all images added so far; empty without images."""
        right, predicted, true = (tally.cpu().double() for tally in (self.right, self.predicted, self.true))
        images = true.sum().item()
        if not images:
            return {}
        occurs = predicted + true > 0
        metrics = {"accuracy": right.sum().item() / images}
        if len(self.classes) > 5:
            metrics["top_5"] = self.in_top.item() / images
        metrics["f1"] = (2 * right / (predicted + true))[occurs].mean().item()
        return metrics | named("class", self.classes, (right / true).tolist(), (true > 0).tolist())


class MultiLabelMetric(TaskMetric):
    """Metrics for multi-label classification.

    ``f1`` at a threshold of 0.5 (mean over the classes that occur in annotations or predictions), ``map`` (mean area under the
    precision-recall curve over the classes that occur), ``accuracy`` (the share of correct decisions over all classes, high
    where most classes are absent), and ``f1/NAME`` and ``map/NAME`` of each class. What an image's
    label does not say does not count.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "accuracy": "share of correct decisions over all images and classes; high where most classes are absent",
        "f1": "mean F1 of the classes at a threshold of 0.5 (harmonic mean of precision and recall)",
        "map": "mean average precision: the area under the precision-recall curve, over the classes",
    }

    scores: list[Tensor]
    ground_truths: list[Tensor]
    known: list[Tensor]

    def __init__(self, labels: ClassifyLabels) -> None:
        super().__init__(labels)
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("ground_truths", [], dist_reduce_fx="cat")
        self.add_state("known", [], dist_reduce_fx="cat")
        self.reset()

    def update(self, predictions: Sequence[ClassifyPrediction], ground_truths: Sequence[ClassifyAnnotation]) -> None:
        """Add the predictions of some images and their annotations, in the same order.

        Raises:
            DataError: a label is not (K,) of 0 and 1.
        """
        count = len(self.classes)
        for annotation in ground_truths:
            label = np.asarray(annotation.label)
            if label.shape != (count,) or not np.isin(label, (0, 1)).all():
                raise DataError(f"a multi-label annotation must be ({count},) of 0 and 1, got {label!r}")
        whole = np.ones(count)
        for state, rows in (
            (self.scores, [prediction.probabilities for prediction in predictions]),
            (self.ground_truths, [annotation.label for annotation in ground_truths]),
            (self.known, [whole if one.known is None else one.known for one in ground_truths]),
        ):
            values = np.asarray(rows, dtype=np.float32).reshape(-1, count)
            state.append(torch.from_numpy(values).to(self.device))

    def names(self) -> list[str]:
        """All metrics by name."""
        return ["accuracy", "f1", "map", *each("f1", self.classes), *each("map", self.classes)]

    def compute(self) -> dict[str, float]:
        """The metrics over all images added so far; empty without images."""
        scores, ground_truth = gathered(self.scores), gathered(self.ground_truths).long()
        if not len(scores):
            return {}
        known = gathered(self.known) > 0
        answer = ((scores >= 0.5) & known).long()
        right, predicted, true = (answer * ground_truth).sum(0).double(), answer.sum(0), ground_truth.sum(0)
        f1, occurs = 2 * right / (predicted + true), predicted + true > 0
        precision = torch.zeros(len(self.classes), dtype=torch.float64)
        for k in true.nonzero().flatten().tolist():
            rows = known[:, k]
            precision[k] = binary_average_precision(scores[rows, k], ground_truth[rows, k])
        metrics = {}
        if known.any():
            metrics["accuracy"] = (answer == ground_truth)[known].double().mean().item()
        if occurs.any():
            metrics["f1"] = f1[occurs].mean().item()
        if true.any():
            metrics["map"] = precision[true > 0].mean().item()
        metrics |= named("f1", self.classes, f1.tolist(), occurs.tolist())
        return metrics | named("map", self.classes, precision.tolist(), (true > 0).tolist())
