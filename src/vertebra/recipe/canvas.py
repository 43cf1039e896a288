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
    factor = RECIPES[recipe].canvas
    needs = [_need(shapes, median, objects, factor) for objects in branches.values()] or [(LONGEST_FOR_IMAGES, "")]
    wanted, reason = max(needs, key=lambda need: need[0])
    bounded = min(wanted, side, longest or side)
    size = _multiples([edge * bounded / side for edge in median])
    images = f"the median of {len(shapes)} images is {median[0]:.0f}x{median[1]:.0f}"
    return size, "; ".join(filter(None, [images, reason]))


def _need(shapes: np.ndarray, median: np.ndarray, objects: ObjectSizes, factor: float) -> tuple[float, str]:
    """The longest side that a branch needs, and the reason."""
    if objects.sized_by is None or not len(objects.sides):
        return LONGEST_FOR_IMAGES * factor, ""
    # on a canvas of the median shape, an image is scaled by the smaller of the two ratios
    scales = (median / shapes).min(axis=1)
    small = float(np.quantile(objects.sides * scales[objects.rows], OBJECT_QUANTILE))
    target = OBJECT_PX[objects.sized_by] * factor
    wanted = float(median.max()) * target / max(small, 1e-6)
    bounded = min(max(wanted, MIN_LONGEST), LONGEST * factor)
    side = float(median.max())
    shown = small * min(bounded, side) / side
    return bounded, f"of {len(objects.sides)} objects {OBJECT_QUANTILE:.0%} are smaller than {shown:.0f} pixels on it"


def _multiples(sides: Sequence[float]) -> tuple[int, int]:
    height, width = (max(2 * MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in sides)
    return (height, width)
