"""Random crops that keep objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec

MIN_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # 1: the whole image
MIN_SIDE = 0.3
MAX_RATIO = 2.0
ROUNDS = 4
TRIALS = 50


def iou_window(
    resize_spec: ResizeSpec, size: tuple[int, int], boxes: np.ndarray, turned: bool, draw: np.random.Generator
) -> CropWindow:
    """A random crop that has a random least IoU with one of the boxes.

    Liu et al., SSD, ECCV 2016, arXiv 1512.02325; differences: all trials are drawn at once; boxes at the border of the crop are
    kept by their visible part, not by their center; after four least IoUs without a crop it is the whole image.

    Args:
        resize_spec: how the crop is resized onto the canvas.
        size: (height, width) of the image.
        boxes: (M, 4) xyxy in image pixels, at least one.
        turned: whether a quarter turn follows, which exchanges the crop's sides.
        draw: the random generator.
    """
    crop = (0, 0, size[1], size[0])
    for least in draw.choice(MIN_IOUS, ROUNDS):
        if least == 1:
            break
        crops = _crops(size, draw)
        good = np.flatnonzero(_keeps_an_object(crops, boxes, least))
        if len(good):
            crop = tuple(crops[good[0]].tolist())
            break
    left, top, right, bottom = crop
    height, width = bottom - top, right - left
    if resize_spec.mode == "center_crop":  # which would stretch the crop
        resize_spec = replace(resize_spec, mode="letterbox", crop=1.0)
    out = resize_spec.transform(*((width, height) if turned else (height, width))).size
    return CropWindow(top, left, height, width, out)


def _crops(size: tuple[int, int], draw: np.random.Generator) -> np.ndarray:
    """(TRIALS, 4) int64 xyxy, of random sides and positions; those of too long a shape have no area."""
    sides = np.array([size[1], size[0]])
    extents = np.maximum(1, (draw.uniform(MIN_SIDE, 1.0, (TRIALS, 2)) * sides).astype(np.int64))
    starts = (draw.random((TRIALS, 2)) * (sides - extents + 1)).astype(np.int64)
    ratios = extents[:, :1] / extents[:, 1:]
    shapely = (ratios <= MAX_RATIO) & (ratios >= 1 / MAX_RATIO)
    return np.concatenate([starts, starts + np.where(shapely, extents, 0)], axis=1)


def _keeps_an_object(crops: np.ndarray, boxes: np.ndarray, least: float) -> np.ndarray:
    """(T,) bool, the crops (T, 4) with an IoU of at least ``least`` with a box (M, 4) whose center they contain."""
    low = np.maximum(crops[:, None, :2], boxes[None, :, :2])
    high = np.minimum(crops[:, None, 2:], boxes[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = (crops[:, 2:] - crops[:, :2]).prod(axis=1), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    ious = common / np.maximum(areas[0][:, None] + areas[1][None, :] - common, 1e-9)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centers > crops[:, None, :2]) & (centers < crops[:, None, 2:])).all(axis=2)
    kept: np.ndarray = (inside & (ious >= least)).any(axis=1)
    return kept
