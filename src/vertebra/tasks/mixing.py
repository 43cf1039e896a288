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


class Paste(NamedTuple):
    """What copy-paste does to the canvas and to the objects of the annotation that chose what is pasted.

    Attributes:
        region: (height, width) bool, the pixels that are copied from the second image.
        before: (M, 4) xyxy, the boxes of the objects of the first image.
        after: (M, 4), the boxes around what remains of them; nan for those of which too little does.
        pasted: (P, 4), the boxes of the pasted objects.
    """

    region: np.ndarray
    before: np.ndarray = np.zeros((0, 4))
    after: np.ndarray = np.zeros((0, 4))
    pasted: np.ndarray = np.zeros((0, 4))


class Mixing:
    """Operations on the annotations of several images on the canvas, in canvas pixels; numpy only.

    Attributes:
        operations: the options of `vertebra.recipe.augment.Augment` that the task supports, of "mosaic", "mixup", "cutmix"
            and "copy_paste"; the method of the same name is called only then.
        follows_paste: whether the annotation can follow the objects that another annotation of the image pastes, by `follow_paste`.
    """

    operations: frozenset[str] = frozenset()
    follows_paste: bool = False

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

    def copy_paste(self, first: Any, second: Any, draw: np.random.Generator, labels: Any) -> tuple[Paste, Any]:
        """Pastes objects of the second image into the first one.

        Args:
            first, second: the annotations.
            draw: chooses the objects.
            labels: the task's labels.

        Returns:
            What is pasted, and the annotation.
        """
        raise NotImplementedError(f"{type(self).__name__} does not support copy_paste")

    def follow_paste(self, first: Any, second: Any, paste: Paste, labels: Any) -> Any:
        """The annotation of the first image with the objects of the second one that another annotation of both pastes.

        Args:
            first, second: the annotations.
            paste: what is pasted.
            labels: the task's labels.
        """
        raise NotImplementedError(f"{type(self).__name__} does not follow pasted objects")
