"""Colors of classes: distinct, safe for color-blind readers, and fixed for each class id."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Color = tuple[int, int, int]

SIZE = 256

# Okabe and Ito, Color Universal Design, 2008 (without black): in an order that keeps the first ones distinct.
_FIRST: tuple[Color, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
)

# Linear RGB as seen without the L or the M cone: Machado et al., A Physiologically-based Model for Simulation of
# Color Vision Deficiency, IEEE TVCG 2009, severity 1.
_PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
_DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))


def color(class_id: int) -> Color:
    """The color of a class, as 8-bit RGB; ids 256 apart share one."""
    return palette()[class_id % SIZE]


@lru_cache(maxsize=1)
def palette() -> tuple[Color, ...]:
    """All 256 colors, in the order of class ids.

    After the first seven, each color is the one of a grid with the largest distance from all colors before it, where distance
    is the minimum over normal sight, protanopia and deuteranopia. Very dark, very light and grayish colors are left out.
    """
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 17)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lab = _oklab(_linear(grid))
    vivid = (np.hypot(lab[:, 1], lab[:, 2]) > 0.07) & (lab[:, 0] > 0.5) & (lab[:, 0] < 0.92)
    grid = grid[vivid]
    chosen = [np.asarray(first) for first in _FIRST]
    views = _views(grid)
    distance = np.min([_distance(views, _views(first[None])) for first in chosen], axis=0)
    while len(chosen) < SIZE:
        farthest = int(distance.argmax())
        chosen.append(grid[farthest])
        distance = np.minimum(distance, _distance(views, views[:, farthest : farthest + 1]))
    return tuple((int(red), int(green), int(blue)) for red, green, blue in chosen)


def text_color(background: Color) -> Color:
    """Black or white, whichever has more contrast on a background (WCAG 2)."""
    luminance = float(_linear(np.asarray([background]))[0] @ (0.2126, 0.7152, 0.0722))
    on_white, on_black = 1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05
    return (255, 255, 255) if on_white > on_black else (0, 0, 0)


def _linear(rgb: np.ndarray) -> np.ndarray:
    """Linear light (M, 3) of 8-bit sRGB (M, 3)."""
    value = rgb / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _oklab(linear: np.ndarray) -> np.ndarray:
    """Oklab (M, 3) of linear RGB (M, 3): Ottosson, A perceptual color space for image processing, 2020."""
    cones = linear @ [
        [0.4122214708, 0.2119034982, 0.0883024619],
        [0.5363325363, 0.6806995451, 0.2817188376],
        [0.0514459929, 0.1073969566, 0.6299787005],
    ]
    return np.asarray(
        np.cbrt(cones)
        @ [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


def _views(rgb: np.ndarray) -> np.ndarray:
    """Oklab (3, M, 3) of 8-bit colors (M, 3), for normal sight, protanopia and deuteranopia."""
    linear = _linear(rgb)
    linear_views = [linear, *(np.clip(linear @ np.asarray(matrix).T, 0, 1) for matrix in (_PROTANOPIA, _DEUTERANOPIA))]
    return np.stack([_oklab(view) for view in linear_views])


def _distance(views: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distance (M,) of colors from one other color, the minimum over the three kinds of sight."""
    return np.asarray(np.linalg.norm(views - other, axis=-1).min(axis=0))
