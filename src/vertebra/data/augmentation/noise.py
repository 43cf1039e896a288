"""Gaussian noise."""

from __future__ import annotations

import numpy as np


def noisy(pixels: np.ndarray, level: float, draw: np.random.Generator) -> np.ndarray:
    """An image with independent noise in each pixel and channel.

    Args:
        pixels: (h, w, C) uint8.
        level: standard deviation in gray levels.
        draw: the random generator.
    """
    noise = draw.standard_normal(pixels.shape, dtype=np.float32)
    noise *= level
    noise += pixels
    return np.rint(noise, out=noise).clip(0, 255, out=noise).astype(np.uint8)
