"""Merges the objects detected in the tiles of an image into the objects of the image (numpy only).

A tile has three kinds of objects: whole ones; ones that its edge cuts; and, where tiles overlap, ones that another tile
shows too. Sliced inference commonly merges boxes that cover each other (Akyon et al., Slicing Aided Hyper Inference and
Fine-tuning for Small Object Detection, ICIP 2022, arXiv 2202.06934); that also merges a small object with the large one
behind it. Here boxes of different tiles are compared *inside the overlap of the tiles*: each is first clipped as the other
was. The two halves of an object then match where the tiles overlap, however long each is, and neighbors do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from vertebra.preprocess.tiles import Tile
from vertebra.tasks.box_iou import areas, connected_components, greedy_nms, intersection, iou

MERGE_IOU = 0.5  # IoU from which two boxes are one object's, as in non-maximum suppression
COVERED = 0.5  # part of a fragment that a longer box must cover
EDGE_TOLERANCE = 0.02  # a box that comes this near to a tile's edge, as a part of the tile's side, counts as cut there

WHOLE, FULL_IMAGE, CUT = (
    0,
    1,
    2,
)  # best first: whole in a tile, whole in the downscaled full image, cut by a tile's edge


class TileObjects(NamedTuple):
    """The objects detected in all tiles of an image.

    Attributes:
        boxes: (M, 4) float32 xyxy in image pixels.
        scores: (M,)
        labels: (M,)
        tiles: (M,) the number of each object's tile.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    tiles: np.ndarray


class MergedObjects(NamedTuple):
    """The objects of the image, best first, each merged from one or more tile objects.

    Attributes:
        boxes: (G, 4) float32 xyxy in image pixels.
        scores: (G,) the best score of the members.
        labels: (G,)
        members: (P,) indices of the tile objects that were used.
        groups: (P,) which of the G objects each member belongs to, in rising order.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    members: np.ndarray
    groups: np.ndarray


class TileDetections(Protocol):
    """The objects of one tile, as a prediction of boxes or of keypoints has them, in image pixels."""

    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...
    @property
    def class_ids(self) -> np.ndarray: ...


def concat_tiles(predictions: Sequence[TileDetections]) -> TileObjects:
    """The detections of all tiles as one list, in the tiles' order."""
    return TileObjects(
        np.concatenate([prediction.boxes for prediction in predictions]),
        np.concatenate([prediction.scores for prediction in predictions]),
        np.concatenate([prediction.class_ids for prediction in predictions]),
        np.repeat(np.arange(len(predictions)), [len(prediction.scores) for prediction in predictions]),
    )


def merge_tiles(objects: TileObjects, tiles: Sequence[Tile]) -> MergedObjects:
    """One object for each that the tiles show.

    - Of two whole objects that match, the better one is kept.
    - A fragment is dropped if another tile contains its area and has a longer box there.
    - A cut object is dropped if a tile shows the object whole; other cut objects that match become one box around them all.
    - An object of the downscaled full image counts only if no tile contains it. It is dropped if it matches cut objects
      that were merged; if it does not match them (the object is larger than a tile), they are dropped.

    Args:
        objects: of all tiles.
        tiles: by number; one of them may be the whole image.
    """
    bounds = cut_edges(objects, tiles)
    full_image = np.array([tile.whole for tile in tiles], dtype=bool)[objects.tiles]
    kind = np.where(np.isfinite(bounds).any(axis=1), CUT, np.where(full_image, FULL_IMAGE, WHOLE))
    pairs, fragments = _match_across_tiles(objects, tiles, bounds, kind)
    dropped = fragments | ((kind == FULL_IMAGE) & inside_a_tile(objects.boxes, tiles))
    pairs = pairs[~dropped[pairs].any(axis=1)]
    uncut_pairs = pairs[(kind[pairs] != CUT).all(axis=1)]
    kept = (kind != CUT) & ~dropped & greedy_nms(ranks_by_kind(objects.scores, kind), uncut_pairs)
    cut = (kind == CUT) & ~dropped & ~paired_with(pairs, kind == WHOLE)
    roots = connected_components(len(kind), pairs[cut[pairs].all(axis=1)])
    _resolve_full_image(objects, kind, roots, cut, kept, pairs, tiles[0].image)
    return _merged_objects(objects, roots, np.flatnonzero(cut | kept))


