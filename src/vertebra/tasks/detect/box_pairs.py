"""Predicted and annotated boxes of many images as flat rows, with the pairs that overlap (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vertebra.tasks.box_iou import areas, intersection
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.greedy_matching import match_by_rank

MIN_IOU = 0.1  # of a pair that is kept: the overlap under which TIDE takes a box for background
MAX_DETECTIONS = 100  # of an image and class, as COCO counts


@dataclass(frozen=True, eq=False)
class BoxPairs:
    """The boxes of one or of many images. Crowds are no annotated boxes here.

    Attributes:
        images: number of images.
        boxes: (F, 4) float64 predicted boxes, xyxy in pixels.
        scores, class_ids: (F,) of them.
        box_images: (F,) the image of each.
        crowd_share: (F,) the largest share of each that lies in one crowd of its class.
        any_crowd_share: (F,) the same for crowds of any class.
        exhaustive: (F,) bool, whether all objects of its class are annotated in its image.
        true_boxes: (T, 4) float64.
        true_ids, true_images: (T,) class and image of each.
        pairs: (P, 2) int64, a predicted and an annotated box of the same image with an IoU of at least `MIN_IOU`.
        overlaps: (P,) float64, their IoU.
    """

    images: int
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    box_images: np.ndarray
    crowd_share: np.ndarray
    any_crowd_share: np.ndarray
    exhaustive: np.ndarray
    true_boxes: np.ndarray
    true_ids: np.ndarray
    true_images: np.ndarray
    pairs: np.ndarray
    overlaps: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """(F,) the predicted boxes, best score first; equal scores keep their order."""
        return np.argsort(-self.scores, kind="stable")

    @cached_property
    def ranks(self) -> np.ndarray:
        """(F,) 0 for the best score."""
        ranks = np.empty(len(self.scores), dtype=np.int64)
        ranks[self.order] = np.arange(len(self.scores))
        return ranks

    @cached_property
    def same_class(self) -> np.ndarray:
        """(P,) bool, the pairs of one class."""
        same: np.ndarray = self.class_ids[self.pairs[:, 0]] == self.true_ids[self.pairs[:, 1]]
        return same

    def match(self, min_iou: float, usable: np.ndarray | None = None) -> np.ndarray:
        """COCO's matching of boxes of the same class.

        Args:
            min_iou: 0.1 or more.
            usable: (P,) bool, the pairs that may match, in place of those of the same class.

        Returns:
            (F,) int64, the annotated box of each predicted one, or -1.
        """
        chosen = (self.overlaps >= min_iou) & (self.same_class if usable is None else usable)
        return match_by_rank(self.ranks, len(self.true_ids), self.pairs[chosen], self.overlaps[chosen])

    def ignored(self, matches: np.ndarray, min_iou: float) -> np.ndarray:
        """(F,) bool, the unmatched boxes in a crowd of their class, or of a class that is not exhaustively annotated."""
        ignored: np.ndarray = (matches < 0) & ((self.crowd_share >= min_iou) | ~self.exhaustive)
        return ignored


def pairs_of_image(prediction: DetectPrediction, annotation: DetectAnnotation) -> BoxPairs:
    """The boxes and pairs of one image."""
    kept = kept_detections(prediction.scores, prediction.class_ids)
    boxes = prediction.boxes[kept].astype(np.float64)
    true_boxes, crowd = annotation.boxes.reshape(-1, 4).astype(np.float64), annotation.crowd.astype(bool)
    common, sizes = intersection(boxes[:, None], true_boxes[None]), areas(boxes)
    share = common / np.maximum(sizes, 1e-9)[:, None]
    iou = common / np.maximum(sizes[:, None] + areas(true_boxes) - common, 1e-9)
    return pair_objects(
        ImageObjects(boxes, prediction.scores[kept], prediction.class_ids[kept]),
        ImageObjects(true_boxes, crowd, annotation.labels),
        np.where(crowd, share, iou),
        annotation.exhaustive,
    )


class ImageObjects(NamedTuple):
    """The predicted or annotated objects of one image.

    Attributes:
        boxes: (M, 4) float64.
        values: (M,) scores of predicted objects; whether an annotated one is a crowd.
        class_ids: (M,)
    """

    boxes: np.ndarray
    values: np.ndarray
    class_ids: np.ndarray


def pair_objects(
    predicted: ImageObjects, true: ImageObjects, overlaps: np.ndarray, exhaustive: np.ndarray | None = None
) -> BoxPairs:
    """The objects and pairs of one image.

    Args:
        predicted, true: the objects.
        overlaps: (F, T) the IoU of each pair, for a crowd the share of the predicted object that lies in it.
        exhaustive: (K,) bool, the classes of which all objects are annotated; None for all.
    """
    crowd = true.values.astype(bool)
    share, iou = overlaps[:, crowd], overlaps[:, ~crowd]
    same = predicted.class_ids[:, None] == true.class_ids[None, crowd]
    pairs = np.argwhere(iou >= MIN_IOU)
    return BoxPairs(
        images=1,
        boxes=predicted.boxes,
        scores=predicted.values,
        class_ids=predicted.class_ids,
        box_images=np.zeros(len(predicted.boxes), dtype=np.int64),
        crowd_share=np.where(same, share, 0).max(axis=1, initial=0),
        any_crowd_share=share.max(axis=1, initial=0),
        exhaustive=np.ones(len(predicted.boxes), dtype=bool) if exhaustive is None else exhaustive[predicted.class_ids],
        true_boxes=true.boxes[~crowd],
        true_ids=true.class_ids[~crowd].astype(np.int64),
        true_images=np.zeros(int((~crowd).sum()), dtype=np.int64),
        pairs=pairs,
        overlaps=iou[pairs[:, 0], pairs[:, 1]],
    )


def concatenate(parts: Sequence[BoxPairs]) -> BoxPairs:
    """The boxes of several sets of images, one after the other."""
    firsts = np.cumsum([[0, 0, 0], *([part.images, len(part.scores), len(part.true_ids)] for part in parts)], axis=0)
    shifted = [
        replace(
            part,
            box_images=part.box_images + image,
            true_images=part.true_images + image,
            pairs=part.pairs + np.array([predicted, true]),
        )
        for part, (image, predicted, true) in zip(parts, firsts[:-1].tolist(), strict=True)
    ]
    names = [name for name in BoxPairs.__dataclass_fields__ if name != "images"]
    columns = {name: np.concatenate([getattr(part, name) for part in [*shifted, NO_BOXES]]) for name in names}
    return BoxPairs(images=int(firsts[-1, 0]), **columns)


def kept_detections(scores: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """(M,) bool, the best `MAX_DETECTIONS` of each class."""
    if len(scores) <= MAX_DETECTIONS:
        return np.ones(len(scores), dtype=bool)
    order = np.lexsort((-scores, class_ids))
    ordered = class_ids[order]
    firsts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    within = np.arange(len(order)) - np.repeat(firsts, np.diff(np.append(firsts, len(order))))
    kept = np.zeros(len(scores), dtype=bool)
    kept[order[within < MAX_DETECTIONS]] = True
    return kept


_NO_ROWS = np.zeros(0, dtype=np.int64)
NO_BOXES = BoxPairs(
    images=0,
    boxes=np.zeros((0, 4)),
    scores=np.zeros(0, dtype=np.float32),
    class_ids=_NO_ROWS,
    box_images=_NO_ROWS,
    crowd_share=np.zeros(0),
    any_crowd_share=np.zeros(0),
    exhaustive=np.zeros(0, dtype=bool),
    true_boxes=np.zeros((0, 4)),
    true_ids=_NO_ROWS,
    true_images=_NO_ROWS,
    pairs=np.zeros((0, 2), dtype=np.int64),
    overlaps=np.zeros(0),
)
"""No image."""
