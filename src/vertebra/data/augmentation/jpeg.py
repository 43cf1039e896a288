"""Artifacts of JPEG compression."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from vertebra.preprocess.image_files import open_image

CHANNELS = (1, 3)


def compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """An image, compressed as JPEG and decoded.

    Args:
        pixels: (h, w, C) uint8, with 1 or 3 channels.
        quality: 1 to 100, as Pillow has it.
    """
    content = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(content, "jpeg", quality=quality)
    with open_image(content.getvalue(), "the compressed image") as picture:
        return np.array(picture).reshape(pixels.shape)
