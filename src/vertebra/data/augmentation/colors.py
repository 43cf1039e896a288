"""The color changes of an image, with the options of the augmentation."""

from __future__ import annotations

import numpy as np

from vertebra.data.color_jitter import color_map
from vertebra.recipe.augment import COLORS, Augment


def changed_colors(pixels: np.ndarray, augment: Augment, draw: np.random.Generator) -> np.ndarray:
    """An image (h, w, C) uint8 with random brightness, contrast, saturation, hue and order of channels.

    With ``color_probability`` and ``channel_shuffle`` 0.5 it is the photometric distortion of Liu et al., SSD, ECCV 2016, arXiv
    1512.02325; differences: the hue is rotated in the chroma plane, and values are clipped once, at the end.
    """
    if not augment.channel_shuffle and not any(getattr(augment, name) for name in COLORS):
        return pixels
    limits = [getattr(augment, name) for name in COLORS]
    change = color_map(pixels, draw, *limits, probability=augment.color_probability, shuffle=augment.channel_shuffle)
    return change(pixels)
