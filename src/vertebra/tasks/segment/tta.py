"""The class probabilities of an image's pixels out of several looks at it (numpy and Pillow only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.predictions import resize_map, valid_maps

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class SegmentTTA:
    """The mean of the looks' probabilities, each look's turned back and resized to the plain canvas. Only their sum is kept.

    Args:
        labels, whole: of no consequence here; taken because every task takes them.
    """

    def __init__(self, labels: SegmentLabels, whole: bool) -> None:
        self.views = 0
        self.total: np.ndarray = np.zeros((), dtype=np.float32)

    def add(self, decoded: Sequence[np.ndarray], sight: ViewTransform) -> None:
        """What one look shows; see `vertebra.tasks.task.TTAMerger`.

        Raises:
            ConfigError: the canvas shows only a part of the image.
        """
        maps = valid_maps(decoded, sight.own)
        if sight.mirrored:
            maps = maps[:, :, ::-1]
        self.total = self.total + np.stack([resize_map(layer, sight.plain.size) for layer in maps])
        self.views += 1

    def finish(self) -> list[np.ndarray]:
        """The decoded arrays of all looks together: probabilities (K, h, w) of the plain canvas' valid pixels."""
        return [self.total / np.float32(self.views)]
