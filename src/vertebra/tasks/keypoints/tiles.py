"""Merges the keypoints of a large image's tiles (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vertebra.preprocess.tiles import Grid, Tile
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.predictions import from_decoded
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.thresholds import ScoreThreshold
from vertebra.tasks.tile_merge import concat_tiles, merge_tiles

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


class KeypointTiles:
    """Merges the objects of an image's tiles by their boxes; see `vertebra.tasks.tile_merge.merge_tiles` for the rule.

    Each point of a merged object is the one with the highest score among its members.

    Args:
        spec: the points and classes.
        grid: the tiles; the whole image may be added after them.
        threshold: objects below this score, or that of their class, are left out before merging.
    """

    adds_whole_image: ClassVar[bool] = True

    def __init__(self, spec: KeypointLabels, grid: Grid, threshold: ScoreThreshold) -> None:
        self.spec, self.threshold = spec, threshold
        self.tiles: list[Tile] = []
        self.predictions: list[KeypointPrediction] = []

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """Adds one tile; see `vertebra.tasks.task.TileMerger`."""
        prediction = from_decoded(decoded, transform, self.spec).apply_threshold(self.threshold)
        corner = np.array(tile.box[:2], dtype=np.float32)
        self.tiles.append(tile)
        self.predictions.append(
            replace(prediction, boxes=prediction.boxes + np.tile(corner, 2), points=prediction.points + corner)
        )

    def finish(self, image: ImageLike | None) -> KeypointPrediction:
        """The prediction of the image, best object first."""
        merged = merge_tiles(concat_tiles(self.predictions), self.tiles)
        points = np.concatenate([prediction.points for prediction in self.predictions])[merged.members]
        point_scores = np.concatenate([prediction.point_scores for prediction in self.predictions])[merged.members]
        first = np.searchsorted(merged.groups, np.arange(len(merged.scores)))
        order = np.lexsort(
            (-point_scores.T, np.broadcast_to(merged.groups, point_scores.T.shape)), axis=-1
        ).T  # by group, best first
        best = order[first] if len(first) else np.zeros((0, len(self.spec.points)), dtype=np.int64)
        columns = np.arange(len(self.spec.points))
        return KeypointPrediction(
            points=points[best, columns],
            point_scores=point_scores[best, columns],
            boxes=merged.boxes,
            scores=merged.scores,
            class_ids=merged.labels,
            spec=self.spec,
            image=image,
            draw_threshold=float(np.min(self.threshold)),
        )
