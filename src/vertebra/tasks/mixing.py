"""How the annotations of several images on the canvas become those of one: mosaic, mix-up, cut-mix and copy-paste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class MosaicTile(NamedTuple):
    """One image of a mosaic.

    Attributes:
        annotation: in pixels of the tile.
        top, left: of the tile on the canvas, in pixels.
        size: (height, width) of the tile in pixels.
    """

    annotation: Any
    top: int
    left: int
    size: tuple[int, int]


class Rectangle(NamedTuple):
    """A part of the canvas, in whole pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


class Mixing:
    """Operations on the annotations of several images on the canvas, in canvas pixels; numpy only.

    Attributes:
        operations: the options of `vertebra.recipe.augment.Augment` that the task supports, of "mosaic", "mixup", "cutmix"
            and "copy_paste"; the method of the same name is called only then.
    """

    operations: frozenset[str] = frozenset()

    def mosaic(self, tiles: Sequence[MosaicTile], canvas: tuple[int, int], labels: Any) -> Any:
        """The annotation of tiles side by side on a canvas of (height, width)."""
        raise NotImplementedError(f"{type(self).__name__} does not support mosaic")

    def mixup(self, first: Any, second: Any, share: float, labels: Any) -> Any:
        """The annotation of two images laid over each other; ``share`` is the weight of the first."""
        raise NotImplementedError(f"{type(self).__name__} does not support mixup")

    def cutmix(self, first: Any, second: Any, rectangle: Rectangle, share: float, labels: Any) -> Any:
        """The annotation of the first image with a rectangle of the second one, at the same position.

        Args:
            first, second: the annotations.
            rectangle: shows the second image.
            share: of the valid pixels that show the first image.
            labels: the task's labels.
        """
        raise NotImplementedError(f"{type(self).__name__} does not support cutmix")

    def copy_paste(self, first: Any, second: Any, draw: np.random.Generator, labels: Any) -> tuple[np.ndarray, Any]:
        """Pastes objects of the second image into the first one.

        Args:
            first, second: the annotations.
            draw: chooses the objects.
            labels: the task's labels.

        Returns:
            (height, width) bool of the canvas, the pixels that are copied; and the annotation.
        """
        raise NotImplementedError(f"{type(self).__name__} does not support copy_paste")
