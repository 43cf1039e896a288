"""Four images side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from vertebra.data.on_canvas import OnCanvas, empty_canvas
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.mixing import MosaicTile

Quadrant = tuple[int, int, int, int]  # top, left, height, width


def mosaic(
    render: Callable[[int, ResizeSpec], OnCanvas],
    channels: int,
    resize_spec: ResizeSpec,
    labels: Mapping[str, LabelSpec],
    augment: Augment,
    draw: np.random.Generator,
) -> OnCanvas:
    """Four images around a random point, each put on its part of the canvas as on a canvas of that size.

    Bochkovskiy et al., YOLOv4, 2020, arXiv 2004.10934; differences: each image is resampled once, from a window that covers its
    part (times ``scale``), so that little fill is left.

    Args:
        render: returns the image of a number, 0 to 3, augmented, on a canvas.
        channels: of the images.
        resize_spec: of the whole canvas.
        labels: by branch.
        augment: with ``mosaic_center``.
        draw: chooses the point.
    """
    tiles, transforms = [], []
    whole = empty_canvas(resize_spec, channels)
    covering = replace(resize_spec, mode="center_crop") if resize_spec.mode == "letterbox" else resize_spec
    for number, (top, left, height, width) in enumerate(quadrants(resize_spec.size, augment, draw)):
        tile = render(number, replace(covering, size=(height, width)))
        rows, columns = tile.transform.size
        top += height - rows if number < 2 else 0  # next to the point where the images meet
        left += width - columns if number % 2 == 0 else 0
        whole[:, top : top + rows, left : left + columns] = tile.image[:, :rows, :columns]
        tiles.append((tile, top, left))
        transforms.append(tile.transform)
    annotations = {}
    for name, annotation in tiles[0][0].annotations.items():
        parts = [MosaicTile(tile.annotations[name], top, left, tile.transform.size) for tile, top, left in tiles]
        mixing = task_of(annotation).mixing
        assert mixing is not None
        annotations[name] = mixing.mosaic(parts, resize_spec.size, labels.get(name))
    first, top, left = tiles[0]
    shifted = replace(
        first.transform,
        canvas=resize_spec.size,
        size=resize_spec.size,
        top=first.transform.top + top,
        left=first.transform.left + left,
    )
    return OnCanvas(whole, shifted, annotations)


def quadrants(canvas: tuple[int, int], augment: Augment, draw: np.random.Generator) -> list[Quadrant]:
    """The four parts around a random point of the canvas, row by row; each is at least a pixel."""
    shares = draw.uniform(*augment.mosaic_center, 2)
    y, x = (min(max(1, round(share * side)), max(1, side - 1)) for share, side in zip(shares, canvas, strict=True))
    rows, columns = ((0, y), (y, max(1, canvas[0] - y))), ((0, x), (x, max(1, canvas[1] - x)))
    return [(top, left, height, width) for top, height in rows for left, width in columns]
