"""Metrics of the keypoints task: COCO's average precision by object keypoint similarity, PCK, and distances."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.metric import TaskMetric, gathered, named

SHARE = 0.05
OKS_KEYS = ("oks_map", "oks_map_50", "oks_map_75", "oks_map_medium", "oks_map_large", "oks_mar")


def build_metric(labels: KeypointLabels) -> TaskMetric:
    """The metric of points."""
    return PointMetric(labels)


class PointMetric(TaskMetric):
    """How well points are found.

    ``oks_map`` (and ``_50``, ``_75``, ``_medium``, ``_large``, ``oks_mar``): COCO's average precision and recall by object
    keypoint similarity, as pycocotools computes them (at most 20 objects an image).

    ``pck``: the share of all labelled points that lie within ``SHARE`` of the object's length of the truth (Yang and Ramanan,
    TPAMI 2013); ``nme``: the mean distance in object lengths; ``error``: the mean distance in pixels of the image. The
    object's length is the greatest distance between two of its labelled points, or the longer side of its box if that is
    0. Each also by point, ``pck/NAME`` and ``error/NAME``. For these each true object is compared with the found one of its class
    that lies nearest, best scores first, each found one only once; points of an object that was not found at all
    count as wrong in ``pck``, and not at all in the distances.

    Images are held as flat rows, so that processes with different numbers of images can be gathered.
    """

    found: list[Tensor]
    true: list[Tensor]
    counts: list[Tensor]

    def __init__(self, labels: KeypointLabels) -> None:
        super().__init__(labels)
        self.points = labels.points
        self.sigmas = np.array(labels.falloffs)
        self.add_state("found", [], dist_reduce_fx="cat")  # (., 2 + 2K) float64: score, label, points
        self.add_state("true", [], dist_reduce_fx="cat")  # (., 7 + 3K) float64: crowd, label, area, box, points
        self.add_state("counts", [], dist_reduce_fx="cat")  # (images, 2) int64: rows of each image in found and true
        self.reset()

    def update(self, predictions: Sequence[KeypointPrediction], truths: Sequence[KeypointAnnotation]) -> None:
        """Add the predictions of some images and their annotations, in the same order."""
        count = len(self.points)
        found = [_columns(each.scores, each.labels, each.points.reshape(-1, 2 * count)) for each in predictions]
        true = [
            _columns(each.crowd, each.labels, each.areas, each.boxes, each.points.reshape(-1, 3 * count))
            for each in truths
        ]
        counts = [[len(f), len(t)] for f, t in zip(found, true, strict=True)]
        self.found.append(self._state(np.concatenate([*found, np.zeros((0, 2 + 2 * count))])))
        self.true.append(self._state(np.concatenate([*true, np.zeros((0, 7 + 3 * count))])))
        self.counts.append(torch.tensor(counts, dtype=torch.int64, device=self.device).reshape(-1, 2))

    def _state(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(self.device)

    def compute(self) -> dict[str, float]:
        """The metrics of all that was added; those without any object to find are left out."""
        found_counts, true_counts = gathered(self.counts).unbind(1)
        found = [rows.numpy() for rows in torch.split(gathered(self.found), found_counts.tolist())]
        true = [rows.numpy() for rows in torch.split(gathered(self.true), true_counts.tolist())]
        if not sum(map(len, true)):
            return {}
        return {**self._oks(found, true), **self._distances(found, true)}

    def _oks(self, found: list[np.ndarray], true: list[np.ndarray]) -> dict[str, float]:
        from faster_coco_eval import COCO, COCOeval_faster

        truth, results = self._coco(found, true)
        if not results:
            return {"oks_map": 0.0, "oks_map_50": 0.0, "oks_map_75": 0.0, "oks_mar": 0.0}
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(truth)
            evaluation = COCOeval_faster(coco, coco.loadRes(results), "keypoints", kpt_oks_sigmas=self.sigmas)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        values = [evaluation.stats[place] for place in (0, 1, 2, 3, 4, 5)]
        return {key: float(value) for key, value in zip(OKS_KEYS, values, strict=True) if value >= 0}

    def _coco(self, found: list[np.ndarray], true: list[np.ndarray]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Truth and results as COCO files have them."""
        annotations: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        for image, (own, real) in enumerate(zip(found, true, strict=True), start=1):
            for row in real:
                points = row[7:]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": int(row[1]) + 1,
                        "iscrowd": int(row[0]),
                        "area": float(row[2]),
                        "bbox": [*row[3:5].tolist(), *(row[5:7] - row[3:5]).tolist()],
                        "keypoints": points.tolist(),
                        "num_keypoints": int((points[2::3] > 0).sum()),
                    }
                )
            for row in own:
                with_scores = np.concatenate([row[2:].reshape(-1, 2), np.ones((len(self.points), 1))], axis=1)
                results.append(
                    {
                        "image_id": image,
                        "category_id": int(row[1]) + 1,
                        "score": float(row[0]),
                        "keypoints": with_scores.reshape(-1).tolist(),
                    }
                )
        truth = {
            "images": [{"id": number, "height": 1, "width": 1} for number in range(1, len(true) + 1)],
            "categories": [{"id": number, "name": name} for number, name in enumerate(self.classes, start=1)],
            "annotations": annotations,
        }
        return truth, results

    def _distances(self, found: list[np.ndarray], true: list[np.ndarray]) -> dict[str, float]:
        pieces = [self._compare(own, real) for own, real in zip(found, true, strict=True)]
        distance, known, length = (np.concatenate(part) for part in zip(*pieces, strict=True))
        measured = known & np.isfinite(distance)
        right = known & (distance <= SHARE * length[:, None])
        if not known.any():
            return {}
        metrics = {"pck": right.sum() / known.sum()}
        if measured.any():
            with np.errstate(invalid="ignore"):
                share = distance / length[:, None]
            metrics["nme"] = share[measured].mean()
            metrics["error"] = distance[measured].mean()
        counts = known.sum(axis=0)
        metrics |= named("pck", self.points, right.sum(axis=0) / np.maximum(counts, 1), counts > 0)
        sums = np.where(measured, distance, 0).sum(axis=0)
        seen = measured.sum(axis=0)
        metrics |= named("error", self.points, sums / np.maximum(seen, 1), seen > 0)
        return {name: float(value) for name, value in metrics.items()}

    def _compare(self, found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of one image's true objects: the distance (M, K) of each point, infinite if the object was not found; which points are
        labelled (M, K); and the objects' lengths (M,)."""
        points = true[:, 7:].reshape(len(true), len(self.points), 3)
        counted = (true[:, 0] == 0) & (points[..., 2] > 0).any(axis=1)
        true, points = true[counted], points[counted]
        known = points[..., 2] > 0
        distance = np.full(known.shape, np.inf)
        placed = found[:, 2:].reshape(len(found), 1, len(self.points), 2)
        apart = np.linalg.norm(placed - points[None, ..., :2], axis=-1)
        mean = (apart * known).sum(axis=-1) / known.sum(axis=-1)
        mean[found[:, 1][:, None] != true[:, 1][None]] = np.inf
        for row in np.argsort(-found[:, 0], kind="stable"):
            if len(true) and np.isfinite(mean[row].min()):
                nearest = int(mean[row].argmin())
                distance[nearest] = apart[row, nearest]
                mean[:, nearest] = np.inf
        return distance, known, object_lengths(points, true[:, 3:7])


def object_lengths(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How long objects are: the greatest distance between two labelled points, else the longer side of the box.

    Args:
        points: (M, K, 3) x, y, visibility.
        boxes: (M, 4) xyxy.

    Returns:
        (M,) in pixels.
    """
    known = points[..., 2] > 0
    apart = np.linalg.norm(points[:, :, None, :2] - points[:, None, :, :2], axis=-1)
    longest = (apart * (known[:, :, None] & known[:, None])).max(axis=(1, 2), initial=0)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    lengths: np.ndarray = np.where(longest > 0, longest, sides)
    return lengths


def _columns(*parts: np.ndarray) -> np.ndarray:
    """Columns (M,) or (M, C) side by side, float64."""
    wide = [part if part.ndim == 2 else part[:, None] for part in parts]
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in wide], axis=1)
