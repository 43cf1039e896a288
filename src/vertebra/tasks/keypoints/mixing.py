"""Points of images that are made of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.mixing import Mixing, MosaicTile


class KeypointMixing(Mixing):
    """The objects of all images."""

    operations = frozenset({"mosaic"})

    def mosaic(
        self, tiles: Sequence[MosaicTile], canvas: tuple[int, int], labels: KeypointLabels
    ) -> KeypointAnnotation:
        """The objects of all tiles."""
        parts = [_shifted(tile.annotation, tile.left, tile.top) for tile in tiles]
        return KeypointAnnotation(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.crowd for part in parts]),
            np.concatenate([part.areas for part in parts]),
            canvas,
        )


def _shifted(annotation: KeypointAnnotation, left: int, top: int) -> KeypointAnnotation:
    shift = np.array([left, top], dtype=np.float32)
    labeled = annotation.points[..., 2:] > 0
    points = annotation.points + np.where(labeled, np.array([left, top, 0], dtype=np.float32), 0)
    return KeypointAnnotation(
        points.astype(np.float32),
        annotation.boxes + np.tile(shift, 2),
        annotation.labels,
        annotation.crowd,
        annotation.areas,
    )
