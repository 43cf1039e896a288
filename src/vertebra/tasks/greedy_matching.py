"""Greedy matching of predictions and annotations, as COCO evaluates boxes and points (numpy only)."""

from __future__ import annotations

import numpy as np


def match_by_rank(ranks: np.ndarray, count: int, pairs: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """From the best prediction on, each takes the most similar annotated object that is still free.

    Each round decides all predictions whose most similar free object no better undecided prediction could take, so few
    rounds are needed for the objects of any number of images.

    Args:
        ranks: (F,) of the predictions, all different, 0 for the best.
        count: number of annotated objects.
        pairs: (P, 2) int64, a prediction and an object that may match.
        similarity: (P,) of the pairs, such as the IoU; of equal ones the object with the higher number is taken.

    Returns:
        (F,) int64, the object of each prediction, or -1.
    """
    matches = np.full(len(ranks), -1, dtype=np.int64)
    order = np.lexsort((-pairs[:, 1], -similarity, ranks[pairs[:, 0]]))
    predicted, objects = pairs[order].T
    while len(predicted):
        first = np.append(True, predicted[1:] != predicted[:-1])  # the most similar free object of each prediction
        best_rank = np.full(count, len(ranks), dtype=np.int64)
        np.minimum.at(best_rank, objects, ranks[predicted])
        decided = first & (best_rank[objects] == ranks[predicted])
        matches[predicted[decided]] = objects[decided]
        taken = np.zeros(count, dtype=bool)
        taken[objects[decided]] = True
        left = (matches[predicted] < 0) & ~taken[objects]
        predicted, objects = predicted[left], objects[left]
    return matches


def argmax_by_group(groups: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """The position of the largest value of each group.

    Args:
        groups: (P,) int64, 0 to ``count`` - 1.
        values: (P,); of equal ones the first.

    Returns:
        (count,) int64, -1 for an empty group.
    """
    largest = np.full(count, -1, dtype=np.int64)
    order = np.lexsort((np.arange(len(groups))[::-1], values, groups))
    largest[groups[order]] = order  # the last assignment of a group is its largest value
    return largest
