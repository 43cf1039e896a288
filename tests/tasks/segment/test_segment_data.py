"""Masks become targets."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.data import SegmentData
from vertebra.tasks.segment.labels import SegmentLabels


def test_masks_of_few_and_many_classes_are_stacked_without_loss() -> None:
    labels = SegmentLabels(tuple(f"c{number}" for number in range(300)), ignore_index=1000)
    few, many = (SegmentAnnotation(np.full((2, 3), value, dtype)) for value, dtype in ((7, np.uint8), (299, np.int32)))
    masks = SegmentData().stack([few, many], labels).masks
    assert masks[0].unique().tolist() == [7] and masks[1].unique().tolist() == [299]
