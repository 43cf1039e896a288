"""Thresholds whose share of missed objects is bounded with a chosen probability (numpy only).

Angelopoulos et al., Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control, AOAS 2025, arXiv 2110.01052, with
fixed-sequence testing: the share of missed objects can only grow with the threshold, so thresholds are tested from the lowest one
up, each at the full level, and the last one before the first that fails is taken. Nothing is assumed but that the images for
calibration and later ones are independent draws of one kind. The promise is for each class by itself.

Of classes of images the test is exact, so the threshold is an order statistic of the scores of images of the class. Of objects the
image is the unit, since the objects of an image resemble each other: the mean, over images with such objects, of the share that is
missed in an image is bounded by betting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.calibration.bounds import allowed_misses, betting_p_values, images_needed
from vertebra.tasks.object_scores import MISSED, ObjectScores

BLOCK = 256  # thresholds that are tested at a time


@dataclass(frozen=True)
class OperatingPoint:
    """The threshold of a class, and what it costs on the images for calibration.

    Attributes:
        class_name: of the class.
        images: number of images with objects of the class.
        objects: number of these.
        threshold: None if no threshold keeps the promise.
        reason: why there is none; empty if there is one.
        miss: the mean, over images with objects of the class, of the share that is missed.
        object_miss: the share of all objects that is missed.
        false_per_image: wrong predictions of the class, by image, over all images.
        precision: share of right predictions among those of the class; None without any.
    """

    class_name: str
    images: int
    objects: int
    threshold: float | None
    reason: str = ""
    miss: float | None = None
    object_miss: float | None = None
    false_per_image: float | None = None
    precision: float | None = None


@dataclass(frozen=True, eq=False)
class ClassScores:
    """The scores of one class over all images.

    Attributes:
        images: number of all images.
        rows: (T,) int64, the image of each annotated object.
        scores: (T,) its score; see `ObjectScores`.
        false_scores: (F,) of wrong predictions.
    """

    images: int
    rows: np.ndarray
    scores: np.ndarray
    false_scores: np.ndarray


def scores_by_class(images: Sequence[ObjectScores], classes: int) -> list[ClassScores]:
    """The scores of each class."""
    rows = np.repeat(np.arange(len(images)), [len(image.true_ids) for image in images])
    no_ids, no_scores = np.zeros(0, dtype=np.int64), np.zeros(0)
    ids = np.concatenate([no_ids, *(image.true_ids for image in images)])
    scores = np.concatenate([no_scores, *(image.true_scores for image in images)])
    false_ids = np.concatenate([no_ids, *(image.false_ids for image in images)])
    false_scores = np.concatenate([no_scores, *(image.false_scores for image in images)])
    return [
        ClassScores(len(images), rows[ids == k], scores[ids == k], false_scores[false_ids == k]) for k in range(classes)
    ]


def operating_point(name: str, scores: ClassScores, miss: float, confidence: float, *, binary: bool) -> OperatingPoint:
    """The highest threshold of a class that keeps the promise, with its costs.

    Args:
        name: of the class.
        scores: of the class.
        miss: the mean share of missed objects that is promised, between 0 and 1.
        confidence: the probability, over the draw of the images, with which the promise is kept.
        binary: whether an image has at most one object of the class, for the exact test.
    """
    error, images, objects = 1 - confidence, len(np.unique(scores.rows)), len(scores.rows)
    choose = binary_threshold if binary else share_threshold
    exact = choose(scores.scores, scores.rows, miss, error)
    if exact is None:
        return OperatingPoint(name, images, objects, None, _reason(scores, miss, error, binary))
    threshold = rounded_down(exact)
    missed = scores.scores < threshold
    right, wrong = int((~missed).sum()), int((scores.false_scores >= threshold).sum())
    return OperatingPoint(
        name,
        images,
        objects,
        threshold,
        miss=mean_share(missed, scores.rows),
        object_miss=float(missed.mean()),
        false_per_image=wrong / scores.images,
        precision=right / (right + wrong) if right + wrong else None,
    )


def mean_share(missed: np.ndarray, rows: np.ndarray) -> float:
    """The mean, over images with objects, of the share of an image's objects that is missed.

    Args:
        missed: (T,) bool of the objects, at least one.
        rows: (T,) the image of each.
    """
    _, image, counts = np.unique(rows, return_inverse=True, return_counts=True)
    return float((np.bincount(image, missed) / counts).mean())


def binary_threshold(scores: np.ndarray, rows: np.ndarray, miss: float, error: float) -> float | None:
    """The threshold for one object an image: the score after as many as may be missed; see `allowed_misses`.

    Args:
        scores: (n,) of the images of the class.
        rows: (n,) the images, each once.
        miss, error: between 0 and 1.

    Returns:
        None if none keeps the promise.
    """
    count = allowed_misses(len(scores), miss, error)
    threshold = MISSED if count < 0 else float(np.sort(scores)[count])
    return None if threshold == MISSED else threshold


def share_threshold(scores: np.ndarray, rows: np.ndarray, miss: float, error: float) -> float | None:
    """The threshold for any number of objects an image, by the test of the mean share that is missed; see `betting_p_values`.

    Between two neighboring scores of objects nothing changes, so the scores themselves are tested, from the lowest up.

    Args:
        scores: (T,) of the annotated objects of the class.
        rows: (T,) the image of each.
        miss, error: between 0 and 1.

    Returns:
        None if none keeps the promise.
    """
    if not len(scores):
        return None
    _, image, counts = np.unique(rows, return_inverse=True, return_counts=True)
    weights = 1 / counts[image]
    order = np.random.default_rng(0).permutation(len(counts))  # stakes depend on the order: not that of the files
    candidates, step = np.unique(
        scores, return_inverse=True
    )  # thresholds above the candidate of its step miss an object
    before = np.zeros(len(counts))
    passed_last: float | None = None
    for start in range(0, len(candidates), BLOCK):
        block = candidates[start : start + BLOCK]
        inside = (step >= start) & (step < start + len(block))
        added = np.zeros((len(block) + 1, len(counts)))
        np.add.at(added, (step[inside] - start + 1, image[inside]), weights[inside])
        losses = before + np.cumsum(added, axis=0)
        passed = betting_p_values(np.clip(losses[:-1, order], 0, 1), miss, error) <= error
        passes = len(block) if passed.all() else int(np.argmin(passed))
        if passes:
            passed_last = float(block[passes - 1])
        if passes < len(block):
            break
        before = losses[-1]
    return None if passed_last == MISSED else passed_last


def rounded_down(threshold: float) -> float:
    """A threshold with four digits, a little below, so that runtimes whose scores differ in the last digits decide alike.

    A lower threshold misses no more, so promises are kept.
    """
    if threshold <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(threshold)) - 3)
    return round(math.floor(threshold * (1 - 1e-5) / unit) * unit, 12)


def _reason(scores: ClassScores, miss: float, error: float, binary: bool) -> str:
    """Why no threshold keeps a promise."""
    images, needed = len(np.unique(scores.rows)), images_needed(miss, error, binary=binary)
    if images < needed:
        return f"{images} images with this class, and at least {needed} are needed"
    share = mean_share(scores.scores == MISSED, scores.rows)
    return (
        f"{share:.1%} of its objects have no prediction of any score, too many for {images} images; allow more misses (--miss), or "
        "improve the model"
    )
