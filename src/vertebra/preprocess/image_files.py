"""Opens image files: the only place that does, with an allow list of formats and a limit on what a file may unpack to.

Pillow opens far more than pictures: for PostScript it starts Ghostscript, whatever the file's name is. Here a file is an
image of one of `FORMATS`, or it is refused.

A small file can describe a huge image. Before anything is decoded, the header must promise

- no more than `MAX_SIDE` pixels a side, and no more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` in all (Pillow's own limit,
  which a program may raise);
- an image that is decoded within `MEMORY` bytes, or a file with at least one byte for each `PIXELS_PER_BYTE` pixels, as
  photographs and satellite images have.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from vertebra.errors import DataError

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
LOADED_FORMATS = (*FORMATS, "MPO", "DIB")
MAX_SIDE = 1_000_000
MEMORY = 400_000_000
PIXELS_PER_BYTE = 64

# bytes for each pixel while an image is decoded and made an array of three channels, as measured: of formats that keep
# more than the pixels, and else by Pillow's mode
_BY_FORMAT = {"JPEG": 12, "MPO": 12, "AVIF": 14, "WEBP": 20, "JPEG2000": 24}
_BY_MODE = {"1": 4, "L": 4, "P": 4, "F": 12, "I": 12}
_COLOR = 8


def open_image(source: str | Path | bytes, name: str = "") -> ImageFile.ImageFile:
    """An image file with its header read and its pixels not yet; close it, best by ``with``.

    Args:
        source: a file, or the bytes of one.
        name: what to call it in messages; empty for its file, or what it is.

    Raises:
        DataError: the header promises more pixels than the limits allow.
        Exception: what Pillow raises on files that are missing, damaged, or of another format; see `unreadable`.
    """
    picture = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats())
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        _check(picture, size, name or name_of(source))
    except BaseException:
        picture.close()
        raise
    return picture


def check_opened(picture: Image.Image, name: str) -> None:
    """Refuses a picture that the caller opened, if decoding it would do more than that.

    Raises:
        DataError: it is of a format that is not in the allow list, and not decoded yet.
    """
    if getattr(picture, "tile", None) and picture.format not in LOADED_FORMATS:
        raise DataError(
            f"{name}: {picture.format} is no format that is read here; call its load() first, or save it as PNG"
        )


def unreadable(name: str, error: Exception) -> DataError:
    """What to tell of an image that Pillow cannot read."""
    if isinstance(error, DataError):
        return error
    if isinstance(error, FileNotFoundError):
        return DataError(f"{name}: no such image file")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{name}: a folder, not an image file")
    if isinstance(error, PermissionError):
        return DataError(f"{name}: this file may not be read; change its permissions")
    if isinstance(error, UnidentifiedImageError):
        return DataError(f"{name}: not an image that can be read; remove it, or save it as JPEG or PNG")
    if isinstance(error, Image.DecompressionBombError):
        return DataError(
            f"{name}: more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels; cut the image into smaller ones"
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{name}: damaged or cut off ({reason[:200]}); remove the file or copy it again")


def name_of(source: str | Path | bytes) -> str:
    """What to call a file in a message."""
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else str(source)


@cache
def _formats() -> tuple[str, ...]:
    """The formats of the allow list that this Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check(picture: Image.Image, file_bytes: int, name: str) -> None:
    """Weighs an image by its header."""
    width, height = picture.size
    pixels = width * height
    if not pixels:
        raise DataError(f"{name}: an image without pixels ({width}x{height}); remove it")
    if max(width, height) > MAX_SIDE:
        raise DataError(f"{name}: {width}x{height} pixels (width x height); a side may have {MAX_SIDE}. Cut the image")
    if Image.MAX_IMAGE_PIXELS is None:
        return
    most = 2 * Image.MAX_IMAGE_PIXELS
    if pixels > most:
        raise DataError(f"{name}: {width}x{height} pixels, more than {most} in all; cut the image into smaller ones")
    needed = pixels * max(_BY_FORMAT.get(picture.format or "", 0), _BY_MODE.get(picture.mode, _COLOR))
    if needed > MEMORY and pixels > PIXELS_PER_BYTE * file_bytes:
        raise DataError(
            f"{name}: {width}x{height} pixels (width x height) in a file of only {file_bytes} bytes, which may be a "
            "decompression bomb; cut the image into smaller ones, or save it as an uncompressed TIFF"
        )
