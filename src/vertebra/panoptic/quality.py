"""Panoptic quality: PQ, SQ and RQ (numpy only).

Kirillov et al., Panoptic Segmentation, CVPR 2019, arXiv:1801.00868, as COCO evaluates it (panopticapi). A predicted and a true
segment of one class match if their IoU is above 0.5, which no other pair of them then reaches. Pixels without a true segment
(void) do not count in a union. A predicted segment of which more than half is void, or a crowd of its class, is no error where it
matches nothing. Crowds match nothing, and are not missed. PQ of a class is the sum of the IoUs of its matches over TP + FP / 2 +
FN / 2; SQ is their mean IoU, RQ is F1. The numbers of several classes are means over those that occur.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vertebra.panoptic.labels import PanopticLabels

MATCH_IOU = 0.5
IOU, TP, FP, FN = range(4)  # columns of counts


class Segments(NamedTuple):
    """The segments of an image.

    Attributes:
        numbers: (H, W) integers, the segment of each pixel from 1, 0 for none (void).
        class_ids: (M,) of segments 1 to M.
        crowd: (M,) bool, those that mark a crowd; True for predicted ones is not allowed.
    """

    numbers: np.ndarray
    class_ids: np.ndarray
    crowd: np.ndarray


def compare(predicted: Segments, actual: Segments, class_count: int) -> np.ndarray:
    """What one image adds to the counts.

    Args:
        predicted: segments with a pixel or more.
        actual: of the same size. Of several crowds of a class the last one counts, as in panopticapi.
        class_count: number of classes K.

    Returns:
        (K, 4) float64: the sum of the IoUs of matches, and the numbers of matches, of false and of missed segments.
    """
    count, actual_count = len(predicted.class_ids), len(actual.class_ids)
    pairs = actual.numbers.reshape(-1).astype(np.int64) * (count + 1) + predicted.numbers.reshape(-1)
    table = np.bincount(pairs, minlength=(actual_count + 1) * (count + 1)).reshape(actual_count + 1, count + 1)
    shared, void = table[1:, 1:], table[0, 1:]
    areas, actual_areas = table[:, 1:].sum(axis=0), table[1:].sum(axis=1)
    union = areas + actual_areas[:, None] - shared - void
    iou = shared / np.maximum(union, 1)
    same = (actual.class_ids[:, None] == predicted.class_ids) & ~actual.crowd[:, None]
    rows, columns = np.nonzero(same & (iou > MATCH_IOU))
    counts = np.zeros((class_count, 4))
    np.add.at(counts[:, IOU], actual.class_ids[rows], iou[rows, columns])
    np.add.at(counts[:, TP], actual.class_ids[rows], 1)
    missed = ~actual.crowd
    missed[rows] = False
    np.add.at(counts[:, FN], actual.class_ids[missed], 1)
    crowd_of = np.full(class_count, -1)
    crowds = np.flatnonzero(actual.crowd)
    crowd_of[actual.class_ids[crowds]] = crowds
    of_class = crowd_of[predicted.class_ids]
    ignored = void + np.where(of_class >= 0, table[1 + of_class, 1 + np.arange(count)], 0)
    false = ignored / np.maximum(areas, 1) <= MATCH_IOU
    false[columns] = False
    np.add.at(counts[:, FP], predicted.class_ids[false], 1)
    return counts


@dataclass
class PanopticQuality:
    """Panoptic quality over images.

    Args:
        labels: the classes.

    Attributes:
        counts: (K, 4) float64, the sum of `compare` over all images.
    """

    labels: PanopticLabels

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.labels.class_count, 4))

    def add(self, predicted: Segments, actual: Segments) -> None:
        """Adds one image."""
        self.counts += compare(predicted, actual, self.labels.class_count)

    def compute(self) -> dict[str, float]:
        """``pq``, ``sq`` and ``rq`` of all classes, with ``_things`` and ``_stuff`` of some, and with ``/NAME`` of one class.

        A number of classes of which none occurs, neither predicted nor true, is left out.
        """
        sums, tp, fp, fn = self.counts.T
        weight = tp + fp / 2 + fn / 2
        occurring = weight > 0
        bounded = np.maximum(weight, 0.5)
        values = {"pq": sums / bounded, "sq": sums / np.maximum(tp, 1), "rq": tp / bounded}
        is_thing = np.arange(len(tp)) < self.labels.thing_count
        scores: dict[str, float] = {}
        for suffix, group in (("", occurring), ("_things", occurring & is_thing), ("_stuff", occurring & ~is_thing)):
            if group.any():
                scores |= {f"{name}{suffix}": float(each[group].mean()) for name, each in values.items()}
        for name, each in values.items():
            for number in np.flatnonzero(occurring).tolist():
                scores[f"{name}/{self.labels.classes[number]}"] = float(each[number])
        return scores
