"""The keypoints of a large image out of those of its tiles (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vertebra.preprocess.tiles import Grid, Tile
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.predictions import from_decoded
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.tile_merge import join, objects_of

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


class KeypointTiles:
    """Gathers the objects of an image's tiles by their boxes (`vertebra.tasks.tile_merge.join`), which hold what the points hang
    on.

    Of an object that was put together from pieces, each point is the one of the piece that is surest of it.

    Args:
        spec: the points and classes.
        grid: the tiles, which the whole image may follow.
        threshold: objects below this score are left out, before anything is joined.
    """

    whole_too: ClassVar[bool] = True

    def __init__(self, spec: KeypointLabels, grid: Grid, threshold: float) -> None:
        self.spec, self.threshold = spec, threshold
        self.tiles: list[Tile] = []
        self.found: list[KeypointPrediction] = []

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """What a tile shows; see `vertebra.tasks.task.TileMerger`."""
        own = from_decoded(decoded, transform, self.spec).filter(min_score=self.threshold)
        corner = np.array(tile.box[:2], dtype=np.float32)
        self.tiles.append(tile)
        self.found.append(replace(own, boxes=own.boxes + np.tile(corner, 2), points=own.points + corner))

    def finish(self, image: ImageLike | None) -> KeypointPrediction:
        """The prediction of the image, best object first."""
        joined = join(objects_of(self.found), self.tiles)
        points = np.concatenate([own.points for own in self.found])[joined.members]
        sure = np.concatenate([own.point_scores for own in self.found])[joined.members]
        first = np.searchsorted(joined.groups, np.arange(len(joined.scores)))
        order = np.lexsort((-sure.T, np.broadcast_to(joined.groups, sure.T.shape)), axis=-1).T  # by group, surest first
        best = order[first] if len(first) else np.zeros((0, len(self.spec.points)), dtype=np.int64)
        columns = np.arange(len(self.spec.points))
        return KeypointPrediction(
            points=points[best, columns],
            point_scores=sure[best, columns],
            boxes=joined.boxes,
            scores=joined.scores,
            class_ids=joined.labels,
            spec=self.spec,
            image=image,
            draw_threshold=self.threshold,
        )
