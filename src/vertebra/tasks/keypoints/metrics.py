"""Metrics of the keypoints task: COCO's average precision by object keypoint similarity, PCK, and distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.distances import Length, distance_metrics, lengths_of
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.oks_ap import KEYS, average_precision
from vertebra.tasks.keypoints.rows import FoundRows, TrueRows
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.metric import TaskMetric, each, gathered

SHARE = 0.05


def build_metric(labels: KeypointLabels) -> TaskMetric:
    """The metric of points."""
    return PointMetric(labels)


class PointMetric(TaskMetric):
    """How well points are found.

    ``oks_map`` (and ``_50``, ``_75``, ``_medium``, ``_large``, ``oks_mar``): COCO's average precision and recall by object
    keypoint similarity, as pycocotools computes them (at most 20 objects an image); ``oks_map/NAME`` of each class.

    ``pck``: the share of all labeled points that lie within a share of a length of the truth (Yang and Ramanan,
    Articulated Human Detection with Flexible Mixtures of Parts, TPAMI 2013); ``nme``: the mean distance in such lengths;
    ``error``: the mean distance in pixels of the image. The length is the longer side of the object's box. Each also by
    point, ``pck/NAME``. For these each true object is compared with the found one of its class that lies nearest, best scores
    first, each found one only once; points of an object that was not found at all count as wrong in ``pck``, and not
    at all in the distances.

    Crowds, and objects without a labeled point, are not to be found, and what is found there is no mistake.

    Images are held as flat rows, so that processes with different numbers of images can be gathered.

    Args:
        labels: the points and classes.
        share: of the length, within which ``pck`` counts a point as right.
        length: "box", or "image" for the longer side of the image.
    """

    lower_is_better = frozenset({"nme", "error"})
    predicted: list[Tensor]
    true: list[Tensor]
    counts: list[Tensor]

    def __init__(self, labels: KeypointLabels, *, share: float = SHARE, length: Length = "box") -> None:
        super().__init__(labels)
        self.points = labels.points
        self.sigmas = labels.oks_sigmas
        self.share, self.length = share, length
        self.add_state("predicted", [], dist_reduce_fx="cat")  # (., FoundRows.width) float32
        self.add_state("true", [], dist_reduce_fx="cat")  # (., TrueRows.width) float32
        self.add_state("counts", [], dist_reduce_fx="cat")  # (images, 2) int64: rows of each image in found and true
        self.reset()

    def update(self, predictions: Sequence[KeypointPrediction], ground_truths: Sequence[KeypointAnnotation]) -> None:
        """Add the predictions of some images and their annotations, in the same order."""
        predicted = [FoundRows.pack(each) for each in predictions]
        true = [TrueRows.pack(each, lengths_of(each, self.length)) for each in ground_truths]
        counts = [[len(f), len(t)] for f, t in zip(predicted, true, strict=True)]
        self.predicted.append(self._state(predicted, FoundRows.width(len(self.points))))
        self.true.append(self._state(true, TrueRows.width(len(self.points))))
        self.counts.append(torch.tensor(counts, dtype=torch.int64, device=self.device).reshape(-1, 2))

    def _state(self, rows: Sequence[np.ndarray], width: int) -> Tensor:
        return torch.from_numpy(np.concatenate([*rows, np.zeros((0, width), dtype=np.float32)])).to(self.device)

    def names(self) -> list[str]:
        """All metrics by name."""
        distances = [name for key in ("pck", "nme", "error") for name in (key, *each(key, self.points))]
        return [*KEYS, *each("oks_map", self.classes), *distances]

    def compute(self) -> dict[str, float]:
        """The metrics of all that was added; those without any object to find are left out."""
        found_counts, true_counts = gathered(self.counts).unbind(1)
        count = len(self.points)
        predicted = [
            FoundRows.unpack(rows.numpy(), count)
            for rows in torch.split(gathered(self.predicted), found_counts.tolist())
        ]
        true = [TrueRows.unpack(rows.numpy(), count) for rows in torch.split(gathered(self.true), true_counts.tolist())]
        if not true:
            return {}
        metrics = average_precision(predicted, true, self.classes, self.sigmas)
        return metrics | distance_metrics(predicted, true, self.points, self.share)
