"""An image of a training set, which is decoded when its crop is known: at a reduced scale where the crop is shown smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import local
from typing import Protocol

import numpy as np
from PIL import Image

from vertebra.preprocess import jpeg
from vertebra.preprocess.channels import to_channels
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_files import unreadable
from vertebra.preprocess.images import ImageSource, read_image, source_name
from vertebra.preprocess.number_range import Scale
from vertebra.preprocess.raw_images import turned
from vertebra.shards.members import file_source

KEPT = 50_000_000  # bytes of pixels that a thread keeps at most


class LazyImage(Protocol):
    """An image whose size is known, and whose pixels are loaded when they are asked for."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the whole image."""

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that it keeps."""

    def decoded(self) -> np.ndarray:
        """The whole image, (H, W, channels) uint8."""

    def window(self, window: CropWindow) -> tuple[CropWindow, int]:
        """A crop window whose edges are whole pixels of the reduced image that suffices for it, and the factor of that image."""

    def reduced(self, factor: int) -> np.ndarray:
        """The image at 1/``factor``, (ceil(H / factor), ceil(W / factor), channels) uint8, to be used at once and not changed."""


class DeferredImage:
    """An image whose size is known and whose pixels are decoded later.

    JPEG files are decoded when their pixels are asked for, at 1/2, 1/4 or 1/8 where that is enough for a crop; all other images
    are decoded here.

    Args:
        source: a file, its bytes, or any other image of `vertebra.preprocess.images.read_image`.
        channels: number of channels of the model's input.
        name: its name in messages; empty for the path, or a description.
        scale: the range of numbers of more than 8 bits.
        reduce: whether JPEG files may be decoded at a reduced scale.

    Attributes:
        size: (height, width) in pixels, upright.
        channels: number of channels.

    Raises:
        DataError: see `read_image`; also from `decoded` and `reduced`.
    """

    def __init__(
        self, source: ImageSource, channels: int = 3, name: str = "", scale: Scale = "auto", *, reduce: bool = True
    ) -> None:
        self.name, self.channels, self.scale, self.reduce = name or source_name(source), channels, scale, reduce
        self._source, self._content, self._header = source, *self._read_header(source)
        self._pixels: np.ndarray | None = None
        if self._header is None:
            self.size = (self.decoded().shape[0], self.decoded().shape[1])
        else:
            self.size = self._header.upright_size

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the whole image."""
        return (*self.size, self.channels)

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that it keeps."""
        return len(self._content or b"") + (0 if self._pixels is None else self._pixels.nbytes)

    def decoded(self) -> np.ndarray:
        """The whole image, (H, W, channels) uint8."""
        if self._pixels is None:
            source = self._source if self._content is None else self._content
            self._pixels = read_image(source, self.channels, self.name, self.scale)
        return self._pixels

    def window(self, window: CropWindow) -> tuple[CropWindow, int]:
        """A crop window whose edges are whole pixels of the reduced image that suffices for it, and the factor of that image.

        Both sides are the same where the image is not reduced. Else the window becomes smaller by less than ``factor`` pixels
        on each side, which is less than a pixel of the canvas.
        """
        return reduced_window(window) if self.reducible else (window, 1)

    def reduced(self, factor: int) -> np.ndarray:
        """The image at 1/1, 1/2, 1/4 or 1/8: each pixel covers a square of ``factor`` pixels from the top left.

        The pixels of the next image that a thread decodes may take the place of these, so they are to be used at once.

        Returns:
            (ceil(H / factor), ceil(W / factor), channels) uint8.
        """
        if self._content is None or self._header is None or self._pixels is not None:
            return self._shrunk(factor)
        pixels = jpeg.decode(self._content, self._header, factor, _buffer(self._header, factor))
        if pixels is None:  # as Pillow decodes it, or refuses it
            return self._shrunk(factor)
        return to_channels(turned(pixels, self._header.orientation), self.channels, self.name)

    def _shrunk(self, factor: int) -> np.ndarray:
        """The whole image, reduced afterwards."""
        whole = self.decoded()
        if factor == 1:
            return whole
        picture = Image.fromarray(whole if self.channels == 3 else whole[:, :, 0])
        return np.asarray(picture.reduce(factor)).reshape(-1, -(-self.size[1] // factor), self.channels)

    def _read_header(self, source: ImageSource) -> tuple[bytes | None, jpeg.JpegHeader | None]:
        """The content and the header of a JPEG file that can be decoded later."""
        if not isinstance(source, (str, Path, bytes)) or self.channels not in (1, 3):
            return None, None
        try:
            _, content = jpeg.file_head(file_source(source))
            return content, None if content is None else jpeg.read_header(content, self.name)
        except Exception as error:  # Pillow raises a dozen types on damaged files
            raise unreadable(self.name, error) from error

    @property
    def reducible(self) -> bool:
        """Whether it can be decoded at a reduced scale, and begins at the upright image's top left corner then."""
        if not self.reduce or self._header is None or self._pixels is not None:
            return False
        return self._header.reducible


ImageLike = np.ndarray | LazyImage


def reduced_window(window: CropWindow) -> tuple[CropWindow, int]:
    """A crop window on whole pixels of a reduced image, and the factor of that image; see `LazyImage.window`."""
    factor = jpeg.reduction((window.height, window.width), window.unturned)
    if factor == 1:
        return window, 1
    top, left = -(-window.top // factor) * factor, -(-window.left // factor) * factor
    bottom = (window.top + window.height) // factor * factor
    right = (window.left + window.width) // factor * factor
    return replace(window, top=top, left=left, height=bottom - top, width=right - left), factor


def as_pixels(image: ImageLike) -> np.ndarray:
    """The pixels (H, W, C) uint8 of an image, decoded if necessary."""
    return image if isinstance(image, np.ndarray) else image.decoded()


_BUFFERS = local()


def _buffer(header: jpeg.JpegHeader, factor: int) -> np.ndarray:
    """Bytes for the pixels of an image, the same for all images of a thread: fresh memory costs more than the pixels."""
    height, width = (-(-side // factor) for side in header.size)
    needed = height * width * header.channels
    buffer: np.ndarray | None = getattr(_BUFFERS, "buffer", None)
    if buffer is None or len(buffer) < needed:
        buffer = np.empty(needed, dtype=np.uint8)
        if needed <= KEPT:
            _BUFFERS.buffer = buffer
    return buffer
