"""The canvas for a data set, from the headers of its images and the sizes of its objects."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence

import numpy as np

from vertebra.data.index import Index
from vertebra.data.readers.image_sizes import image_sizes
from vertebra.errors import DataError
from vertebra.recipe.canvas import ObjectSizes, choose_canvas
from vertebra.recipe.defaults import IMAGE_LEVEL_SIDE, MAX_MEASURED, MULTIPLE, RECIPES
from vertebra.shards.remote import is_address
from vertebra.tasks import all_image_level, get_task

MAX_REMOTE = 32  # images at a URL whose headers are read
Objects = tuple[np.ndarray, np.ndarray]  # (k,) sides, and (k,) the image of each


def measured_canvas(
    indices: Sequence[Index], tasks: Collection[str], recipe: str = "default", longest: int | None = None
) -> tuple[tuple[int, int], str]:
    """The (height, width) of the canvas for some data sets, and the reason; see `vertebra.recipe.canvas`.

    Args:
        indices: at least one; images are measured evenly spaced, at most `vertebra.recipe.defaults.MAX_MEASURED`.
        tasks: of the model's branches.
        recipe: name of the recipe.
        longest: maximum of the longest side.

    Raises:
        DataError: no image can be read.
    """
    if all_image_level(tasks):
        side = round(IMAGE_LEVEL_SIDE * RECIPES[recipe].canvas / MULTIPLE) * MULTIPLE
        return (side, side), "all branches describe the whole image"
    measured = [_measure(index, tasks, MAX_MEASURED // len(indices)) for index in indices]
    shapes = [sizes for sizes, _ in measured]
    if not any(map(len, shapes)):
        raise DataError(f"{indices[0].root}: none of its images can be read")
    starts = np.cumsum([0, *map(len, shapes[:-1])]).tolist()
    located = [task for task in sorted(tasks) if not get_task(task).image_level]
    objects = {
        task: _joined(task, [(each.get(task), start) for (_, each), start in zip(measured, starts, strict=True)])
        for task in located
    }
    return choose_canvas(np.concatenate(shapes), objects, recipe, longest)


def _joined(task: str, parts: Sequence[tuple[Objects | None, int]]) -> ObjectSizes:
    """The objects of one task in all data sets, each given with the number of its first image."""
    known = [(sides, rows + start) for objects, start in parts if objects is not None for sides, rows in [objects]]
    sides = np.concatenate([np.zeros(0), *(sides for sides, _ in known)])
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *(rows for _, rows in known)])
    return ObjectSizes(get_task(task).data.sized_by, sides, rows)


def _measure(index: Index, tasks: Collection[str], count: int) -> tuple[np.ndarray, dict[str, Objects]]:
    """(n, 2) sizes of some readable images, and by task the sides of their objects and the image of each.

    Unreadable images, and annotations that do not fit theirs, are left out here; they are counted when they are loaded.
    """
    count = min(MAX_REMOTE if is_address(index.root) else count, len(index))
    chosen = np.linspace(0, len(index) - 1, max(1, count), dtype=np.int64) if len(index) else np.zeros(0, np.int64)
    sizes = image_sizes(index.root, [os.fsdecode(index.images[row]) for row in chosen.tolist()])
    readable = sizes.min(axis=1, initial=1) > 0
    chosen, sizes = chosen[readable], sizes[readable]
    measured = [task for task in tasks if task in index.columns and get_task(task).data.sized_by is not None]
    return sizes, {task: _object_sides(index, task, chosen, sizes) for task in measured}


def _object_sides(index: Index, task: str, chosen: np.ndarray, sizes: np.ndarray) -> Objects:
    """(k,) square roots of the areas of the objects in some images, and (k,) the number of the image of each."""
    column, data = index.columns[task], get_task(task).data
    sides, rows = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    for number, (row, size) in enumerate(zip(chosen.tolist(), sizes.tolist(), strict=True)):
        if not column.labeled[row]:
            continue
        with contextlib.suppress(DataError):
            boxes = data.object_boxes(column.get(row, (size[0], size[1]))).astype(float)
            areas = (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1)
            sides.append(np.sqrt(areas))
            rows.append(np.full(len(areas), number))
    return np.concatenate(sides), np.concatenate(rows)
