"""The CLEAR metrics: MOTA, MOTP, identity switches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vertebra.tasks.assignment import max_gain_pairs
from vertebra.tracking.sequence_pairs import SequencePairs

EPSILON = np.finfo(float).eps
CONTINUED = 1000.0  # gain of a pair that was matched in the frame before, above that of any others
MOSTLY_TRACKED, MOSTLY_LOST = 0.8, 0.2  # share of a track's frames


class ClearCounts(NamedTuple):
    """Counts of the CLEAR metrics, which add up over sequences.

    Bernardin and Stiefelhagen, Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics, EURASIP Journal on
    Image and Video Processing, 2008. Details as in TrackEval.

    Attributes:
        true_positives: matched boxes.
        false_negatives: boxes of the ground truth without a match.
        false_positives: predicted boxes without a match.
        id_switches: matches whose predicted track differs from that of the object's match before.
        fragments: how often objects are matched again after frames without a match.
        mostly_tracked: objects matched in more than 80 % of their frames.
        mostly_lost: objects matched in less than 20 % of their frames.
        similarity: sum of the IoU of matches.
    """

    true_positives: int = 0
    false_negatives: int = 0
    false_positives: int = 0
    id_switches: int = 0
    fragments: int = 0
    mostly_tracked: int = 0
    mostly_lost: int = 0
    similarity: float = 0.0

    def plus(self, other: ClearCounts) -> ClearCounts:
        """The counts of both."""
        sums: list[Any] = [first + second for first, second in zip(self, other, strict=True)]
        return ClearCounts(*sums)

    def metrics(self) -> dict[str, float]:
        """``mota``, ``motp`` (mean IoU of matches) and the counts."""
        matched, actual = self.true_positives, self.true_positives + self.false_negatives
        return {
            "mota": (matched - self.false_positives - self.id_switches) / max(1, actual),
            "motp": self.similarity / max(1, matched),
            **{name: value for name, value in self._asdict().items() if name != "similarity"},
        }


def clear_counts(pairs: SequencePairs, match_iou: float = 0.5) -> ClearCounts:
    """The counts of a sequence.

    Args:
        pairs: the compared frames.
        match_iou: minimum IoU of a match.
    """
    objects, _ = pairs.shape
    latest, before = (
        np.full(objects, -1),
        np.full(objects, -1),
    )  # predicted track of the latest match, of the frame before
    matched_frames, beginnings = np.zeros(objects, dtype=np.int64), np.zeros(objects, dtype=np.int64)
    matches = switches = 0
    similarity = 0.0
    for actual, predicted, overlaps in pairs:
        if not overlaps.size:  # as in TrackEval, `before` stays
            continue
        gains = CONTINUED * (before[actual][:, None] == predicted) + overlaps
        gains[overlaps < match_iou - EPSILON] = 0
        first, second = max_gain_pairs(gains)
        rows, columns = actual[first], predicted[second]
        switches += int(np.count_nonzero((latest[rows] >= 0) & (latest[rows] != columns)))
        beginnings[rows] += before[rows] < 0
        matched_frames[rows] += 1
        latest[rows] = columns
        before[:] = -1
        before[rows] = columns
        matches += len(rows)
        similarity += float(overlaps[first, second].sum())
    share = matched_frames / np.maximum(pairs.actual_counts, 1)
    return ClearCounts(
        matches,
        int(pairs.actual_counts.sum()) - matches,
        int(pairs.predicted_counts.sum()) - matches,
        switches,
        int(np.maximum(beginnings - 1, 0).sum()),
        int(np.count_nonzero(share > MOSTLY_TRACKED)),
        int(np.count_nonzero(share < MOSTLY_LOST)),
        similarity,
    )
