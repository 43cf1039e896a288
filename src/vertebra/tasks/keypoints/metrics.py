"""Metrics of the keypoints task: COCO's average precision by object keypoint similarity, PCK, and distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.distances import Length, distance_metrics, lengths_of
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.oks_ap import KEYS, average_precision
from vertebra.tasks.keypoints.rows import GroundTruthRows, PredictedRows
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.metric import TaskMetric, each, gathered

SHARE = 0.05


def build_metric(labels: KeypointLabels) -> TaskMetric:
    """The metric of points."""
    return PointMetric(labels)


class PointMetric(TaskMetric):
    """Metrics of keypoints.

    ``oks_map`` (and ``_50``, ``_75``, ``_medium``, ``_large``, ``oks_mar``): COCO's average precision and recall by object
    keypoint similarity, as pycocotools computes them (at most 20 objects an image); ``oks_map/NAME`` of each class.

    ``pck``: the share of labeled points whose prediction is within a share of a length (Yang and Ramanan, Articulated Human
    Detection with Flexible Mixtures of Parts, TPAMI 2013); ``nme``: the mean distance in such lengths; ``error``: the mean
    distance in pixels of the image. The length is the longer side of the object's box. Each also by point, ``pck/NAME``. For
    these, predicted objects are matched one to one, best scores first, to the nearest annotated object of their class; points
    of unmatched annotated objects count as wrong in ``pck``, and are left out of the distances.

    Crowds, and objects without a labeled point, are ignored, and predictions there are not counted as errors.

    The objects of all images are stored as flat rows, so processes with different numbers of images can be gathered.

    Args:
        labels: the points and classes.
        share: maximum distance of a correct point in ``pck``, as a share of the length.
        length: "box", or "image" for the longer side of the image.
    """

    lower_is_better = frozenset({"nme", "error"})
    meanings: ClassVar[Mapping[str, str]] = {
        "oks_map": "COCO's average precision: predicted objects count by the similarity of their points to the annotated ones",
        "oks_map_50": "average precision where an object counts from a similarity of 0.50: its points are roughly right",
        "oks_map_75": "average precision where an object counts from a similarity of 0.75: its points are accurate",
        "oks_mar": "mean recall of objects by the similarity of their points",
        "oks_map_medium": "average precision of objects from 32x32 to 96x96 pixels",
        "oks_map_large": "average precision of objects above 96x96 pixels",
        "pck": f"share of the points that are within {SHARE:.0%} of the longer side of the object's box",
        "nme": "mean distance of the points, as a share of the longer side of the object's box",
        "error": "mean distance of the points in pixels of the image",
    }
    predicted: list[Tensor]
    true: list[Tensor]
    counts: list[Tensor]

    def __init__(self, labels: KeypointLabels, *, share: float = SHARE, length: Length = "box") -> None:
        super().__init__(labels)
        self.points = labels.points
        self.sigmas = labels.oks_sigmas
        self.share, self.length = share, length
        self.add_state("predicted", [], dist_reduce_fx="cat")  # (., PredictedRows.width) float32
        self.add_state("true", [], dist_reduce_fx="cat")  # (., GroundTruthRows.width) float32
        self.add_state(
            "counts", [], dist_reduce_fx="cat"
        )  # (images, 2) int64: rows of each image in predicted and true
        self.reset()

    def update(self, predictions: Sequence[KeypointPrediction], ground_truths: Sequence[KeypointAnnotation]) -> None:
        """Add the predictions of some images and their annotations, in the same order."""
        predicted = [PredictedRows.pack(each) for each in predictions]
        true = [GroundTruthRows.pack(each, lengths_of(each, self.length)) for each in ground_truths]
        counts = [[len(p), len(t)] for p, t in zip(predicted, true, strict=True)]
        self.predicted.append(self._state(predicted, PredictedRows.width(len(self.points))))
        self.true.append(self._state(true, GroundTruthRows.width(len(self.points))))
        self.counts.append(torch.tensor(counts, dtype=torch.int64, device=self.device).reshape(-1, 2))

    def _state(self, rows: Sequence[np.ndarray], width: int) -> Tensor:
        return torch.from_numpy(np.concatenate([*rows, np.zeros((0, width), dtype=np.float32)])).to(self.device)

    def names(self) -> list[str]:
        """All metrics by name."""
        distances = [name for key in ("pck", "nme", "error") for name in (key, *each(key, self.points))]
        return [*KEYS, *each("oks_map", self.classes), *distances]

    def compute(self) -> dict[str, float]:
        """The metrics over all images added so far; metrics without ground-truth objects are left out."""
        predicted_counts, true_counts = gathered(self.counts).unbind(1)
        count = len(self.points)
        predicted = [
            PredictedRows.unpack(rows.numpy(), count)
            for rows in torch.split(gathered(self.predicted), predicted_counts.tolist())
        ]
        true = [
            GroundTruthRows.unpack(rows.numpy(), count)
            for rows in torch.split(gathered(self.true), true_counts.tolist())
        ]
        if not true:
            return {}
        metrics = average_precision(predicted, true, self.classes, self.sigmas)
        return metrics | distance_metrics(predicted, true, self.points, self.share)
