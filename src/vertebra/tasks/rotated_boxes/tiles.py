"""Merges the rotated boxes of a large image's tiles (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vertebra.geometry.rectangles import areas, center_sides_direction, intersections, rectangles_along
from vertebra.geometry.rectangles import upright_corners as upright
from vertebra.preprocess.tiles import Grid, Tile
from vertebra.tasks.box_iou import connected_components, greedy_nms
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.predictions import clipped_prediction, from_decoded
from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction
from vertebra.tasks.thresholds import ScoreThreshold
from vertebra.tasks.tile_merge import (
    COVERED,
    CUT,
    FULL_IMAGE,
    MERGE_IOU,
    WHOLE,
    TileObjects,
    cut_edges,
    inside_a_tile,
    overlapping_tiles,
    paired_with,
    ranks_by_kind,
)

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike

INSIDE = 0.95  # part of a box in a tile from which the tile contains it


class RotatedBoxTiles:
    """Merges the rotated boxes of an image's tiles by the rule of `vertebra.tasks.tile_merge.merge_tiles`, with rotated boxes in
    place of upright ones: two boxes are compared by what of them both tiles show. The parts of a cut object become the smallest
    box around them with the angle of the largest.

    Args:
        spec: the classes.
        grid: the tiles; the whole image may be added after them.
        threshold: objects below this score, or that of their class, are left out before merging.
    """

    adds_whole_image: ClassVar[bool] = True

    def __init__(self, spec: RotatedBoxLabels, grid: Grid, threshold: ScoreThreshold) -> None:
        self.spec, self.threshold = spec, threshold
        self.tiles: list[Tile] = []
        self.corners: list[np.ndarray] = []
        self.predictions: list[RotatedBoxPrediction] = []

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """Adds one tile; see `vertebra.tasks.task.TileMerger`."""
        prediction = from_decoded(decoded, transform, self.spec).apply_threshold(self.threshold)
        self.tiles.append(tile)
        self.predictions.append(prediction)
        self.corners.append(prediction.corners.astype(np.float64) + np.array(tile.box[:2]))

    def finish(self, image: ImageLike | None) -> RotatedBoxPrediction:
        """The prediction of the image, best object first."""
        corners = np.concatenate(self.corners)
        objects = TileObjects(
            np.concatenate(
                [each.boxes + np.tile(tile.box[:2], 2) for each, tile in zip(self.predictions, self.tiles, strict=True)]
            ),
            np.concatenate([each.scores for each in self.predictions]),
            np.concatenate([each.class_ids for each in self.predictions]),
            np.repeat(np.arange(len(self.tiles)), [len(each.scores) for each in self.predictions]),
        )
        kept, groups = _groups(corners, objects, self.tiles)
        merged = np.stack([_joined(corners[group]) for group in groups]) if groups else np.zeros((0, 4, 2))
        scores = np.array([objects.scores[group].max() for group in groups], dtype=np.float32)
        all_corners = np.concatenate([corners[kept], merged]).astype(np.float32)
        all_scores = np.concatenate([objects.scores[kept], scores])
        firsts = np.array([group[0] for group in groups], dtype=np.int64)
        labels = objects.labels[np.concatenate([kept, firsts])]
        order = np.argsort(-all_scores, kind="stable")
        size = self.tiles[0].image
        whole = clipped_prediction(all_corners[order], all_scores[order], labels[order], size, self.spec, image)
        return whole.apply_threshold(float(np.min(self.threshold)))


def _groups(corners: np.ndarray, objects: TileObjects, tiles: Sequence[Tile]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The numbers of the objects that are kept as they are, and of the parts of each object that is merged."""
    bounds = cut_edges(objects, tiles)
    full_image = np.array([tile.whole for tile in tiles], dtype=bool)[objects.tiles]
    kind = np.where(np.isfinite(bounds).any(axis=1), CUT, np.where(full_image, FULL_IMAGE, WHOLE))
    pairs, fragments = _matches(corners, objects, tiles, kind)
    dropped = fragments | ((kind == FULL_IMAGE) & inside_a_tile(objects.boxes, tiles))
    pairs = pairs[~dropped[pairs].any(axis=1)]
    uncut_pairs = pairs[(kind[pairs] != CUT).all(axis=1)]
    kept = (kind != CUT) & ~dropped & greedy_nms(ranks_by_kind(objects.scores, kind), uncut_pairs)
    cut = (kind == CUT) & ~dropped & ~paired_with(pairs, kept)
    roots = connected_components(len(kind), pairs[cut[pairs].all(axis=1)])
    members = np.flatnonzero(cut)
    return np.flatnonzero(kept), [members[roots[members] == root] for root in np.unique(roots[members]).tolist()]


def _matches(
    corners: np.ndarray, objects: TileObjects, tiles: Sequence[Tile], kind: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) pairs from different tiles that are one object, and (M,) bool, which are fragments of longer boxes."""
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    fragments = np.zeros(len(kind), dtype=bool)
    windows = np.array([tile.box for tile in tiles], dtype=np.float64)
    full_image = np.array([tile.whole for tile in tiles], dtype=bool)
    sizes = areas(corners)
    shown = intersections(upright(windows), corners)  # (tiles, M)
    for first, second in overlapping_tiles(objects.tiles, windows):
        same_label = objects.labels[first, None] == objects.labels[None, second]
        common = intersections(corners[first], corners[second])
        of_first = shown[objects.tiles[second]][:, first].T  # what the other's tile shows
        of_second = shown[objects.tiles[first]][:, second]
        overlap = common / np.maximum(of_first + of_second - common, 1e-9)
        rows, columns = np.nonzero(same_label & (overlap >= MERGE_IOU))
        pairs.append(np.stack([first[rows], second[columns]], axis=1))
        for p, q, labels_match, inside, part in (
            (first, second, same_label, of_first, common),
            (second, first, same_label.T, of_second.T, common.T),
        ):
            area = sizes[p][:, None]
            longer = sizes[q][None] > area
            fragment_of = labels_match & longer & (inside >= INSIDE * area) & (part >= COVERED * area)
            fragment_of &= ~full_image[objects.tiles[q]][None]
            fragments[p] |= fragment_of.any(axis=1) & (kind[p] == CUT)
    return np.concatenate(pairs), fragments


def _joined(parts: np.ndarray) -> np.ndarray:
    """(4, 2) the smallest box around parts (m, 4, 2), with the angle of the largest."""
    _, _, direction = center_sides_direction(parts[areas(parts).argmax()])
    joined: np.ndarray = rectangles_along(parts.reshape(-1, 2), direction)
    return joined
