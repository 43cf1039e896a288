"""Right and wrong pixels of one image, by class, kind of error and distance from a boundary (numpy only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.errors import DataError
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.boundary import boundary_distance, near_boundary
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.scope import certain_mask
from vertebra.tasks.segment.types import SegmentPrediction

KINDS = ("boundary", "class not in the image", "class not predicted", "inside")
BOUNDARY, EXTRA, ABSENT, INSIDE = range(len(KINDS))
MEANING = (
    "near a boundary of annotated regions (1 % of the image's diagonal)",
    "elsewhere, and the predicted class is nowhere in the image",
    "elsewhere, and the annotated class is predicted nowhere in the image",
    "elsewhere, between classes that are both in the image and in its prediction",
)


@dataclass(frozen=True, eq=False)
class PixelErrors:
    """Numbers of pixels, of one image or of several; for overlapping classes each class of a pixel counts by itself.

    Attributes:
        right, true, predicted: (K,).
        false_positives, false_negatives: (4, K) by kind of error, and by predicted or annotated class.
        confusion, confusion_near: (R, R) annotated and predicted classes of all pixels, and of those near a boundary; R is K, or
            for overlapping classes K + 1 with "nothing".
        near: (2,) pixels near a boundary, and the wrong ones of them.
        counted: (2,) the same of all pixels.
    """

    right: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    false_positives: np.ndarray
    false_negatives: np.ndarray
    confusion: np.ndarray
    confusion_near: np.ndarray
    near: np.ndarray
    counted: np.ndarray

    def __add__(self, other: PixelErrors) -> PixelErrors:
        """Those of both."""
        return PixelErrors(*(getattr(self, name) + getattr(other, name) for name in PixelErrors.__dataclass_fields__))

    @property
    def class_iou(self) -> np.ndarray:
        """(K,) NaN for a class that neither occurs nor is predicted."""
        return _over_union(self.right, self.true + self.predicted - self.right)

    @property
    def mean_iou(self) -> float | None:
        """Over the classes that occur or are predicted; None without one."""
        known = self.true + self.predicted > 0
        return float(self.class_iou[known].mean()) if known.any() else None

    def gains(self) -> np.ndarray:
        """(4,) what fixing each kind of error alone would add to the mean IoU, 0 to 1, over the classes that occur or are
        predicted; a class that no longer occurs nor is predicted then counts as 1.
        """
        known = self.true + self.predicted > 0
        gains = np.zeros(len(KINDS))
        if not known.any():
            return gains
        for kind, (added, removed) in enumerate(zip(self.false_negatives, self.false_positives, strict=True)):
            right, predicted = self.right + added, self.predicted + added - removed
            fixed = _over_union(right, self.true + predicted - right)
            gains[kind] = np.where(np.isnan(fixed), 1, fixed)[known].mean() - self.class_iou[known].mean()
        return gains


def _over_union(right: np.ndarray, union: np.ndarray) -> np.ndarray:
    return np.where(union > 0, right / np.maximum(union, 1), np.nan)


@dataclass(frozen=True, eq=False)
class ComparedPixels:
    """Annotated and predicted pixels of one image.

    Attributes:
        true, predicted: (H, W) class ids, or (K, H, W) bool for overlapping classes.
        counted: of that shape, bool, the pixels that are not ignored.
        near: of that shape, bool, those near a boundary; for overlapping classes of their own class.
    """

    true: np.ndarray
    predicted: np.ndarray
    counted: np.ndarray
    near: np.ndarray


def compare_pixels(
    prediction: SegmentPrediction, annotation: SegmentAnnotation, labels: SegmentLabels
) -> ComparedPixels:
    """The pixels of one image.

    Raises:
        DataError: the mask has another size than the prediction, or a value without a class.
    """
    mask = certain_mask(annotation, labels)
    if labels.multilabel and mask.ndim == 2:
        layers = mask[None] == np.arange(labels.class_count)[:, None, None]
        mask = np.where(mask[None] == labels.ignore_index, labels.ignore_index, layers)
    if mask.shape != prediction.mask.shape:
        raise DataError(f"the prediction's mask is {prediction.mask.shape}, the annotation's {mask.shape}")
    counted = mask != labels.ignore_index
    values = np.unique(mask[counted])
    limit = 2 if labels.multilabel else labels.class_count
    wrong = values[(values < 0) | (values >= limit)]
    if len(wrong):
        expected = "masks of overlapping classes hold 0 and 1" if labels.multilabel else f"there are {limit} classes"
        raise DataError(f"the mask has the value {wrong[0]}: {expected}; ignore: {labels.ignore_index}")
    distance = boundary_distance(prediction.size)
    if labels.multilabel:
        near = np.stack([near_boundary(layer, labels.ignore_index, distance) for layer in mask])
        return ComparedPixels((mask == 1) & counted, prediction.mask.astype(bool) & counted, counted, near)
    return ComparedPixels(mask, prediction.mask, counted, near_boundary(mask, labels.ignore_index, distance))


def exclusive_errors(pixels: ComparedPixels, classes: int) -> PixelErrors:
    """The errors of an image whose pixels have one class each."""
    true, predicted = (mask[pixels.counted].astype(np.int64) for mask in (pixels.true, pixels.predicted))
    near = pixels.near[pixels.counted]
    pairs = true * classes + predicted
    confusion, confusion_near = (
        np.bincount(codes, minlength=classes * classes).reshape(classes, classes) for codes in (pairs, pairs[near])
    )
    occurs, answered = confusion.sum(axis=1), confusion.sum(axis=0)
    wrong = true != predicted
    by_kind = _by_kind(near[wrong], occurs[predicted[wrong]] == 0, answered[true[wrong]] == 0)
    codes = by_kind * classes * classes + pairs[wrong]
    kinds = np.bincount(codes, minlength=len(KINDS) * classes * classes).reshape(len(KINDS), classes, classes)
    return PixelErrors(
        right=confusion.diagonal().copy(),
        true=occurs,
        predicted=answered,
        false_positives=kinds.sum(axis=1),
        false_negatives=kinds.sum(axis=2),
        confusion=confusion,
        confusion_near=confusion_near,
        near=np.array([near.sum(), (near & wrong).sum()]),
        counted=np.array([len(true), wrong.sum()]),
    )


def overlapping_errors(pixels: ComparedPixels, classes: int) -> PixelErrors:
    """The errors of an image with a mask of each class."""
    true, predicted, counted = (mask.reshape(classes, -1) for mask in (pixels.true, pixels.predicted, pixels.counted))
    near = pixels.near.reshape(classes, -1) & counted
    missed, added = true & ~predicted, predicted & ~true
    tallies = []
    for wrong, kind in ((added, EXTRA), (missed, ABSENT)):
        layers, _ = np.nonzero(wrong)
        gone = ((true if kind == EXTRA else predicted).sum(axis=1) == 0)[layers]
        no = np.zeros_like(gone)
        kinds = _by_kind(near[wrong], gone if kind == EXTRA else no, gone if kind == ABSENT else no)
        codes = kinds * classes + layers
        tallies.append(np.bincount(codes, minlength=len(KINDS) * classes).reshape(len(KINDS), classes))
    return PixelErrors(
        right=(true & predicted).sum(axis=1),
        true=true.sum(axis=1),
        predicted=predicted.sum(axis=1),
        false_positives=tallies[0],
        false_negatives=tallies[1],
        confusion=_overlapping_confusion(true & predicted, missed, added),
        confusion_near=_overlapping_confusion(true & predicted & near, missed & near, added & near),
        near=np.array([near.sum(), (near & (missed | added)).sum()]),
        counted=np.array([counted.sum(), (missed | added).sum()]),
    )


def _by_kind(near: np.ndarray, extra: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """The kind of error of wrong pixels (N,), the first that holds."""
    kinds: np.ndarray = np.select([near, extra, absent], [BOUNDARY, EXTRA, ABSENT], INSIDE)
    return kinds


def _overlapping_confusion(right: np.ndarray, missed: np.ndarray, added: np.ndarray) -> np.ndarray:
    """(K + 1, K + 1) from bool (K, N): a missed class at a pixel counts for each class that is wrongly predicted there."""
    classes = len(right)
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    both = missed.any(axis=0) & added.any(axis=0)
    counts[:-1, :-1] = missed[:, both].astype(np.float64) @ added[:, both].T.astype(np.float64)
    counts[range(classes), range(classes)] = right.sum(axis=1)
    counts[:-1, -1] = missed[:, ~added.any(axis=0)].sum(axis=1)
    counts[-1, :-1] = added[:, ~missed.any(axis=0)].sum(axis=1)
    return counts
