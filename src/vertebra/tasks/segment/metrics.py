"""Metrics of the segment task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vertebra.errors import DataError
from vertebra.tasks.metric import TaskMetric, each, named
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.types import SegmentPrediction


def build_metric(labels: SegmentLabels) -> TaskMetric:
    """The metric for exclusive or for overlapping classes."""
    return ExclusiveMetric(labels) if not labels.multilabel else OverlappingMetric(labels)


MEANINGS = {
    "mean_iou": "intersection over union of predicted and true pixels, mean over the classes; each class counts the same",
    "mean_dice": "twice the common pixels over the sum of both masks, mean over the classes",
    "pixel_accuracy": "share of correct pixels; large classes dominate it",
    "iou": "intersection over union of each class",
}


class ExclusiveMetric(TaskMetric):
    """Metrics for exclusive classes.

    ``mean_iou`` and ``mean_dice`` (over the classes that occur in annotations or predictions), ``pixel_accuracy``, and
    ``iou/NAME`` of each class that occurs. All pixels of all images are counted together; ignored pixels are left out. In an image
    with a label scope only its classes count; a pixel of none of them is right if none of them is predicted.
    """

    meanings: ClassVar[Mapping[str, str]] = MEANINGS

    confusion: Tensor
    partial: Tensor
    partial_pixels: Tensor

    def __init__(self, labels: SegmentLabels) -> None:
        super().__init__(labels)
        self.ignore_index = labels.ignore_index
        count = labels.class_count
        self.unannotated = labels.unannotated
        self.add_state("confusion", torch.zeros(count, count, dtype=torch.int64), dist_reduce_fx="sum")
        # of images in which not all classes are annotated: right, true and predicted pixels; right and counted ones
        self.add_state("partial", torch.zeros(3, count, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("partial_pixels", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")
        self.reset()

    def update(self, predictions: Sequence[SegmentPrediction], ground_truths: Sequence[SegmentAnnotation]) -> None:
        """Add the predictions of some images and their annotations, in the same order.

        Raises:
            DataError: a mask has another size than the prediction, or a value without a class.
        """
        count = len(self.classes)
        for prediction, annotation in zip(predictions, ground_truths, strict=True):
            ground_truth = np.asarray(annotation.mask)
            _check_size(prediction, ground_truth)
            counted = ground_truth != self.ignore_index
            true, answer = ground_truth[counted].astype(np.int64), prediction.mask[counted].astype(np.int64)
            if annotation.exhaustive is not None:
                self._add_partial(true, answer, annotation.exhaustive)
                continue
            if true.size and (true.min() < 0 or true.max() >= count):
                wrong = true[(true < 0) | (true >= count)][0]
                raise DataError(
                    f"the mask has the value {wrong}: there are {count} classes; ignore: {self.ignore_index}"
                )
            pairs = np.bincount(true * count + answer, minlength=count * count).reshape(count, count)
            self.confusion += torch.from_numpy(pairs).to(self.device)

    def _add_partial(self, true: np.ndarray, answer: np.ndarray, exhaustive: np.ndarray) -> None:
        """Adds the counted pixels (P,) of an image in which only the ``exhaustive`` (K,) classes are annotated."""
        count = len(self.classes)
        answer = np.where(exhaustive[answer], answer, self.unannotated)
        right = true == answer
        tallies = [np.bincount(ids, minlength=count)[:count] for ids in (true[right], true, answer)]
        self.partial += torch.from_numpy(np.stack(tallies)).to(self.device)
        self.partial_pixels += torch.tensor([int(right.sum()), len(true)], device=self.device)

    def names(self) -> list[str]:
        """All metrics by name."""
        return ["mean_iou", "mean_dice", "pixel_accuracy", *each("iou", self.classes)]

    def compute(self) -> dict[str, float]:
        """The metrics over all images added so far; empty without counted pixels."""
        confusion, partial = self.confusion.cpu().double(), self.partial.cpu().double()
        right, true, predicted = partial + torch.stack([confusion.diag(), confusion.sum(1), confusion.sum(0)])
        agreed, counted = self.partial_pixels.cpu().double() + torch.stack([confusion.trace(), confusion.sum()])
        return _overlap_metrics(self.classes, right, true, predicted, agreed, counted)


class OverlappingMetric(TaskMetric):
    """Metrics for overlapping classes, each with its own mask.

    The same names as for exclusive classes; ``pixel_accuracy`` is the share of correct decisions over all pixels and classes.
    """

    meanings: ClassVar[Mapping[str, str]] = MEANINGS

    right: Tensor
    true: Tensor
    predicted: Tensor
    agreed: Tensor
    counted: Tensor

    def __init__(self, labels: SegmentLabels) -> None:
        super().__init__(labels)
        self.ignore_index = labels.ignore_index
        for name in ("right", "true", "predicted", "agreed", "counted"):
            self.add_state(name, torch.zeros(labels.class_count, dtype=torch.int64), dist_reduce_fx="sum")
        self.reset()

    def update(self, predictions: Sequence[SegmentPrediction], ground_truths: Sequence[SegmentAnnotation]) -> None:
        """Add the predictions of some images and their annotations, in the same order.

        Raises:
            DataError: a mask has another size than the prediction, or a value that is neither 0, 1 nor ignored.
        """
        for prediction, annotation in zip(predictions, ground_truths, strict=True):
            ground_truth = self._layers(np.asarray(annotation.mask))
            _check_size(prediction, ground_truth)
            counted = ground_truth != self.ignore_index
            if not np.isin(ground_truth[counted], (0, 1)).all():
                raise DataError(f"masks of overlapping classes hold 0, 1 or {self.ignore_index}, got other values")
            true, answer = (ground_truth == 1) & counted, prediction.mask.astype(bool) & counted
            self.right += self._tally(true & answer)
            self.true += self._tally(true)
            self.predicted += self._tally(answer)
            self.agreed += self._tally((true == answer) & counted)
            self.counted += self._tally(counted)

    def _layers(self, mask: np.ndarray) -> np.ndarray:
        """(K, H, W) of 0 and 1; a mask (H, W) of class ids is split by class."""
        if mask.ndim == 3:
            return mask
        layers = mask[None] == np.arange(len(self.classes))[:, None, None]
        return np.where(mask[None] == self.ignore_index, self.ignore_index, layers)

    def _tally(self, layers: np.ndarray) -> Tensor:
        return torch.from_numpy(np.count_nonzero(layers, axis=(1, 2))).to(self.device)

    def names(self) -> list[str]:
        """All metrics by name."""
        return ["mean_iou", "mean_dice", "pixel_accuracy", *each("iou", self.classes)]

    def compute(self) -> dict[str, float]:
        """The metrics over all images added so far; empty without counted pixels."""
        right, true, predicted = (tally.cpu().double() for tally in (self.right, self.true, self.predicted))
        return _overlap_metrics(self.classes, right, true, predicted, self.agreed.sum(), self.counted.sum())


def _overlap_metrics(
    classes: Sequence[str], right: Tensor, true: Tensor, predicted: Tensor, agreed: Tensor, counted: Tensor
) -> dict[str, float]:
    """All metrics from pixel counts: of each class (K,), and of correct pixels among all."""
    if not counted.item():
        return {}
    occurs = true + predicted > 0
    iou, dice = right / (true + predicted - right), 2 * right / (true + predicted)
    metrics = {}
    if occurs.any():
        metrics = {"mean_iou": iou[occurs].mean().item(), "mean_dice": dice[occurs].mean().item()}
    metrics["pixel_accuracy"] = agreed.item() / counted.item()
    return metrics | named("iou", classes, iou.tolist(), occurs.tolist())


def _check_size(prediction: SegmentPrediction, ground_truth: np.ndarray) -> None:
    if prediction.mask.shape != ground_truth.shape:
        raise DataError(f"the prediction's mask is {prediction.mask.shape}, the annotation's {ground_truth.shape}")
