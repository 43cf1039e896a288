"""Resamples crops of images as tensors, for training: bilinear, antialiased when shrinking, as `images.resize` does with Pillow.

torch resamples uint8 in the layout of a decoded image (H, W, C) with vector instructions, about four times as fast as Pillow.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F


def crop_resize(image: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """A crop of an image, resized.

    Args:
        image: (H, W, C) uint8.
        box: (left, top, right, bottom) in whole pixels, inside the image. Pixels outside do not count.
        size: (height, width) of the result in pixels.

    Returns:
        (C, height, width) uint8, within one gray level of Pillow's bilinear resize of the crop.
    """
    left, top, right, bottom = box
    crop = torch.from_numpy(image)[top:bottom, left:right].permute(2, 0, 1)
    if crop.shape[1:] == size:
        return crop.clone()  # never a view of the image, whose memory may be used again
    resized: Tensor = F.resize(crop, list(size), antialias=True)
    return resized
