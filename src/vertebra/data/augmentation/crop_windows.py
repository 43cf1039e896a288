"""Random zoom, for images with boxes, masks or points, and random resized crops, for images that have only a class."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment


def zoom_window(
    resize_spec: ResizeSpec, size: tuple[int, int], augment: Augment, draw: np.random.Generator
) -> CropWindow:
    """A window for random zoom and stretch of the image; a random crop if it becomes larger than the canvas.

    Ghiasi et al., Simple Copy-Paste, CVPR 2021, arXiv 2012.07177 (large-scale jitter).
    """
    transform = resize_spec.transform(*size)
    low, high = augment.scale
    zoom = math.exp(draw.uniform(math.log(low), math.log(high)))
    stretch = math.exp(draw.uniform(-1.0, 1.0) * math.log(augment.stretch) / 2)
    top, height, rows = _axis(size[0], resize_spec.size[0], transform.scale_y * zoom * stretch, draw.random())
    left, width, columns = _axis(size[1], resize_spec.size[1], transform.scale_x * zoom / stretch, draw.random())
    return CropWindow(top, left, height, width, (rows, columns))


def _axis(length: int, canvas: int, scale: float, position: float) -> tuple[int, int, int]:
    """Start and length of the window along one axis, and its length on the canvas; ``position`` 0..1 chooses the start."""
    if round(length * scale) <= canvas:
        return 0, length, max(1, round(length * scale))
    extent = min(length, max(1, round(canvas / scale)))
    return int(position * (length - extent + 1)), extent, canvas


def crop_window(
    resize_spec: ResizeSpec, size: tuple[int, int], augment: Augment, draw: np.random.Generator
) -> CropWindow:
    """A random crop of random area and aspect ratio.

    Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv 1409.4842; differences: the aspect ratio varies around that
    of the image, or of the canvas for a center crop, so non-square canvases are not distorted.
    """
    height, width = size
    area = draw.uniform(*augment.crop_area)
    ratio = math.exp(draw.uniform(-1.0, 1.0) * math.log(augment.crop_ratio) / 2)
    base_height, base_width = float(height), float(width)
    if resize_spec.mode == "center_crop":
        shape = resize_spec.size[0] / resize_spec.size[1]
        base_height, base_width = math.sqrt(height * width * shape), math.sqrt(height * width / shape)
    rows = min(height, max(1, round(base_height * math.sqrt(area) * ratio)))
    columns = min(width, max(1, round(base_width * math.sqrt(area) / ratio)))
    top, left = int(draw.random() * (height - rows + 1)), int(draw.random() * (width - columns + 1))
    return CropWindow(top, left, rows, columns, resize_spec.transform(height, width).size)


def turned_window(window: CropWindow, turns: int) -> CropWindow:
    """The window of an image that was drawn for the size of the turned image.

    Args:
        window: drawn for an image of (width, height) if the number of turns is odd.
        turns: quarter turns.
    """
    if turns % 2 == 0:
        return replace(window, turns=turns) if turns else window
    return CropWindow(window.left, window.top, window.width, window.height, window.out, turns=turns)
