"""Masks as COCO's compressed run lengths (numpy only).

COCO counts pixels down the columns, in runs of 0, 1, 0 and so on, and writes the counts as text: each in groups of five
bits, the lowest first, with a sixth bit set if more groups follow, plus 48; from the fourth count on, the difference to the
count two before is written (``rleToString`` in pycocotools' maskApi.c).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import numpy as np

from vertebra.annotations.run_lengths import compress


class RunLengths(TypedDict):
    """A mask as COCO writes it: ``size`` (height, width), and ``counts``, the compressed run lengths."""

    size: list[int]
    counts: str


def of_classes(mask: np.ndarray, class_ids: Iterable[int]) -> dict[int, RunLengths]:
    """The run lengths of each class.

    One pass over the mask, for any number of classes.

    Args:
        mask: (H, W) of class ids, not empty.
        class_ids: the classes.
    """
    values, lengths = _runs(mask)
    return {class_id: _written(mask, values == class_id, lengths) for class_id in class_ids}


def of_region(region: np.ndarray) -> RunLengths:
    """The run lengths of a region (H, W) bool."""
    values, lengths = _runs(region)
    return _written(region, values, lengths)


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and length of each run of equal pixels down the columns."""
    flat = mask.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    return flat[starts], np.diff(np.concatenate([starts, [flat.size]]))


def _written(mask: np.ndarray, inside: np.ndarray, lengths: np.ndarray) -> RunLengths:
    """The run lengths of a region; ``inside`` marks the runs of the region."""
    inside = inside != 0
    starts = np.concatenate([[0], np.flatnonzero(inside[1:] != inside[:-1]) + 1])
    counts = np.add.reduceat(lengths, starts).astype(np.int64)
    if inside[0]:  # the first count is that of pixels outside
        counts = np.concatenate([[0], counts])
    return RunLengths(size=[int(side) for side in mask.shape], counts=compress(counts))
