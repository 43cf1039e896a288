"""Merges the objects of a large image's tiles (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vertebra.annotations.run_lengths import union
from vertebra.preprocess.tiles import Grid, Tile
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.predictions import from_decoded
from vertebra.tasks.instances.types import InstancePrediction, region_array
from vertebra.tasks.thresholds import ScoreThreshold
from vertebra.tasks.tile_merge import concat_tiles, merge_tiles

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


class InstanceTiles:
    """Merges the objects of an image's tiles by their boxes; see `vertebra.tasks.tile_merge.merge_tiles` for the rule.

    The mask of a merged object has the pixels of all its members.

    Args:
        spec: the classes.
        grid: the tiles; the whole image may be added after them.
        threshold: objects below this score, or that of their class, are left out before merging.
    """

    adds_whole_image: ClassVar[bool] = True

    def __init__(self, spec: InstanceLabels, grid: Grid, threshold: ScoreThreshold) -> None:
        self.spec, self.threshold = spec, threshold
        self.tiles: list[Tile] = []
        self.predictions: list[InstancePrediction] = []

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """Adds one tile; see `vertebra.tasks.task.TileMerger`."""
        prediction = from_decoded(decoded, transform, self.spec, threshold=self.threshold)
        left, top = tile.box[:2]
        rles = [region.shifted(left, top, tile.image) for region in prediction.rles]
        boxes = prediction.boxes + np.array([left, top, left, top], dtype=np.float32)
        self.tiles.append(tile)
        self.predictions.append(replace(prediction, rles=region_array(rles), boxes=boxes, size=tile.image))

    def finish(self, image: ImageLike | None) -> InstancePrediction:
        """The prediction of the image, best object first."""
        merged = merge_tiles(concat_tiles(self.predictions), self.tiles)
        size = self.tiles[0].image
        members = np.concatenate([prediction.rles for prediction in self.predictions])[merged.members]
        bounds = np.searchsorted(merged.groups, np.arange(len(merged.scores) + 1))
        rles = [
            members[start] if end == start + 1 else union(members[start:end].tolist(), size)
            for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        ]
        return InstancePrediction(
            region_array(rles),
            merged.boxes,
            merged.scores,
            merged.labels,
            size,
            self.spec,
            image,
            float(np.min(self.threshold)),
        )
