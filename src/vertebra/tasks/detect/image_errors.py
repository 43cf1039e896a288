"""How wrong the predicted boxes of each image are: a loss, and a few words (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.detect.box_pairs import BoxPairs
from vertebra.tasks.detect.error_kinds import (
    BACKGROUND,
    BOTH,
    CLASSIFICATION,
    DUPLICATE,
    KINDS,
    LOCALIZATION,
    MISSED,
    BoxErrors,
)

WORDS = {
    MISSED: "missed",
    CLASSIFICATION: "of another class",
    LOCALIZATION: "badly located",
    BOTH: "badly located of another class",
    DUPLICATE: "duplicate",
    BACKGROUND: "on background",
}
"""By kind of error, in the order of a text."""


def image_losses(boxes: BoxPairs, errors: BoxErrors, thresholds: np.ndarray) -> np.ndarray:
    """1 - F1 of each image, where each predicted box counts with its score; 0 for an image without boxes.

    A right box with score s is s of a hit and 1 - s of a miss, a wrong one s of a false alarm. Boxes below half of the
    threshold of their class are left out.

    Args:
        boxes: of all images.
        errors: of these.
        thresholds: (K,) score threshold of each class.
    """
    counted = (boxes.scores >= thresholds[boxes.class_ids] / 2) & ~errors.ignored
    right = errors.matches >= 0
    hits, alarms = (
        np.bincount(boxes.box_images[which], boxes.scores[which], minlength=boxes.images)
        for which in (counted & right, counted & ~right)
    )
    misses = np.bincount(boxes.true_images, minlength=boxes.images) - hits
    wrong: np.ndarray = alarms + misses
    losses: np.ndarray = wrong / np.maximum(2 * hits + wrong, 1e-12)
    return losses


def image_texts(boxes: BoxPairs, errors: BoxErrors, counted: np.ndarray) -> list[str]:
    """The errors of each image, such as "2 missed, 1 duplicate".

    Args:
        boxes: of all images.
        errors: of these.
        counted: (F,) bool, the predictions that count.
    """
    wrong = counted & (errors.kinds >= 0)
    counts = np.zeros((boxes.images, len(KINDS)), dtype=np.int64)
    np.add.at(counts, (boxes.box_images[wrong], errors.kinds[wrong]), 1)
    counts[:, MISSED] = np.bincount(
        boxes.true_images[errors.missed(len(boxes.true_ids), counted)], minlength=boxes.images
    )
    objects = np.bincount(boxes.true_images, minlength=boxes.images)
    texts = []
    for row, count in zip(counts.tolist(), objects.tolist(), strict=True):
        parts = [f"{row[kind]} {word}" for kind, word in WORDS.items() if row[kind]]
        texts.append(", ".join(parts) or (f"all {count} right" if count else "no object, none predicted"))
    return texts