def cut_edges(objects: TileObjects, tiles: Sequence[Tile]) -> np.ndarray:
    """(M, 4) where a tile's edge cuts an object, in image pixels; -inf, -inf, inf, inf for edges that do not."""
    windows = np.array([tile.box for tile in tiles], dtype=np.float64)
    height, width = tiles[0].image
    inner_edges = np.where(windows == np.array([0, 0, width, height]), np.nan, windows)[objects.tiles]
    tolerance = EDGE_TOLERANCE * _sides(windows)[objects.tiles]
    uncut = np.array([-np.inf, -np.inf, np.inf, np.inf])
    bounds: np.ndarray = np.where(np.abs(objects.boxes - inner_edges) <= tolerance, inner_edges, uncut)
    return bounds


def inside_a_tile(boxes: np.ndarray, tiles: Sequence[Tile]) -> np.ndarray:
    """(M,) which boxes lie wholly inside a tile other than the whole image, away from its inner edges."""
    height, width = tiles[0].image
    contained = np.zeros(len(boxes), dtype=bool)
    for tile in tiles:
        if not tile.whole:
            left, top, right, bottom = tile.box
            x_tolerance, y_tolerance = EDGE_TOLERANCE * tile.width, EDGE_TOLERANCE * tile.height
            low = np.array([left + x_tolerance * (left > 0), top + y_tolerance * (top > 0)])
            high = np.array([right - x_tolerance * (right < width), bottom - y_tolerance * (bottom < height)])
            contained |= (boxes[:, :2] >= low).all(axis=1) & (boxes[:, 2:] <= high).all(axis=1)
    return contained


def _sides(windows: np.ndarray) -> np.ndarray:
    """(T, 4) width, height, width, height."""
    return np.tile(windows[:, 2:] - windows[:, :2], 2)


