"""What a worse camera does to an image: blur, noise and compression, in this order."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from vertebra.data.augmentation import jpeg
from vertebra.data.augmentation.blur import blurred
from vertebra.data.augmentation.noise import noisy
from vertebra.recipe.augment import Augment


def degraded(pixels: Tensor, augment: Augment, draw: np.random.Generator) -> Tensor:
    """An image (C, h, w) uint8 with random blur, noise and JPEG artifacts, each with its probability."""
    blur, noise, compression = (
        bool(chance) and draw.random() < chance for chance in (augment.blur, augment.noise, augment.jpeg)
    )
    compression = compression and pixels.shape[0] in jpeg.CHANNELS
    if not (blur or noise or compression):
        return pixels
    image = np.ascontiguousarray(pixels.numpy().transpose(1, 2, 0))
    if blur:
        image = blurred(image, math.exp(draw.uniform(*np.log(augment.blur_sigma))))
    if noise:
        image = noisy(image, draw.uniform(*augment.noise_level), draw)
    if compression:
        image = jpeg.compressed(image, int(draw.integers(*augment.jpeg_quality, endpoint=True)))
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
