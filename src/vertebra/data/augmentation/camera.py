"""What a worse camera does to an image: blur, noise and compression, in this order."""

from __future__ import annotations

import math

import numpy as np

from vertebra.data.augmentation import jpeg
from vertebra.data.augmentation.blur import blurred
from vertebra.data.augmentation.noise import noisy
from vertebra.recipe.augment import Augment


def degraded(pixels: np.ndarray, augment: Augment, draw: np.random.Generator) -> np.ndarray:
    """An image (h, w, C) uint8 with random blur, noise and JPEG artifacts, each with its probability."""
    chances = (augment.blur, augment.noise, augment.jpeg)
    blur, noise, compression = (bool(chance) and draw.random() < chance for chance in chances)
    if blur:
        pixels = blurred(pixels, math.exp(draw.uniform(*np.log(augment.blur_sigma))))
    if noise:
        pixels = noisy(pixels, draw.uniform(*augment.noise_level), draw)
    if compression and pixels.shape[2] in jpeg.CHANNELS:
        pixels = jpeg.compressed(pixels, int(draw.integers(*augment.jpeg_quality, endpoint=True)))
    return pixels
