"""Overlapping tiles of large images, which keep small objects at their original size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vertebra.errors import ConfigError


class Tile(NamedTuple):
    """A part of an image, in whole image pixels.

    Attributes:
        top, left, height, width: its position and size.
        image: (height, width) of the image.
    """

    top: int
    left: int
    height: int
    width: int
    image: tuple[int, int]

    @property
    def whole(self) -> bool:
        """Whether it covers the whole image."""
        return (self.height, self.width) == self.image

    @property
    def box(self) -> tuple[int, int, int, int]:
        """xyxy in image pixels."""
        return self.left, self.top, self.left + self.width, self.top + self.height

    def of(self, image: np.ndarray) -> np.ndarray:
        """Its pixels (height, width, C), a view of the image's (H, W, C)."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Grid:
    """Tiles of one size that cover an image exactly, with equal overlaps (within rounding) along each axis.

    Attributes:
        image: (height, width) of the image in pixels.
        tile: (height, width) of each tile; at most those of the image.
        tops, lefts: the starts of rows and columns of tiles.
    """

    image: tuple[int, int]
    tile: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def __iter__(self) -> Iterator[Tile]:
        """The tiles, row by row."""
        for top in self.tops:
            for left in self.lefts:
                yield Tile(top, left, *self.tile, self.image)

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.tops) * len(self.lefts)


def grid(image: tuple[int, int], tile: int, overlap: float) -> Grid:
    """The smallest number of tiles that cover an image with a minimum overlap.

    Args:
        image: (height, width) in pixels.
        tile: length of a tile's sides in pixels.
        overlap: minimum overlap of neighbors, as a part of the side.

    Raises:
        ConfigError: the options are out of range.
    """
    check_tiles(tile, overlap)
    height, width = image
    sides = (min(tile, height), min(tile, width))
    return Grid(image, sides, _starts(height, tile, overlap), _starts(width, tile, overlap))


def check_tiles(tile: int, overlap: float) -> None:
    """Checks the options of a grid.

    Raises:
        ConfigError: an option is out of range.
    """
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < 8:
        raise ConfigError(f"'tile' must be the side of a tile in whole pixels, 8 or more, got {tile}")
    if not 0 < overlap <= 0.8:
        raise ConfigError(
            f"'overlap' must be above 0 and at most 0.8 of a tile, got {overlap}: objects cut by a tile's edge are "
            "merged in the overlap"
        )


def _starts(length: int, tile: int, overlap: float) -> tuple[int, ...]:
    """The starts of tiles along one axis."""
    if length <= tile:
        return (0,)
    step = tile - math.ceil(tile * overlap)
    count = 1 + math.ceil((length - tile) / step)
    return tuple(round(number * (length - tile) / (count - 1)) for number in range(count))
