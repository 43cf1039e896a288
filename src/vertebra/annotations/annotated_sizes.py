"""Brings annotations to the size of their image, where they were made for another size or before it was turned upright."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vertebra.annotations.table import Annotations
from vertebra.errors import DataError
from vertebra.preprocess.images import exif_orientation, resize_labels

TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that exchange width and height
# x and y in an upright image, from (x, y, 1) in a stored one of unit width and height
_UPRIGHT = {
    5: ((0, 1, 0), (1, 0, 0)),
    6: ((0, -1, 1), (1, 0, 0)),
    7: ((0, -1, 1), (-1, 0, 1)),
    8: ((0, 1, 0), (-1, 0, 1)),
}


@dataclass(frozen=True, eq=False)
class SizeChange:
    """The way from the size that annotations were made for to the image's.

    Attributes:
        source, size: (height, width) that they were made for, and of the image.
        orientation: the EXIF orientation by which the image was turned since, 1 for none.
    """

    source: tuple[int, int]
    size: tuple[int, int]
    orientation: int = 1

    @property
    def done(self) -> str:
        """The change in words; empty if there is none."""
        if self.orientation != 1:
            return "turned"
        return "scaled" if self.source != self.size else ""

    @property
    def area_factor(self) -> float:
        """By which areas grow."""
        return (self.size[0] * self.size[1]) / (self.source[0] * self.source[1])

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Positions (..., 2) of x, y in pixels of the image."""
        if not self.done:
            return xy
        matrix = np.array(_UPRIGHT.get(self.orientation, ((1, 0, 0), (0, 1, 0))), dtype=np.float64)
        unit = xy / [self.source[1], self.source[0]]
        moved: np.ndarray = (unit @ matrix[:, :2].T + matrix[:, 2]) * [self.size[1], self.size[0]]
        return moved.astype(xy.dtype)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (B, 4), xyxy, in pixels of the image."""
        if not self.done:
            return boxes
        corners = self.points(boxes.reshape(-1, 2, 2))
        moved: np.ndarray = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        return moved

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask (H, W) in pixels of the image."""
        if self.orientation in (5, 7):
            mask = mask.T if self.orientation == 5 else mask[::-1, ::-1].T
        elif self.orientation in (6, 8):
            mask = np.rot90(mask, -1 if self.orientation == 6 else 1)
        return resize_labels(mask, self.size)


@dataclass(frozen=True, eq=False)
class AnnotatedSizes:
    """The sizes that the annotations of images were made for.

    Attributes:
        root: folder that the image paths are relative to.
        images: (n,) bytes (dtype ``S``), paths; their EXIF orientation is read where width and height are exchanged.
        sizes: (n, 2) int32 (height, width), 0 if unknown.
    """

    root: Path
    images: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, annotations: Annotations) -> AnnotatedSizes | None:
        """Those of a data set; None if its files have none."""
        if not annotations.sizes.any():
            return None
        return cls(annotations.root, annotations.images, annotations.sizes.astype(np.int32))

    def take(self, rows: np.ndarray) -> AnnotatedSizes:
        """Those of some images only."""
        return replace(self, images=self.images[rows], sizes=self.sizes[rows])

    def change(self, row: int, size: tuple[int, int]) -> SizeChange:
        """The way to an image's (height, width).

        Raises:
            DataError: the image is neither scaled nor turned by its EXIF orientation.
        """
        source = (int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        if 0 in source or source == size:
            return SizeChange(size, size)
        if _is_scaled(source[::-1], size):
            orientation = exif_orientation(self.root / os.fsdecode(self.images[row]))
            if orientation in TURNED and (source[::-1] == size or not _is_scaled(source, size)):
                return SizeChange(source, size, orientation)
        if _is_scaled(source, size):
            return SizeChange(source, size)
        raise DataError(
            f"annotated for {source[0]}x{source[1]}, but the image is {size[0]}x{size[1]} (height x width), which is neither "
            "that size scaled nor turned by EXIF; correct the size in the annotations, or use the image they were made for"
        )


def size_change(annotated: AnnotatedSizes | None, row: int, size: tuple[int, int]) -> SizeChange:
    """The way to an image's (height, width), none if the sizes are not known; raises as `AnnotatedSizes.change` does."""
    return SizeChange(size, size) if annotated is None else annotated.change(row, size)


def _is_scaled(source: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a size is another one scaled, within a pixel of rounding."""
    by_width = abs(source[0] * size[1] / source[1] - size[0]) <= 1
    return by_width or abs(source[1] * size[0] / source[0] - size[1]) <= 1
