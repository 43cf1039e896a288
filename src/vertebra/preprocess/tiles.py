"""Large images in overlapping parts, so that small things are seen at their own size."""

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
        top, left, height, width: where it lies.
        image: (height, width) of the image.
    """

    top: int
    left: int
    height: int
    width: int
    image: tuple[int, int]

    @property
    def whole(self) -> bool:
        """Whether it is all of the image."""
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
    """Tiles of one size that cover an image exactly: the same overlap, to the pixel, between neighbors along an axis.

    Attributes:
        image: (height, width) of the image in pixels.
        tile: (height, width) of each tile; the image's own where that is smaller.
        tops, lefts: where rows and columns of tiles begin.
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
    """The fewest tiles that cover an image and overlap by at least as much as is wanted.

    Args:
        image: (height, width) in pixels.
        tile: length of a tile's sides in pixels.
        overlap: least overlap of neighbors, as a part of the side.

    Raises:
        ConfigError: there is no such grid.
    """
    check_tiles(tile, overlap)
    height, width = image
    sides = (min(tile, height), min(tile, width))
    return Grid(image, sides, _starts(height, tile, overlap), _starts(width, tile, overlap))


def check_tiles(tile: int, overlap: float) -> None:
    """Whether a grid can be made of these.

    Raises:
        ConfigError: it cannot.
    """
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < 8:
        raise ConfigError(f"'tile' must be the side of a tile in whole pixels, 8 or more, got {tile}")
    if not 0 < overlap <= 0.8:
        raise ConfigError(
            f"'overlap' must be above 0 and at most 0.8 of a tile, got {overlap}: what a seam cuts is put together where "
            "both tiles see it"
        )


def _starts(length: int, tile: int, overlap: float) -> tuple[int, ...]:
    """Where tiles begin along one axis."""
    if length <= tile:
        return (0,)
    step = tile - math.ceil(tile * overlap)
    count = 1 + math.ceil((length - tile) / step)
    return tuple(round(number * (length - tile) / (count - 1)) for number in range(count))
