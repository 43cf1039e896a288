"""Gaussian blur."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """An image blurred by Pillow, with repeated box filters that are close to a Gaussian.

    Args:
        pixels: (h, w, C) uint8.
        sigma: standard deviation in pixels.
    """
    blur = ImageFilter.GaussianBlur(sigma)
    if pixels.shape[2] == 3:
        return np.array(Image.fromarray(pixels).filter(blur))
    layers = [Image.fromarray(np.ascontiguousarray(pixels[:, :, channel])) for channel in range(pixels.shape[2])]
    return np.stack([np.array(layer.filter(blur)) for layer in layers], axis=-1)
