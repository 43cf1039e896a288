"""Keypoints in COCO files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.data.columns import PointColumn
from vertebra.data.index import Note
from vertebra.errors import DataError

Skeleton = tuple[tuple[int, int], ...]


def category_skeleton(category: Mapping[str, Any]) -> tuple[tuple[str, ...], Skeleton]:
    """Names of a category's points, and which of them are joined; COCO counts them from 1."""
    points = tuple(str(name) for name in category.get("keypoints") or ())
    pairs = category.get("skeleton") or ()
    return points, tuple((int(first) - 1, int(second) - 1) for first, second in pairs)


def shared_points(
    categories: Mapping[str, tuple[tuple[str, ...], Skeleton]], file: Path
) -> tuple[tuple[str, ...], Skeleton]:
    """The points that all classes have.

    Raises:
        DataError: they differ, or there are none.
    """
    different = {points for points, _ in categories.values()}
    if len(different) != 1 or not next(iter(different)):
        listed = "; ".join(f"{name}: {len(points)} points" for name, (points, _) in categories.items())
        raise DataError(
            f"{file}: the classes of a keypoints branch share one list of points, but here are {listed or 'none'}; "
            "name the classes that do: classes: [...]"
        )
    return next(iter(categories.values()))


def point_column(
    objects: Sequence[Mapping[str, Any]],
    rows: np.ndarray,
    ids: np.ndarray,
    names: Sequence[str],
    count: int,
    file: Path,
    notes: list[Note],
) -> PointColumn:
    """The objects with their points.

    As in COCO's own evaluation, objects that mark a crowd, and those without a labelled point, are neither to be found nor
    a mistake where they are.

    Args:
        objects: the annotations; ``rows`` (A,) and ``ids`` (A,) are their images and classes.
        names: of the images.
        count: how many points an object has.
        notes: is added to.

    Raises:
        DataError: ``keypoints`` of an object is no list of so many numbers.
    """
    points = np.zeros((len(objects), count, 3), dtype=np.float32)
    boxes = np.zeros((len(objects), 4), dtype=np.float32)
    areas = np.zeros(len(objects), dtype=np.float32)
    without: list[str] = []
    for place, one in enumerate(objects):
        given = one.get("keypoints")
        if given is None:
            without.append(names[int(rows[place])])
        else:
            points[place] = _numbers(given, 3 * count, f"'keypoints' of annotation {one.get('id')}", file).reshape(
                -1, 3
            )
        if one.get("bbox") is not None:
            boxes[place] = _numbers(one["bbox"], 4, f"'bbox' of annotation {one.get('id')}", file)
            boxes[place, 2:] += boxes[place, :2]
        else:
            boxes[place] = extent(points[place])
        areas[place] = one.get("area") or float((boxes[place, 2:] - boxes[place, :2]).prod()) * BOX_SHARE
    if without:
        notes.append(Note.of("object", "without keypoints", "kept as crowds", without))
    labelled = (points[..., 2] > 0).any(axis=1)
    crowd = np.array([bool(one.get("iscrowd", 0)) for one in objects], dtype=bool) | ~labelled
    return PointColumn.of(rows, points, boxes, ids, crowd, areas, np.ones(len(names), dtype=bool))


BOX_SHARE = 0.53  # of a box an object fills about so much where no area is given, as COCO's evaluation of boxes assumes


def extent(points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """The box (4,) xyxy around the labelled points of (K, 3), grown on each side by a share of its longer side."""
    known = points[points[:, 2] > 0, :2]
    if not len(known):
        return np.zeros(4, dtype=np.float32)
    low, high = known.min(axis=0), known.max(axis=0)
    grow = margin * float((high - low).max())
    box: np.ndarray = np.concatenate([low - grow, high + grow]).astype(np.float32)
    return box


def _numbers(values: Any, count: int, what: str, file: Path) -> np.ndarray:
    try:
        found = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        found = np.zeros(0, dtype=np.float32)
    if found.shape != (count,):
        raise DataError(f"{file}: {what} must be a list of {count} numbers, got {str(values)[:60]}")
    return found
