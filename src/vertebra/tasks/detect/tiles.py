"""The boxes of a large image out of those of its tiles (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vertebra.preprocess.tiles import Grid, Tile
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.predictions import from_decoded
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.tile_merge import join, objects_of

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


class DetectTiles:
    """Gathers the objects of an image's tiles; see `vertebra.tasks.tile_merge.join` for the rule.

    Args:
        spec: the classes.
        grid: the tiles, which the whole image may follow.
        threshold: objects below this score are left out, before anything is joined.
    """

    whole_too: ClassVar[bool] = True

    def __init__(self, spec: DetectLabels, grid: Grid, threshold: float) -> None:
        self.spec, self.threshold = spec, threshold
        self.tiles: list[Tile] = []
        self.found: list[DetectPrediction] = []

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """What a tile shows; see `vertebra.tasks.task.TileMerger`."""
        own = from_decoded(decoded, transform, self.spec).filter(min_score=self.threshold)
        self.tiles.append(tile)
        self.found.append(replace(own, boxes=own.boxes + np.array(tile.box[:2] * 2, dtype=np.float32)))

    def finish(self, image: ImageLike | None) -> DetectPrediction:
        """The prediction of the image, best object first."""
        joined = join(objects_of(self.found), self.tiles)
        return DetectPrediction(joined.boxes, joined.scores, joined.labels, self.spec, image, self.threshold)
