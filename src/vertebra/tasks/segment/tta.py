"""Merges the class probabilities of several views of an image (test-time augmentation; numpy and Pillow only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.predictions import resize_map, valid_maps

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class SegmentTTA:
    """The mean of the views' probabilities, mirrored back and resized to the plain canvas. Only their sum is kept.

    Args:
        labels, whole: unused; every task takes them.
    """

    def __init__(self, labels: SegmentLabels, whole: bool) -> None:
        self.view_count = 0
        self.total: np.ndarray = np.zeros((), dtype=np.float32)

    def add(self, decoded: Sequence[np.ndarray], view_transform: ViewTransform) -> None:
        """Adds one view; see `vertebra.tasks.task.TTAMerger`.

        Raises:
            ConfigError: the canvas holds only a part of the image.
        """
        maps = valid_maps(decoded, view_transform.view)
        if view_transform.mirrored:
            maps = maps[:, :, ::-1]
        self.total = self.total + np.stack([resize_map(layer, view_transform.plain.size) for layer in maps])
        self.view_count += 1

    def finish(self) -> list[np.ndarray]:
        """The merged arrays: probabilities (K, h, w) of the plain canvas' valid pixels."""
        return [self.total / np.float32(self.view_count)]
