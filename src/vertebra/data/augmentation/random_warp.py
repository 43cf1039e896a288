"""Random rotation by any angle, and random perspective."""

from __future__ import annotations

import numpy as np

from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.warp import Warp, homography, rotation
from vertebra.recipe.augment import Augment

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def random_warp(window: CropWindow, size: tuple[int, int], augment: Augment, draw: np.random.Generator) -> Warp:
    """A window with a rotation around its center and a shift of its corners; the parts of the image around it come in.

    Args:
        window: with its mirroring and turns.
        size: (height, width) of the image.
        augment: with ``rotate`` and ``perspective``.
        draw: the random generator.
    """
    height, width = window.out
    degrees, shifts = draw.uniform(-1.0, 1.0) * augment.rotate, draw.uniform(-1.0, 1.0, (4, 2)) * augment.perspective
    sides = np.array([width, height])
    matrix = rotation(degrees, (width / 2, height / 2)) @ window.matrix
    if augment.perspective:
        matrix = homography(CORNERS * sides, (CORNERS + shifts) * sides) @ matrix
    return Warp(matrix, size, window.out)
