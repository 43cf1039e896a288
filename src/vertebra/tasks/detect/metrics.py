"""Metrics of the detect task: COCO's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.metric import TaskMetric, gathered, named

KEYS = ("map", "map_50", "map_75", "mar_100", "map_small", "map_medium", "map_large")

# In double precision, as COCO has them: torchmetrics' own defaults are rounded to float32, where an IoU of 0.8 is below
# the threshold of 0.8.
_IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10).tolist()
_RECALL_THRESHOLDS = np.linspace(0, 1, 101).tolist()


def build_metric(labels: DetectLabels) -> TaskMetric:
    """The metric of boxes."""
    return BoxMetric(labels)


class BoxMetric(TaskMetric):
    """COCO's average precision and recall of boxes, as pycocotools computes them.

    ``map`` (mean over classes and IoU 0.50 to 0.95), ``map_50``, ``map_75``, ``mar_100``, ``map_small`` / ``_medium`` /
    ``_large`` (by the area of the box: below 32 x 32, below 96 x 96, above) and ``map/NAME`` of each class. At most
    the 100 best boxes of an image and class count. What lies in a crowd box of the same class is no mistake.

    Images are held as flat rows, so that processes with different numbers of images can be gathered.
    """

    found: list[Tensor]
    true: list[Tensor]
    counts: list[Tensor]

    def __init__(self, labels: DetectLabels) -> None:
        super().__init__(labels)
        self.add_state("found", [], dist_reduce_fx="cat")  # (., 6) float32: box, score, label
        self.add_state("true", [], dist_reduce_fx="cat")  # (., 6) float32: box, crowd, label
        self.add_state("counts", [], dist_reduce_fx="cat")  # (images, 2) int64: rows of each image in found and true
        self.reset()

    def update(self, predictions: Sequence[DetectPrediction], truths: Sequence[DetectAnnotation]) -> None:
        """Add the predictions of some images and their annotations, in the same order."""
        found = [_rows(prediction.boxes, prediction.scores, prediction.labels) for prediction in predictions]
        true = [_rows(annotation.boxes, annotation.crowd, annotation.labels) for annotation in truths]
        counts = [[len(f), len(t)] for f, t in zip(found, true, strict=True)]
        self.found.append(torch.from_numpy(np.concatenate([*found, _NO_ROWS])).to(self.device))
        self.true.append(torch.from_numpy(np.concatenate([*true, _NO_ROWS])).to(self.device))
        self.counts.append(torch.tensor(counts, dtype=torch.int64, device=self.device).reshape(-1, 2))

    def compute(self) -> dict[str, float]:
        """The metrics of all that was added; those without any object to find are left out."""
        found_counts, true_counts = gathered(self.counts).unbind(1)
        found = torch.split(gathered(self.found), found_counts.tolist())
        true = torch.split(gathered(self.true), true_counts.tolist())
        if not true:
            return {}
        coco = MeanAveragePrecision(
            iou_thresholds=_IOU_THRESHOLDS,
            rec_thresholds=_RECALL_THRESHOLDS,
            extended_summary=True,
            backend="faster_coco_eval",
            sync_on_compute=False,
        )
        coco.warn_on_many_detections = False
        coco.update(
            [{"boxes": rows[:, :4].double(), "scores": rows[:, 4], "labels": rows[:, 5].long()} for rows in found],
            [
                {"boxes": rows[:, :4].double(), "iscrowd": rows[:, 4].long(), "labels": rows[:, 5].long()}
                for rows in true
            ],
        )
        results = coco.compute()
        metrics = {key: results[key].item() for key in KEYS if results[key].item() >= 0}
        return metrics | self._per_class(results["precision"], results["classes"])

    def _per_class(self, precision: Tensor, class_ids: Tensor) -> dict[str, float]:
        """``map/NAME`` from COCO's precision (IoU, recall, class, area, most boxes), -1 for no object."""
        each = precision[:, :, :, 0, -1].permute(2, 0, 1).flatten(1)
        names = [self.classes[class_id] for class_id in class_ids.reshape(-1).tolist()]
        known = each > -1
        means = each.where(known, 0).sum(1) / known.sum(1)
        return named("map", names, means.tolist(), known.any(1).tolist())


_NO_ROWS = np.zeros((0, 6), dtype=np.float32)


def _rows(boxes: np.ndarray, value: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Boxes (M, 4), a value (M,) and labels (M,) as rows (M, 6) float32."""
    return np.concatenate([boxes.reshape(-1, 4), value[:, None], labels[:, None]], axis=1).astype(np.float32)
