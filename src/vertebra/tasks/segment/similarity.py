"""How far two answers about one image agree, where numbers differ by more than rounding."""

from __future__ import annotations

from vertebra.tasks.segment.types import SegmentPrediction


def similarity(expected: SegmentPrediction, got: SegmentPrediction) -> float:
    """The share of pixels (and classes, where they may overlap) that are decided alike."""
    return float((expected.mask == got.mask).mean())