def ranks_by_kind(scores: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """(M,) 0 for the best: by kind, then by score."""
    ranks = np.empty(len(kind), dtype=np.int64)
    ranks[np.lexsort([-scores, kind])] = np.arange(len(kind))
    return ranks


def _match_across_tiles(
    objects: TileObjects, tiles: Sequence[Tile], bounds: np.ndarray, kind: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) pairs from different tiles that are one object, and (M,) which are fragments of longer boxes."""
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    fragments = np.zeros(len(kind), dtype=bool)
    windows = np.array([tile.box for tile in tiles], dtype=np.float64)
    full_image = np.array([tile.whole for tile in tiles], dtype=bool)
    boxes = objects.boxes
    for first, second in overlapping_tiles(objects.tiles, windows):
        a, b = boxes[first, None], boxes[None, second]
        same_label = objects.labels[first, None] == objects.labels[None, second]
        overlap = iou(_clip(a, bounds[None, second]), _clip(b, bounds[first, None]))
        rows, columns = np.nonzero(same_label & (overlap >= MERGE_IOU))
        pairs.append(np.stack([first[rows], second[columns]], axis=1))
        for p, q, labels_match in ((first, second, same_label), (second, first, same_label.T)):
            window, tolerance = windows[objects.tiles[q]], EDGE_TOLERANCE * _sides(windows)[objects.tiles[q]]
            longer = boxes[q] + tolerance * np.array([-1, -1, 1, 1])
            inside = (_clip(boxes[p, None], window[None]) == boxes[p, None]).all(axis=-1)
            covered = intersection(boxes[p, None], longer[None]) >= COVERED * areas(boxes[p])[:, None]
            larger = areas(boxes[q])[None] > areas(boxes[p])[:, None]
            fragment_of = labels_match & inside & covered & larger & ~full_image[objects.tiles[q]][None]
            fragments[p] |= fragment_of.any(axis=1) & (kind[p] == CUT)
    return np.concatenate(pairs), fragments


def overlapping_tiles(tile_ids: np.ndarray, windows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each tile the indices of its objects, and of those of later tiles that overlap it."""
    for number in range(len(windows)):
        in_tile = np.flatnonzero(tile_ids == number)
        if not len(in_tile):
            continue
        overlaps = intersection(windows[number], windows) > 0
        overlaps[: number + 1] = False
        in_later_tiles = np.flatnonzero(overlaps[tile_ids])
        if len(in_later_tiles):
            yield in_tile, in_later_tiles


def _clip(boxes: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) clipped to bounds (..., 4)."""
    low, high = np.maximum(boxes[..., :2], bounds[..., :2]), np.minimum(boxes[..., 2:], bounds[..., 2:])
    clipped: np.ndarray = np.concatenate([low, high], axis=-1)
    return clipped


def paired_with(pairs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(M,) which objects are paired with a chosen one."""
    paired = np.zeros(len(chosen), dtype=bool)
    paired[pairs[chosen[pairs[:, 0]], 1]] = True
    paired[pairs[chosen[pairs[:, 1]], 0]] = True
    return paired


def _resolve_full_image(
    objects: TileObjects,
    kind: np.ndarray,
    roots: np.ndarray,
    cut: np.ndarray,
    kept: np.ndarray,
    pairs: np.ndarray,
    size: tuple[int, int],
) -> None:
    """Drops, in place, either the objects of the downscaled full image or the tile objects that conflict with them.

    The full image's box edges are imprecise, so edges near those of a tile object's box count as equal.

    Args:
        kind: (M,) of each object.
        roots: (M,) the group that each cut object was merged into.
        cut, kept: (M,) bool; objects that are dropped become False.
        pairs: (P, 2) matching objects.
        size: (height, width) of the image in pixels.
    """
    tolerance = EDGE_TOLERANCE * np.tile(size[::-1], 2)
    tile_objects = np.flatnonzero((kept & (kind == WHOLE)) | (cut & (roots == np.arange(len(roots)))))
    boxes = _enclosing_boxes(objects.boxes, roots, cut)[tile_objects]
    for row in np.flatnonzero(kept & (kind == FULL_IMAGE)):
        box = objects.boxes[row]
        snapped = np.where(np.abs(boxes - box) <= tolerance, boxes, box)
        if ((objects.labels[tile_objects] == objects.labels[row]) & (iou(snapped, boxes) >= MERGE_IOU)).any():
            kept[row] = False
    dropped = cut & paired_with(pairs, kept & (kind == FULL_IMAGE))
    cut &= ~np.isin(roots, roots[dropped])


def _enclosing_boxes(boxes: np.ndarray, roots: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(M, 4) at each root the smallest box around its members' boxes."""
    enclosing: np.ndarray = boxes.copy()
    np.minimum.at(enclosing[:, :2], roots[members], boxes[members, :2])
    np.maximum.at(enclosing[:, 2:], roots[members], boxes[members, 2:])
    return enclosing


def _merged_objects(objects: TileObjects, roots: np.ndarray, members: np.ndarray) -> MergedObjects:
    """One object for each root, from the boxes, scores and labels of its members."""
    group_roots, groups = np.unique(roots[members], return_inverse=True)
    boxes = _enclosing_boxes(objects.boxes, roots, members)[group_roots]
    scores = np.zeros(len(group_roots), dtype=objects.scores.dtype)
    np.maximum.at(scores, groups, objects.scores[members])
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(group_roots), dtype=np.int64)
    rank[order] = np.arange(len(group_roots))
    by_group = np.argsort(rank[groups], kind="stable")
    labels = objects.labels[group_roots][order]
    return MergedObjects(boxes[order], scores[order], labels, members[by_group], rank[groups][by_group])
