"""Merges the boxes of a large image's tiles (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vertebra.preprocess.tiles import Grid, Tile
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.predictions import from_decoded
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.thresholds import ScoreThreshold
from vertebra.tasks.tile_merge import concat_tiles, merge_tiles

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


class DetectTiles:
    """Merges the boxes of an image's tiles; see `vertebra.tasks.tile_merge.merge_tiles` for the rule.

    Args:
        spec: the classes.
        grid: the tiles; the whole image may be added after them.
        threshold: objects below this score, or that of their class, are left out before merging.
    """

    adds_whole_image: ClassVar[bool] = True

    def __init__(self, spec: DetectLabels, grid: Grid, threshold: ScoreThreshold) -> None:
        self.spec, self.threshold = spec, threshold
        self.tiles: list[Tile] = []
        self.predictions: list[DetectPrediction] = []

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """Adds one tile; see `vertebra.tasks.task.TileMerger`."""
        prediction = from_decoded(decoded, transform, self.spec).apply_threshold(self.threshold)
        self.tiles.append(tile)
        self.predictions.append(
            replace(prediction, boxes=prediction.boxes + np.array(tile.box[:2] * 2, dtype=np.float32))
        )

    def finish(self, image: ImageLike | None) -> DetectPrediction:
        """The prediction of the image, best object first."""
        merged = merge_tiles(concat_tiles(self.predictions), self.tiles)
        return DetectPrediction(
            merged.boxes, merged.scores, merged.labels, self.spec, image, float(np.min(self.threshold))
        )
