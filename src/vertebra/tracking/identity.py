"""The identity metrics: IDF1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vertebra.tasks.assignment import max_gain_pairs
from vertebra.tracking.sequence_pairs import SequencePairs


class IdentityCounts(NamedTuple):
    """Counts of the identity metrics, which add up over sequences.

    Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, ECCV Workshops 2016, arXiv
    1609.01775: each object has at most one predicted track for the whole sequence, such that the most boxes match.

    Attributes:
        true_positives: boxes that match by these tracks.
        false_negatives: other boxes of the ground truth.
        false_positives: other predicted boxes.
    """

    true_positives: int = 0
    false_negatives: int = 0
    false_positives: int = 0

    def plus(self, other: IdentityCounts) -> IdentityCounts:
        """The counts of both."""
        return IdentityCounts(*(first + second for first, second in zip(self, other, strict=True)))

    def metrics(self) -> dict[str, float]:
        """``idf1``, ``id_precision`` and ``id_recall``."""
        true, missing, wrong = self
        return {
            "idf1": true / max(1.0, true + 0.5 * missing + 0.5 * wrong),
            "id_precision": true / max(1, true + wrong),
            "id_recall": true / max(1, true + missing),
        }


def identity_counts(pairs: SequencePairs, match_iou: float = 0.5) -> IdentityCounts:
    """The counts of a sequence.

    Args:
        pairs: the compared frames.
        match_iou: minimum IoU of a match.
    """
    common = np.zeros(pairs.shape, dtype=np.int64)
    for actual, predicted, overlaps in pairs:
        first, second = np.nonzero(overlaps >= match_iou)
        common[actual[first], predicted[second]] += 1  # a pair of tracks occurs once in a frame
    true = int(common[max_gain_pairs(common)].sum())
    return IdentityCounts(true, int(pairs.actual_counts.sum()) - true, int(pairs.predicted_counts.sum()) - true)
