"""Objects that were found in the tiles of an image, as objects of the image (numpy only).

A tile sees three kinds of objects: whole ones; ones that its edge cuts; and, where tiles overlap, ones that another tile
sees as well. Sliced inference commonly joins boxes that cover each other (Akyon et al., Slicing Aided Hyper Inference and
Fine-tuning for Small Object Detection, ICIP 2022, arXiv 2202.06934); that also joins a small object to the large one
before which it stands. Here boxes of different tiles are compared *where both tiles look*: each is first cut as the other
one was. The two halves of an object then agree where the tiles overlap, however long each is, and neighbors do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from vertebra.preprocess.tiles import Tile
from vertebra.tasks.box_iou import areas, components, iou, shared, survivors

MERGE_IOU = 0.5  # IoU from which two boxes are one object's, as in non-maximum suppression
COVERED = 0.5  # part of a fragment that a longer box must cover
EDGE_TOLERANCE = (
    0.02  # a box that comes so near to a tile's edge, as a part of the tile's side, is taken to be cut there
)

UNCUT, COARSE, PIECE = 0, 1, 2  # best first: whole in a tile, whole in the image made small, cut by a tile's edge


class Objects(NamedTuple):
    """What was found in all tiles of an image.

    Attributes:
        boxes: (M, 4) float32 xyxy in image pixels.
        scores: (M,)
        labels: (M,)
        tiles: (M,) the number of the tile that each was found in.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    tiles: np.ndarray


class Joined(NamedTuple):
    """The objects of the image, best first, each made of one or more that tiles found.

    Attributes:
        boxes: (G, 4) float32 xyxy in image pixels.
        scores: (G,) the best of its members'.
        labels: (G,)
        members: (P,) which of those found.
        groups: (P,) which of the G objects each member belongs to, in rising order.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    members: np.ndarray
    groups: np.ndarray


class Found(Protocol):
    """The objects of one tile, as a prediction of boxes or of keypoints has them, in image pixels."""

    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...
    @property
    def class_ids(self) -> np.ndarray: ...


def objects_of(found: Sequence[Found]) -> Objects:
    """What was found in each tile, in the tiles' order, as one list."""
    return Objects(
        np.concatenate([own.boxes for own in found]),
        np.concatenate([own.scores for own in found]),
        np.concatenate([own.class_ids for own in found]),
        np.repeat(np.arange(len(found)), [len(own.scores) for own in found]),
    )


def join(found: Objects, tiles: Sequence[Tile]) -> Joined:
    """One object for each that the tiles saw.

    - Of whole objects that two tiles saw the better one is kept.
    - A fragment is dropped if a tile that sees all of its place has a longer box there.
    - A piece is dropped if a tile saw the object whole; other pieces that agree become one box around all of them.
    - What the whole image shows, made small, counts only for objects that no tile sees whole. It gives way to pieces that
      were joined, if the two agree; where they do not (the object is larger than a tile), the pieces give way.

    Args:
        found: in all tiles.
        tiles: by number; one of them may be the whole image.
    """
    bounds = _limits(found, tiles)
    whole = np.array([tile.whole for tile in tiles], dtype=bool)[found.tiles]
    kind = np.where(np.isfinite(bounds).any(axis=1), PIECE, np.where(whole, COARSE, UNCUT))
    same, fragments = _compared(found, tiles, bounds, kind)
    lost = fragments | ((kind == COARSE) & _seen_whole(found.boxes, tiles))
    same = same[~lost[same].any(axis=1)]
    kept = (kind != PIECE) & ~lost & survivors(_ranks(found.scores, kind), same[(kind[same] != PIECE).all(axis=1)])
    pieces = (kind == PIECE) & ~lost & ~_beside(same, kind == UNCUT)
    roots = components(len(kind), same[pieces[same].all(axis=1)])
    _settle(found, kind, roots, pieces, kept, same, tiles[0].image)
    return _gathered(found, roots, np.flatnonzero(pieces | kept))


def _limits(found: Objects, tiles: Sequence[Tile]) -> np.ndarray:
    """(M, 4) where a tile's edge cuts an object, in image pixels; -inf, -inf, inf, inf for edges that do not."""
    windows = np.array([tile.box for tile in tiles], dtype=np.float64)
    height, width = tiles[0].image
    inner = np.where(windows == np.array([0, 0, width, height]), np.nan, windows)[found.tiles]
    near = EDGE_TOLERANCE * _sides(windows)[found.tiles]
    nothing = np.array([-np.inf, -np.inf, np.inf, np.inf])
    bounds: np.ndarray = np.where(np.abs(found.boxes - inner) <= near, inner, nothing)
    return bounds


def _seen_whole(boxes: np.ndarray, tiles: Sequence[Tile]) -> np.ndarray:
    """(M,) which boxes some tile, other than the whole image, sees whole."""
    height, width = tiles[0].image
    seen = np.zeros(len(boxes), dtype=bool)
    for tile in tiles:
        if not tile.whole:
            left, top, right, bottom = tile.box
            low = np.array(
                [left + EDGE_TOLERANCE * tile.width * (left > 0), top + EDGE_TOLERANCE * tile.height * (top > 0)]
            )
            high = np.array(
                [
                    right - EDGE_TOLERANCE * tile.width * (right < width),
                    bottom - EDGE_TOLERANCE * tile.height * (bottom < height),
                ]
            )
            seen |= (boxes[:, :2] >= low).all(axis=1) & (boxes[:, 2:] <= high).all(axis=1)
    return seen


