"""Merges the class probabilities of a large image's tiles into its mask (numpy and Pillow only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vertebra.preprocess.tiles import Grid, Tile
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.predictions import decide, id_type, image_probabilities
from vertebra.tasks.segment.types import SegmentPrediction
from vertebra.tasks.thresholds import ScoreThreshold

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


class SegmentTiles:
    """Blends the class probabilities of overlapping tiles, and decides each pixel when all its tiles are added.

    A tile's weight falls to 0 towards its edges inside the image, where it has the least context, and the weights of all tiles
    at a pixel sum to one. So probabilities change smoothly from tile to tile, without visible seams.

    Tiles are added row by row. Only the part that later tiles overlap is kept: K maps of the overlap's height and the image's
    width.

    Args:
        spec: the classes.
        grid: the tiles.
        threshold: minimum probability of overlapping classes at a pixel, of all or of each; None for the default.
    """

    adds_whole_image: ClassVar[bool] = False

    def __init__(self, spec: SegmentLabels, grid: Grid, threshold: ScoreThreshold | None) -> None:
        self.spec, self.threshold = spec, threshold
        height, width = grid.image
        self.weights = _weights(grid.tops, grid.tile[0], height), _weights(grid.lefts, grid.tile[1], width)
        self.next_top = dict(zip(grid.tops, (*grid.tops[1:], height), strict=True))
        self.next_left = dict(zip(grid.lefts, (*grid.lefts[1:], width), strict=True))
        layers = () if not spec.multilabel else (spec.class_count,)
        self.mask = np.zeros((*layers, height, width), dtype=id_type(spec) if not spec.multilabel else bool)
        self.beside = np.zeros(
            (spec.class_count, 0, 0), dtype=np.float32
        )  # sums of the tiles at the left, from this tile's left edge
        self.below = np.zeros(
            (spec.class_count, 0, width), dtype=np.float32
        )  # sums of the rows above, from this row's top
        self.coming = self.below

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """Adds one tile; see `vertebra.tasks.task.TileMerger`."""
        down, across = self.weights
        summed = image_probabilities(decoded, transform)
        summed *= down[tile.top][:, None] * across[tile.left]
        next_top, next_left = self.next_top[tile.top], self.next_left[tile.left]
        if tile.left == 0:
            self.below, self.beside = self.coming, self.beside[:, :0, :0]
            rest = tile.top + tile.height - next_top
            self.coming = np.zeros((self.spec.class_count, rest, tile.image[1]), dtype=np.float32)
        summed[:, : self.beside.shape[1], : self.beside.shape[2]] += self.beside
        self.beside = summed[:, :, next_left - tile.left :].copy()
        ready = summed[:, :, : next_left - tile.left]
        ready[:, : self.below.shape[1]] += self.below[:, :, tile.left : next_left]
        self.coming[:, :, tile.left : next_left] = ready[:, next_top - tile.top :]
        decided = decide(ready[:, : next_top - tile.top], self.spec, self.threshold)
        self.mask[..., tile.top : next_top, tile.left : next_left] = decided

    def finish(self, image: ImageLike | None) -> SegmentPrediction:
        """The prediction of the image."""
        return SegmentPrediction(self.mask, self.spec, None, image)


def _weights(starts: Sequence[int], side: int, length: int) -> dict[int, np.ndarray]:
    """Along one axis, the weight (side,) of each tile's pixels by the tile's start; at each pixel the weights sum to one."""
    positions = np.arange(side) + 0.5
    total = np.zeros(length, dtype=np.float32)
    weights = {}
    for start in starts:
        from_left = positions if start > 0 else np.full(side, np.inf)
        from_right = side - positions if start + side < length else np.full(side, np.inf)
        weights[start] = np.minimum(np.minimum(from_left, from_right), side).astype(np.float32)
        total[start : start + side] += weights[start]
    return {start: weight / total[start : start + side] for start, weight in weights.items()}
