"""Merges the values of the boxes of a large image's tiles (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from vertebra.preprocess.tiles import Grid, Tile
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.predictions import from_decoded
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.thresholds import ScoreThreshold
from vertebra.tasks.tile_merge import concat_tiles, merge_tiles

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


class _TileBoxes(NamedTuple):
    """The boxes of one tile, in image pixels."""

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray


class AttributeTiles:
    """Merges the boxes of an image's tiles as the branch with the boxes does; a merged box has the probabilities of its member
    with the best score.

    Args:
        spec: the values.
        grid: the tiles; the whole image may be added after them.
        threshold: boxes below this score, or that of their class, are left out before merging.
    """

    adds_whole_image: ClassVar[bool] = True

    def __init__(self, spec: AttributeLabels, grid: Grid, threshold: ScoreThreshold) -> None:
        self.spec, self.threshold = spec, threshold
        self.tiles: list[Tile] = []
        self.predictions: list[AttributePrediction] = []

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """Adds one tile; see `vertebra.tasks.task.TileMerger`."""
        prediction = from_decoded(decoded, transform, self.spec).apply_threshold(self.threshold)
        self.tiles.append(tile)
        self.predictions.append(
            replace(prediction, boxes=prediction.boxes + np.array(tile.box[:2] * 2, dtype=np.float32))
        )

    def finish(self, image: ImageLike | None) -> AttributePrediction:
        """The prediction of the image, best box first."""
        parts = [_TileBoxes(each.boxes, each.box_scores, each.box_class_ids) for each in self.predictions]
        objects = concat_tiles(parts)
        merged = merge_tiles(objects, self.tiles)
        order = np.lexsort((-objects.scores[merged.members], merged.groups))  # by group, best first
        first = np.searchsorted(merged.groups, np.arange(len(merged.scores)))
        best = merged.members[order[first]]
        probabilities = np.concatenate([each.probabilities for each in self.predictions])
        return AttributePrediction(merged.boxes, merged.scores, merged.labels, probabilities[best], self.spec, image)
