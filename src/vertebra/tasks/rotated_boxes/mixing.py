"""Rotated boxes of images that are made of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vertebra.tasks.mixing import Mixing, MosaicTile
from vertebra.tasks.rotated_boxes.annotation import RotatedBoxAnnotation, joined
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels


class RotatedBoxMixing(Mixing):
    """The boxes of all images."""

    operations = frozenset({"mosaic", "mixup"})

    def mosaic(
        self, tiles: Sequence[MosaicTile], canvas: tuple[int, int], labels: RotatedBoxLabels
    ) -> RotatedBoxAnnotation:
        """The boxes of all tiles."""
        shifted = [
            replace(tile.annotation, corners=tile.annotation.corners + np.array([tile.left, tile.top], np.float32))
            for tile in tiles
        ]
        return joined(shifted)

    def mixup(
        self, first: RotatedBoxAnnotation, second: RotatedBoxAnnotation, share: float, labels: RotatedBoxLabels
    ) -> RotatedBoxAnnotation:
        """The boxes of both."""
        return joined([first, second])
