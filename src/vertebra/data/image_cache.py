"""Keeps decoded images, so that later epochs do not decode them again.

Each image has room for its pixels at those scales that the augmentation asks for, and is decoded when it is first needed. The
pixels are the same as without a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vertebra.data.pixel_storage import PixelStorage
from vertebra.errors import DataError
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.deferred_image import DeferredImage, reduced_window

FACTORS = (1, 2, 4, 8)
ALIGNMENT = 64  # bytes


class ImageSizes(NamedTuple):
    """The images of a data set, and the scales at which they are kept.

    Attributes:
        sizes: (n, 2) int64 (height, width); 0 for an image that is not kept.
        reducible: (n,) bool, whether it can be decoded at a reduced scale.
        factors: (n, 4) bool, at which of `FACTORS` it is kept.
    """

    sizes: np.ndarray
    reducible: np.ndarray
    factors: np.ndarray

    def bytes_needed(self, channels: int) -> np.ndarray:
        """(n, 4) int64 bytes of each image at each scale."""
        sides = -(-self.sizes[:, None, :] // np.array(FACTORS)[None, :, None])
        needed = -(-sides.prod(axis=2) * channels // ALIGNMENT) * ALIGNMENT
        kept: np.ndarray = np.where(self.factors, needed, 0)
        return kept


class ImageCache:
    """The decoded images of a data set.

    Args:
        images: their sizes and scales.
        channels: of the images.
        storage: has room for all of them from ``start`` on.
        start: first byte.
        first: number of the first part.
    """

    def __init__(
        self, images: ImageSizes, channels: int, storage: PixelStorage, start: int = 0, first: int = 0
    ) -> None:
        needed = images.bytes_needed(channels)
        self.images, self.channels, self.storage, self.first = images, channels, storage, first
        ends = np.cumsum(needed.reshape(-1))
        self._starts = (start + ends - needed.reshape(-1)).reshape(needed.shape)
        self._checked = np.zeros(needed.size, dtype=bool)  # by this process

    def image(self, row: int, load: Callable[[], DeferredImage]) -> CachedImage | None:
        """An image; None if it is not kept.

        Args:
            row: of the image.
            load: opens it.
        """
        return CachedImage(self, row, load) if self.images.sizes[row, 0] else None

    def shape(self, row: int, factor: int) -> tuple[int, int, int]:
        """(height, width, channels) at a scale."""
        height, width = (-(-int(side) // factor) for side in self.images.sizes[row])
        return height, width, self.channels

    def get(self, row: int, factor: int) -> np.ndarray | None:
        """The pixels of an image at a scale, not to be changed; None if they are not there yet."""
        column = FACTORS.index(factor)
        part = row * len(FACTORS) + column
        expected = int(self.storage.checks[self.first + part])
        if not expected:
            return None
        shape = self.shape(row, factor)
        pixels = self.storage.view(int(self._starts[row, column]), shape[0] * shape[1] * shape[2])
        if not self._checked[part]:
            if _checksum(pixels) != expected:  # not completely written, by a run that was killed
                return None
            self._checked[part] = True
        return pixels.reshape(shape)

    def put(self, row: int, factor: int, pixels: np.ndarray) -> None:
        """Keeps the pixels of an image at a scale, if it has room for that."""
        column = FACTORS.index(factor)
        if not self.images.factors[row, column] or pixels.shape != self.shape(row, factor):
            return
        flat = np.ascontiguousarray(pixels).reshape(-1)
        if self.storage.write(int(self._starts[row, column]), flat):
            self.storage.checks[self.first + row * len(FACTORS) + column] = _checksum(flat)


class CachedImage:
    """An image of a cache, decoded from its file where the cache lacks it; see `vertebra.preprocess.deferred_image.LazyImage`.

    Args:
        cache: of its data set.
        row: of the image.
        load: opens its file.
    """

    held_bytes = 0

    def __init__(self, cache: ImageCache, row: int, load: Callable[[], DeferredImage]) -> None:
        self._cache, self._row, self._load = cache, row, load
        self.shape = cache.shape(row, 1)

    def decoded(self) -> np.ndarray:
        """The whole image, which may be changed.

        Raises:
            DataError: it cannot be read.
        """
        whole: np.ndarray = self.reduced(1).copy()
        return whole

    def window(self, window: CropWindow) -> tuple[CropWindow, int]:
        """The window that the image without a cache would have."""
        return reduced_window(window) if self._cache.images.reducible[self._row] else (window, 1)

    def reduced(self, factor: int) -> np.ndarray:
        """The image at 1/``factor``.

        Raises:
            DataError: it cannot be read, or its file has changed.
        """
        pixels = self._cache.get(self._row, factor)
        if pixels is None:
            image = self._load()
            if image.shape != self.shape:
                raise DataError(f"{image.name}: the file has changed since the run began")
            pixels = image.reduced(factor)
            self._cache.put(self._row, factor, pixels)
        return pixels


def _checksum(flat: np.ndarray) -> int:
    """A number above 0 from bytes (n,) uint8."""
    whole = len(flat) // 8 * 8
    total = int(flat[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(flat[whole:].sum(dtype=np.uint64))
    return (2 * total + 1) % 2**64
