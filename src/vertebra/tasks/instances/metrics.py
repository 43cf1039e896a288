"""Metrics of the instances task: COCO's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vertebra.annotations.run_lengths import Region, compress
from vertebra.annotations.scope import packed, unpacked
from vertebra.tasks.detect.coco_ap import KEYS
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.mask_ap import MaskRows, average_precision
from vertebra.tasks.instances.types import InstancePrediction
from vertebra.tasks.metric import TaskMetric, each, gathered


def build_metric(labels: InstanceLabels) -> TaskMetric:
    """The metric of masks."""
    return MaskMetric(labels)


class MaskMetric(TaskMetric):
    """COCO's average precision and recall of masks, as pycocotools computes them.

    ``map`` (mean over classes and IoU 0.50 to 0.95), ``map_50``, ``map_75``, ``mar_100``, ``map_small`` / ``_medium`` /
    ``_large`` (by the pixels of the mask: below 32 x 32, below 96 x 96, above) and ``map/NAME`` of each class. At most the 100
    best objects of an image and class count. Predictions inside a crowd of the same class are ignored. A class without all
    annotations in an image has no false positives there, as in `vertebra.tasks.detect.metrics.BoxMetric`.

    ``boundary_map``: the same mean by the smaller of the IoU of masks and of their boundaries, which are 2 % of the image's
    diagonal wide (Cheng et al., Boundary IoU, CVPR 2021, arXiv 2103.16562); only where no image has more than 4 million pixels.

    Masks are stored as compressed run lengths in flat rows, so processes with different numbers of images can be gathered.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "map": "mean average precision over the classes and over IoU 0.50 to 0.95 of the masks: objects are found, of the right "
        "class, and accurately outlined",
        "map_50": "average precision where a mask counts from an IoU of 0.50: found, of the right class, also if rough",
        "map_75": "average precision where a mask counts from an IoU of 0.75: accurate masks only",
        "mar_100": "mean recall of at most 100 masks an image: the share of the objects that some mask fits",
        "map_small": "average precision of objects below 32x32 pixels",
        "map_medium": "average precision of objects from 32x32 to 96x96 pixels",
        "map_large": "average precision of objects above 96x96 pixels",
        "boundary_map": "mean average precision by the overlap of the boundaries, which large objects with rough outlines fail",
    }

    predicted: list[Tensor]
    predicted_letters: list[Tensor]
    true: list[Tensor]
    true_letters: list[Tensor]
    images: list[Tensor]
    scopes: list[Tensor]

    def __init__(self, labels: InstanceLabels) -> None:
        super().__init__(labels)
        for side in ("predicted", "true"):
            self.add_state(side, [], dist_reduce_fx="cat")  # (., 4) float64: score or crowd, label, pixels, letters
            self.add_state(f"{side}_letters", [], dist_reduce_fx="cat")  # (.,) uint8: compressed run lengths
        self.add_state(
            "images", [], dist_reduce_fx="cat"
        )  # (images, 4) int64: height, width, rows of each image in predicted and true
        self.add_state("scopes", [], dist_reduce_fx="cat")  # (images, K / 8) uint8: bits of the exhaustive classes
        self.reset()

    def update(self, predictions: Sequence[InstancePrediction], ground_truths: Sequence[InstanceAnnotation]) -> None:
        """Add the predictions of some images and their annotations, in the same order."""
        predicted = [_rows(each.rles.tolist(), each.scores, each.class_ids) for each in predictions]
        true = [_rows(each.rles, each.crowd, each.labels) for each in ground_truths]
        for side, rows in (("predicted", predicted), ("true", true)):
            getattr(self, side).append(self._state([values for values, _ in rows], _NO_ROWS))
            getattr(self, f"{side}_letters").append(self._state([letters for _, letters in rows], _NO_LETTERS))
        images = [
            [*annotation.size, len(p), len(t)]
            for annotation, (p, _), (t, _) in zip(ground_truths, predicted, true, strict=True)
        ]
        bits = packed([each.exhaustive for each in ground_truths], len(self.classes))
        self.scopes.append(torch.from_numpy(bits).to(self.device))
        self.images.append(torch.tensor(images, dtype=torch.int64, device=self.device).reshape(-1, 4))

    def _state(self, rows: Sequence[np.ndarray], none: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate([*rows, none])).to(self.device)

    def names(self) -> list[str]:
        """All metrics by name."""
        return [*KEYS, "boundary_map", *each("map", self.classes)]

    def compute(self) -> dict[str, float]:
        """The metrics over all images added so far; metrics without ground-truth objects are left out."""
        images = gathered(self.images).numpy()
        if not len(images):
            return {}
        predicted, true = (
            MaskRows(rows[:, :3], gathered(letters).numpy(), rows[:, 3].astype(np.int64), images[:, column])
            for rows, letters, column in (
                (gathered(self.predicted).numpy(), self.predicted_letters, 2),
                (gathered(self.true).numpy(), self.true_letters, 3),
            )
        )
        exhaustive = unpacked(gathered(self.scopes).numpy(), len(self.classes))
        return average_precision(predicted, true, images[:, :2], self.classes, exhaustive)


_NO_ROWS = np.zeros((0, 4), dtype=np.float64)
_NO_LETTERS = np.zeros(0, dtype=np.uint8)


def _rows(rles: Sequence[Region], values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks, a value (M,) and labels (M,) as rows (M, 4), and the letters of the masks."""
    texts = [np.frombuffer(compress(region.runs).encode("ascii"), dtype=np.uint8) for region in rles]
    pixels = np.array([region.area for region in rles], dtype=np.float64)
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    return np.stack([values, labels, pixels, lengths], axis=1).astype(np.float64), np.concatenate([*texts, _NO_LETTERS])