def _sides(windows: np.ndarray) -> np.ndarray:
    """(T, 4) width, height, width, height."""
    return np.tile(windows[:, 2:] - windows[:, :2], 2)


def _ranks(scores: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """(M,) 0 for the best: by kind, then by score."""
    ranks = np.empty(len(kind), dtype=np.int64)
    ranks[np.lexsort([-scores, kind])] = np.arange(len(kind))
    return ranks


def _compared(
    found: Objects, tiles: Sequence[Tile], bounds: np.ndarray, kind: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) pairs from different tiles that are one object, and (M,) which are fragments of longer boxes."""
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    fragments = np.zeros(len(kind), dtype=bool)
    windows = np.array([tile.box for tile in tiles], dtype=np.float64)
    coarse = np.array([tile.whole for tile in tiles], dtype=bool)
    for own, others in _neighbors(found.tiles, windows):
        a, b = (found.boxes[own, None], found.boxes[None, others])
        alike = found.labels[own, None] == found.labels[None, others]
        agree = iou(_cut(a, bounds[None, others]), _cut(b, bounds[own, None])) >= MERGE_IOU
        first, second = np.nonzero(alike & agree)
        pairs.append(np.stack([own[first], others[second]], axis=1))
        for p, q, fit in ((own, others, alike), (others, own, alike.T)):
            window, near = windows[found.tiles[q]], EDGE_TOLERANCE * _sides(windows)[found.tiles[q]]
            longer = found.boxes[q] + near * np.array([-1, -1, 1, 1])
            inside = (_cut(found.boxes[p, None], window[None]) == found.boxes[p, None]).all(axis=-1)
            covered = shared(found.boxes[p, None], longer[None]) >= COVERED * areas(found.boxes[p])[:, None]
            larger = areas(found.boxes[q])[None] > areas(found.boxes[p])[:, None]
            found_by = fit & inside & covered & larger & ~coarse[found.tiles[q]][None]
            fragments[p] |= found_by.any(axis=1) & (kind[p] == PIECE)
    return np.concatenate(pairs), fragments


def _neighbors(owner: np.ndarray, windows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each tile the indices of its own objects, and of those of later tiles that share a part of the image with it."""
    for number in range(len(windows)):
        own = np.flatnonzero(owner == number)
        if not len(own):
            continue
        touching = shared(windows[number], windows) > 0
        touching[: number + 1] = False
        others = np.flatnonzero(touching[owner])
        if len(others):
            yield own, others


def _cut(boxes: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) cut at limits (..., 4)."""
    low, high = np.maximum(boxes[..., :2], bounds[..., :2]), np.minimum(boxes[..., 2:], bounds[..., 2:])
    cut: np.ndarray = np.concatenate([low, high], axis=-1)
    return cut


def _beside(pairs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(M,) which of them are paired with a chosen one."""
    found = np.zeros(len(chosen), dtype=bool)
    found[pairs[chosen[pairs[:, 0]], 1]] = True
    found[pairs[chosen[pairs[:, 1]], 0]] = True
    return found


def _settle(
    found: Objects,
    kind: np.ndarray,
    roots: np.ndarray,
    pieces: np.ndarray,
    kept: np.ndarray,
    pairs: np.ndarray,
    size: tuple[int, int],
) -> None:
    """Decides, in place, between what tiles show and what the whole image, made small, shows there.

    The edges of its boxes are not known well, so those that lie near a tile's box count as equal.

    Args:
        kind: (M,) of each of those found.
        roots: (M,) what each piece was joined with.
        pieces, kept: (M,) bool; those that lose are taken out.
        pairs: (P, 2) of one object.
        size: (height, width) of the image in pixels.
    """
    near = EDGE_TOLERANCE * np.tile(size[::-1], 2)
    fine = np.flatnonzero((kept & (kind == UNCUT)) | (pieces & (roots == np.arange(len(roots)))))
    boxes = _around(found.boxes, roots, pieces)[fine]
    for coarse in np.flatnonzero(kept & (kind == COARSE)):
        own = found.boxes[coarse]
        moved = np.where(np.abs(boxes - own) <= near, boxes, own)
        if ((found.labels[fine] == found.labels[coarse]) & (iou(moved, boxes) >= MERGE_IOU)).any():
            kept[coarse] = False
    lost = pieces & _beside(pairs, kept & (kind == COARSE))
    pieces &= ~np.isin(roots, roots[lost])


def _around(boxes: np.ndarray, roots: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(M, 4) at each root the box around its members'."""
    around: np.ndarray = boxes.copy()
    np.minimum.at(around[:, :2], roots[members], boxes[members, :2])
    np.maximum.at(around[:, 2:], roots[members], boxes[members, 2:])
    return around


def _gathered(found: Objects, roots: np.ndarray, members: np.ndarray) -> Joined:
    own, groups = np.unique(roots[members], return_inverse=True)
    boxes = _around(found.boxes, roots, members)[own]
    scores = np.zeros(len(own), dtype=found.scores.dtype)
    np.maximum.at(scores, groups, found.scores[members])
    order = np.argsort(-scores, kind="stable")
    place = np.empty(len(own), dtype=np.int64)
    place[order] = np.arange(len(own))
    by_group = np.argsort(place[groups], kind="stable")
    return Joined(boxes[order], scores[order], found.labels[own][order], members[by_group], place[groups][by_group])
