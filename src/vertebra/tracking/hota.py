"""HOTA: higher order tracking accuracy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vertebra.tasks.assignment import max_gain_pairs
from vertebra.tracking.sequence_pairs import SequencePairs

ALPHAS = np.arange(1, 20) / 20
EPSILON = np.finfo(float).eps
TINY = 1e-10


class HotaCounts(NamedTuple):
    """Counts of HOTA at each of the 19 thresholds of IoU (`ALPHAS`), which add up over sequences.

    Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking, IJCV 2021, arXiv 2009.07736.

    Attributes:
        true_positives: (19,) matched boxes.
        false_negatives: (19,) boxes of the ground truth without a match.
        false_positives: (19,) predicted boxes without a match.
        association: (19,) sum over matches of the association's Jaccard index: the frames in which both tracks of a match match
            each other, as a part of the frames of either.
        similarity: (19,) sum of the IoU of matches.
    """

    true_positives: np.ndarray = np.zeros(len(ALPHAS), dtype=np.int64)
    false_negatives: np.ndarray = np.zeros(len(ALPHAS), dtype=np.int64)
    false_positives: np.ndarray = np.zeros(len(ALPHAS), dtype=np.int64)
    association: np.ndarray = np.zeros(len(ALPHAS))
    similarity: np.ndarray = np.zeros(len(ALPHAS))

    def plus(self, other: HotaCounts) -> HotaCounts:
        """The counts of both."""
        return HotaCounts(*(first + second for first, second in zip(self, other, strict=True)))

    def metrics(self) -> dict[str, float]:
        """``hota``, ``deta`` (detection), ``assa`` (association) and ``loca`` (localization), means over the thresholds."""
        whole = self.true_positives + self.false_negatives + self.false_positives
        detection = self.true_positives / np.maximum(1, whole)
        association = self.association / np.maximum(1, self.true_positives)
        location = np.maximum(TINY, self.similarity) / np.maximum(TINY, self.true_positives)
        return {
            "hota": float(np.sqrt(detection * association).mean()),
            "deta": float(detection.mean()),
            "assa": float(association.mean()),
            "loca": float(location.mean()),
        }


def hota_counts(pairs: SequencePairs) -> HotaCounts:
    """The counts of a sequence."""
    alignment = _alignment(pairs)
    true, similarity = np.zeros(len(ALPHAS), dtype=np.int64), np.zeros(len(ALPHAS))
    matched: list[np.ndarray] = []  # rows (3, M) of threshold, object, predicted track
    for actual, predicted, overlaps in pairs:
        first, second = max_gain_pairs(alignment[np.ix_(actual, predicted)] * overlaps)
        values = overlaps[first, second]
        reached = values >= ALPHAS[:, None] - EPSILON
        true += reached.sum(axis=1)
        similarity += reached @ values
        alpha, match = np.nonzero(reached)
        matched.append(np.stack([alpha, actual[first[match]], predicted[second[match]]]))
    shape = (len(ALPHAS), *pairs.shape)
    triples = np.concatenate(matched, axis=1) if matched else np.zeros((3, 0), dtype=np.int64)
    numbers, common = np.unique(np.ravel_multi_index(tuple(triples), shape), return_counts=True)
    alpha, rows, columns = np.unravel_index(numbers, shape)
    either = pairs.actual_counts[rows] + pairs.predicted_counts[columns] - common
    association = np.bincount(alpha, weights=common * (common / np.maximum(1, either)), minlength=len(ALPHAS))
    actual_total, predicted_total = int(pairs.actual_counts.sum()), int(pairs.predicted_counts.sum())
    return HotaCounts(true, actual_total - true, predicted_total - true, association, similarity)


def _alignment(pairs: SequencePairs) -> np.ndarray:
    """(G, T) how well tracks agree over the whole sequence; decides which boxes of a frame match."""
    common = np.zeros(pairs.shape)
    for actual, predicted, overlaps in pairs:
        either = overlaps.sum(axis=0) + overlaps.sum(axis=1)[:, None] - overlaps
        common[np.ix_(actual, predicted)] += np.where(either > EPSILON, overlaps / np.maximum(either, EPSILON), 0)
    alignment: np.ndarray = common / np.maximum(pairs.actual_counts[:, None] + pairs.predicted_counts - common, EPSILON)
    return alignment
