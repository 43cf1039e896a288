"""Similarity of two predictions of one image, for comparisons across precisions."""

from __future__ import annotations

from vertebra.tasks.segment.types import SegmentPrediction


def similarity(expected: SegmentPrediction, got: SegmentPrediction) -> float:
    """The share of pixels (and classes, if they may overlap) with the same decision."""
    return float((expected.mask == got.mask).mean())
