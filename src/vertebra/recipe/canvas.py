"""How the canvas is chosen from the sizes of images and objects; a pure function.

The numbers are in `vertebra.recipe.defaults`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.recipe.defaults import (
    LONGEST,
    LONGEST_FOR_IMAGES,
    MAX_ENLARGEMENT,
    MIN_LONGEST,
    MULTIPLE,
    OBJECT_PX,
    OBJECT_QUANTILE,
    RECIPES,
)


@dataclass(frozen=True, eq=False)
class ObjectSizes:
    """The objects of one branch.

    Attributes:
        sized_by: see `vertebra.tasks.data.TaskData`; None if the canvas does not depend on the objects.
        sides: (k,) square roots of their areas, in pixels of their images.
        rows: (k,) int64, the image of each.
    """

    sized_by: str | None
    sides: np.ndarray
    rows: np.ndarray


def choose_canvas(
    shapes: np.ndarray, branches: Mapping[str, ObjectSizes], recipe: str = "default", longest: int | None = None
) -> tuple[tuple[int, int], str]:
    """The (height, width) of the canvas, and the reason: the largest that a branch needs, in the shape of the median image.

    Args:
        shapes: (n, 2) (height, width) of images, at least one.
        branches: the objects by branch.
        recipe: name of the recipe.
        longest: maximum of the longest side; default: that of the recipe.
    """
    median = np.median(shapes.astype(float), axis=0)
    side = float(median.max())
    reason = f"the median of {len(shapes)} images is {median[0]:.0f}x{median[1]:.0f}"
    needs = [(_longest_side(shapes, median, each), each) for each in branches.values()]
    wanted, objects = max(needs, key=lambda need: need[0], default=(LONGEST_FOR_IMAGES, None))
    by_objects = objects is not None and objects.sized_by is not None and len(objects.sides) > 0
    largest = side * MAX_ENLARGEMENT if by_objects else side
    bounded = min(wanted * RECIPES[recipe].canvas, largest, longest or largest)
    if objects is not None and by_objects:
        small = _small_object(shapes, median, objects) * bounded / side
        reason += f"; of {len(objects.sides)} objects {OBJECT_QUANTILE:.0%} are smaller than {small:.0f} pixels on it"
    return _multiples([edge * bounded / side for edge in median]), reason


def _longest_side(shapes: np.ndarray, median: np.ndarray, objects: ObjectSizes) -> float:
    """The longest side of the canvas that a branch needs."""
    if objects.sized_by is None or not len(objects.sides):
        return LONGEST_FOR_IMAGES
    small = max(_small_object(shapes, median, objects), 1e-6)
    side = float(median.max())
    return min(max(side * OBJECT_PX[objects.sized_by] / small, min(MIN_LONGEST, side)), LONGEST)


def _small_object(shapes: np.ndarray, median: np.ndarray, objects: ObjectSizes) -> float:
    """The side of a small object, in pixels on a canvas of the median shape; an image is scaled by the smaller of two ratios."""
    scales = (median / shapes).min(axis=1)
    return float(np.quantile(objects.sides * scales[objects.rows], OBJECT_QUANTILE))


def _multiples(sides: Sequence[float]) -> tuple[int, int]:
    height, width = (max(2 * MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in sides)
    return (height, width)
