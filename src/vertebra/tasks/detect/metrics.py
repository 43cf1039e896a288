"""Metrics of the detect task: COCO's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vertebra.annotations.scope import packed, unpacked
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.detect.coco_ap import KEYS, average_precision
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.metric import TaskMetric, each, gathered


def build_metric(labels: DetectLabels) -> TaskMetric:
    """The metric of boxes."""
    return BoxMetric(labels)


class BoxMetric(TaskMetric):
    """COCO's average precision and recall of boxes, as pycocotools computes them.

    ``map`` (mean over classes and IoU 0.50 to 0.95), ``map_50``, ``map_75``, ``mar_100``, ``map_small`` / ``_medium`` /
    ``_large`` (by the area of the box: below 32 x 32, below 96 x 96, above) and ``map/NAME`` of each class. At most
    the 100 best boxes of an image and class count. Predictions inside a crowd box of the same class are ignored.
    As in LVIS, a class without all annotations in an image has no false positives there: predictions that match count, others do
    not.

    The objects of all images are stored as flat rows, so processes with different numbers of images can be gathered.

    Attributes:
        coordinates: numbers of an object's position.
        precision: computes the metrics from rows, see `vertebra.tasks.detect.coco_ap.average_precision`.
    """

    coordinates: ClassVar[int] = 4
    precision: ClassVar[Callable[..., dict[str, float]]] = staticmethod(average_precision)
    meanings: ClassVar[Mapping[str, str]] = {
        "map": "mean average precision over the classes and over IoU 0.50 to 0.95: boxes are found, of the right class, and tight",
        "map_50": "average precision where a box counts from an IoU of 0.50: found and of the right class, also if loose",
        "map_75": "average precision where a box counts from an IoU of 0.75: tight boxes only",
        "mar_100": "mean recall of at most 100 boxes an image: the share of the objects that some box fits",
        "map_small": "average precision of objects below 32x32 pixels",
        "map_medium": "average precision of objects from 32x32 to 96x96 pixels",
        "map_large": "average precision of objects above 96x96 pixels",
    }

    predicted: list[Tensor]
    true: list[Tensor]
    counts: list[Tensor]
    scopes: list[Tensor]

    def __init__(self, labels: LabelSpec) -> None:
        super().__init__(labels)
        self.add_state("predicted", [], dist_reduce_fx="cat")  # (., 6) float32: position, score, label
        self.add_state("true", [], dist_reduce_fx="cat")  # (., 6) float32: position, crowd, label
        self.add_state(
            "counts", [], dist_reduce_fx="cat"
        )  # (images, 2) int64: rows of each image in predicted and true
        self.add_state("scopes", [], dist_reduce_fx="cat")  # (images, K / 8) uint8: bits of the exhaustive classes
        self.reset()

    def update(self, predictions: Sequence[Any], ground_truths: Sequence[Any]) -> None:
        """Add the predictions of some images and their annotations, in the same order."""
        predicted = [self._rows(prediction, prediction.scores, prediction.class_ids) for prediction in predictions]
        true = [self._rows(annotation, annotation.crowd, annotation.labels) for annotation in ground_truths]
        counts = [[len(p), len(t)] for p, t in zip(predicted, true, strict=True)]
        none = np.zeros((0, self.coordinates + 2), dtype=np.float32)
        self.predicted.append(torch.from_numpy(np.concatenate([*predicted, none])).to(self.device))
        self.true.append(torch.from_numpy(np.concatenate([*true, none])).to(self.device))
        bits = packed([each.exhaustive for each in ground_truths], len(self.classes))
        self.scopes.append(torch.from_numpy(bits).to(self.device))
        self.counts.append(torch.tensor(counts, dtype=torch.int64, device=self.device).reshape(-1, 2))

    def positions(self, objects: Any) -> np.ndarray:
        """(M, ``coordinates``) the positions of the objects of a prediction or an annotation."""
        boxes: np.ndarray = objects.boxes.reshape(-1, 4)
        return boxes

    def _rows(self, objects: Any, value: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Positions, a value (M,) and labels (M,) as rows (M, ``coordinates`` + 2) float32."""
        columns = [self.positions(objects), value[:, None], labels[:, None]]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def names(self) -> list[str]:
        """All metrics by name."""
        return [*KEYS, *each("map", self.classes)]

    def compute(self) -> dict[str, float]:
        """The metrics over all images added so far; metrics without ground-truth objects are left out."""
        counts = gathered(self.counts).numpy()
        if not len(counts):
            return {}
        exhaustive = unpacked(gathered(self.scopes).numpy(), len(self.classes))
        rows = gathered(self.predicted).numpy(), gathered(self.true).numpy()
        return self.precision(*rows, counts, self.classes, exhaustive)
