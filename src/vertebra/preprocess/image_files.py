"""Opens image files, with an allow list of formats and limits on the decoded size; no other module opens images.

Pillow opens more than pictures: for PostScript it starts Ghostscript, whatever the file's name is. Here only images of
`FORMATS` are accepted.

A small file can describe a huge image. Before decoding, the size in the header must meet these limits:

- at most `MAX_SIDE` pixels on each side, and at most twice ``PIL.Image.MAX_IMAGE_PIXELS`` in total (Pillow's limit, which
  a program may raise);
- at most `MEMORY` bytes when decoded, or a file with at least one byte for each `PIXELS_PER_BYTE` pixels, as photographs
  and satellite images have.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from vertebra.errors import DataError
from vertebra.shards.members import file_source

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
LOADED_FORMATS = (*FORMATS, "MPO", "DIB")
MAX_SIDE = 1_000_000
MEMORY = 400_000_000
PIXELS_PER_BYTE = 64

# measured peak bytes for each pixel while an image is decoded into an array of three channels: for formats with overhead, and
# otherwise by Pillow's mode
_BY_FORMAT = {"JPEG": 12, "MPO": 12, "AVIF": 14, "WEBP": 20, "JPEG2000": 24}
_BY_MODE = {"1": 4, "L": 4, "P": 4, "F": 12, "I": 12}
_COLOR = 8


def open_image(source: str | Path | bytes, name: str = "") -> ImageFile.ImageFile:
    """An image file whose header is read and whose pixels are not yet decoded; close it, preferably by ``with``.

    Args:
        source: a file, also one in a tar archive (see `vertebra.shards.members`), or the bytes of one.
        name: its name in messages; empty for the path, or a description.

    Raises:
        DataError: the header exceeds the limits, or an archive cannot be read.
        Exception: raised by Pillow for files that are missing, damaged, or of another format; see `unreadable`.
    """
    name = name or name_of(source)
    source = file_source(source)
    picture = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats())
    if picture.format == "TIFF":
        picture.filename = ""  # Pillow maps uncompressed files by name, with exchanged sides where they are turned
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        check_size(picture.size, picture.format or "", picture.mode, size, name)
    except BaseException:
        picture.close()
        raise
    return picture


def check_opened(picture: Image.Image, name: str) -> None:
    """Refuses a picture that the caller opened in a format that is not allowed.

    Raises:
        DataError: its format is not in the allow list, and it is not decoded yet.
    """
    if getattr(picture, "tile", None) and picture.format not in LOADED_FORMATS:
        raise DataError(f"{name}: {picture.format} is not a supported format; call its load() first, or save it as PNG")


def unreadable(name: str, error: Exception) -> DataError:
    """The error for an image that Pillow cannot read."""
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
    """The name of a file in messages."""
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else str(source)


@cache
def _formats() -> tuple[str, ...]:
    """The formats of the allow list that the installed Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def check_size(size: tuple[int, int], kind: str, mode: str, file_bytes: int, name: str, band_bytes: int = 0) -> None:
    """Checks the limits against an image's header.

    Args:
        size: (width, height) in pixels.
        kind: Pillow's name of the file's format.
        mode: Pillow's mode of the image.
        file_bytes: of the file.
        name: for messages.
        band_bytes: bytes of a pixel where it has no mode of Pillow's.

    Raises:
        DataError: it exceeds a limit.
    """
    width, height = size
    pixels = width * height
    if not pixels:
        raise DataError(f"{name}: an image without pixels ({width}x{height}); remove it")
    if max(width, height) > MAX_SIDE:
        raise DataError(f"{name}: {width}x{height} pixels (width x height); a side may have {MAX_SIDE}. Cut the image")
    if Image.MAX_IMAGE_PIXELS is None:
        return
    max_pixels = 2 * Image.MAX_IMAGE_PIXELS
    if pixels > max_pixels:
        raise DataError(
            f"{name}: {width}x{height} pixels, more than {max_pixels} in all; cut the image into smaller ones"
        )
    needed = pixels * max(_BY_FORMAT.get(kind, 0), _BY_MODE.get(mode, _COLOR), 2 * band_bytes)
    if needed > MEMORY and pixels > PIXELS_PER_BYTE * file_bytes:
        raise DataError(
            f"{name}: {width}x{height} pixels (width x height) in a file of only {file_bytes} bytes, which may be a "
            "decompression bomb; cut the image into smaller ones, or save it as an uncompressed TIFF"
        )
