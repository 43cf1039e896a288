"""Random changes of color as one linear map for each image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

GRAY = (0.2989, 0.587, 0.114)
# from RGB to luma and two chroma axes (NTSC), where a hue shift is a rotation
_TO_YIQ = np.array([GRAY, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])


def color_map(
    image: np.ndarray,
    draw: np.random.Generator,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    *,
    probability: float = 1.0,
    shuffle: float = 0.0,
) -> Callable[[np.ndarray], np.ndarray]:
    """A random change of brightness, contrast, saturation and hue, in this order.

    Brightness, contrast and saturation are those of torchvision's ``ColorJitter``; the hue is rotated in the chroma plane,
    which keeps the luma. All of them are linear, so they are combined into one matrix, with one 8-bit rounding and clipping.

    Args:
        image: (H, W, C) uint8; its mean gray is the fixed point of the contrast change.
        draw: the random generator; four numbers are drawn for any options, and further ones for those after the hue.
        brightness, contrast, saturation: maximum change of each, as a part of 1; saturation is for three channels only.
        hue: maximum rotation, as a part of a full turn; for three channels only.
        probability: of each of these changes.
        shuffle: probability that the channels change places.

    Returns:
        The change, from (H, W, C) uint8 to the same.
    """
    drawn = draw.uniform(-1.0, 1.0, 4)
    brighter, harder, purer, turn = drawn if probability == 1 else drawn * (draw.random(4) < probability)
    channels = image.shape[2]
    matrix = np.eye(channels)
    weights = np.full(channels, 1 / channels)
    if channels == 3:
        weights = np.array(GRAY)
        factor = 1 + purer * saturation
        matrix = factor * matrix + (1 - factor) * weights[None, :]
        matrix = hue_rotation(turn * hue) @ matrix
    light, hard = 1 + brighter * brightness, 1 + harder * contrast
    shift = 0.0 if hard == 1 else (1 - hard) * light * weighted_mean(image, weights)
    if shuffle and draw.random() < shuffle:
        matrix = matrix[draw.permutation(channels)]
    return lambda pixels: apply_matrix(pixels, light * hard * matrix, shift)


def hue_rotation(part: float) -> np.ndarray:
    """The (3, 3) matrix on RGB that rotates the hue by a part of a full turn and keeps the luma."""
    cosine, sine = math.cos(2 * math.pi * part), math.sin(2 * math.pi * part)
    rotation = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    matrix: np.ndarray = np.linalg.inv(_TO_YIQ) @ rotation @ _TO_YIQ
    return matrix


def weighted_mean(image: np.ndarray, weights: np.ndarray) -> float:
    """The mean of (H, W, C) uint8, with the weight of each channel."""
    height, width, channels = image.shape
    rows = image.reshape(height, width * channels) @ np.tile(weights, width).astype(np.float32)
    mean: float = rows.sum(dtype=np.float64).item() / (height * width)
    return mean


def apply_matrix(pixels: np.ndarray, matrix: np.ndarray, shift: float) -> np.ndarray:
    """``matrix @ pixel + shift`` for each pixel of (H, W, C) uint8, rounded and clipped to 8 bit."""
    if len(matrix) == 3:
        lines = np.concatenate([matrix, np.full((3, 1), shift)], axis=1)
        return np.array(Image.fromarray(pixels).convert("RGB", tuple(lines.reshape(-1).tolist())))
    linear = pixels.reshape(-1, len(matrix)) @ matrix.T.astype(np.float32) + np.float32(shift)
    changed: np.ndarray = np.rint(linear).clip(0, 255).astype(np.uint8).reshape(pixels.shape)
    return changed
