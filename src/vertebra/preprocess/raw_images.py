"""The numbers of images that are more than 8-bit gray, RGB or RGBA, as far as Pillow decodes them.

Pillow reads gray images of any depth. Of 16-bit color it keeps the high bytes. Its decoders take the byte order as an argument,
so such an image is decoded twice here, once for the high and once for the low bytes: that reads all compressions of PNG and
TIFF without another decoder.
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps

from vertebra.preprocess.image_files import open_image

ORIENTATION = 0x0112
BITS, PHOTOMETRIC, SAMPLES, PLANES, FORMAT = 258, 262, 277, 284, 339  # tags of TIFF files
ALPHA = (1, 2, 999)  # of the tag ExtraSamples; 999 is CorelDRAW's

_EXTRA = 338
_PNG_DEPTH, _PNG_COLOR = 24, 25  # positions of bit depth and color type in a PNG file
_TURNS = {  # of the tag Orientation: (transposed, mirrored, flipped), to undo in this order
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


class RawImage(NamedTuple):
    """An upright image as its file has it.

    Attributes:
        values: (H, W, C) of any number type.
        transparent: whether the last channel is transparency.
        pages: number of pages that the channels are from; 0 for an array.
    """

    values: np.ndarray
    transparent: bool = False
    pages: int = 1


def upright(picture: Image.Image) -> Image.Image:
    """A loaded Pillow image, turned by its orientation tag."""
    return ImageOps.exif_transpose(picture) if picture.getexif().get(ORIENTATION, 1) != 1 else picture


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, C) as stored, turned upright by the number of the tag Orientation."""
    transposed, mirrored, flipped = _TURNS.get(orientation, (False, False, False))
    pixels = pixels.swapaxes(0, 1) if transposed else pixels
    return pixels[:: -1 if flipped else 1, :: -1 if mirrored else 1]


def raw_picture(picture: Image.Image) -> RawImage | None:
    """The numbers of a loaded Pillow image; None if it has 8 bits a channel."""
    if not (picture.mode.startswith("I") or picture.mode == "F"):
        return None
    pixels = np.asarray(picture)
    if picture.mode == "I" and picture.format in ("PNG", "PPM", "JPEG2000"):  # they have 16 bits at most
        pixels = pixels.astype(np.uint16)
    return RawImage(pixels.astype(pixels.dtype.newbyteorder("="), copy=False)[:, :, None])


def raw_page(picture: ImageFile.ImageFile, source: str | Path | bytes, name: str, number: int = 0) -> RawImage | None:
    """The numbers of an image file that Pillow opened; None if it has 8 bits a channel.

    Args:
        picture: not yet decoded.
        source: its file, or the bytes of it.
        name: for messages.
        number: of its page.
    """
    mode, transparency = raw_mode(picture), picture.info.get("transparency")
    if mode == "LA;16B" and picture.format == "PNG":
        return _read_gray_alpha_png(source, name)
    if mode.partition(";")[0] in ("RGB", "RGBA") and ";16" in mode:
        pixels = _two_bytes(source, name, number)
    elif picture.mode.startswith("I") or picture.mode == "F":
        bits, sign, zero = tags(picture, BITS, FORMAT, PHOTOMETRIC)
        raw = raw_picture(upright(loaded(picture)))
        assert raw is not None
        pixels = zero_is_black(_unsigned(raw.values, bits, sign), zero)
    else:
        return None
    if picture.format == "PNG" and transparency is not None and pixels.dtype == np.uint16:
        opaque = (pixels != np.array(transparency, dtype=np.uint16)).any(axis=2, keepdims=True)
        return RawImage(np.concatenate([pixels, opaque.astype(np.uint16) * 0xFFFF], axis=2), True)
    return RawImage(pixels, pixels.shape[2] == 4 and (picture.format != "TIFF" or has_alpha(picture)))


def raw_mode(picture: Any) -> str:
    """The layout of a file's pixels in Pillow's words, such as "RGB;16B"; empty if they are loaded."""
    tiles = getattr(picture, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0][3]
    mode = (
        arguments if isinstance(arguments, str) else arguments[0] if isinstance(arguments, tuple) and arguments else ""
    )
    return mode if isinstance(mode, str) else ""


def tags(picture: Any, *numbers: int, default: int = 1) -> tuple[int, ...]:
    """The first value of each of these tags of a page of a TIFF file; their default for tags that it lacks."""
    values = [getattr(picture, "tag_v2", {}).get(number, default) for number in numbers]
    first = [value[0] if isinstance(value, tuple) and value else value for value in values]
    return tuple(int(value) if isinstance(value, int | float) else default for value in first)


def has_alpha(picture: Any) -> bool:
    """Whether the last band of a page of a TIFF file is declared as transparency."""
    extra = getattr(picture, "tag_v2", {}).get(_EXTRA, ())
    return bool(extra) and (extra[-1] if isinstance(extra, tuple) else extra) in ALPHA


def zero_is_black(pixels: np.ndarray, photometric: int) -> np.ndarray:
    """Numbers of a TIFF file, inverted if its photometric interpretation is 0 (white is zero)."""
    if photometric != 0 or pixels.dtype.kind != "u":
        return pixels
    inverted: np.ndarray = np.iinfo(pixels.dtype).max - pixels
    return inverted


def loaded(picture: Any) -> Any:
    """The picture itself, decoded."""
    picture.load()
    return picture


def _unsigned(pixels: np.ndarray, bits: int, sign: int) -> np.ndarray:
    """Numbers of a TIFF file with their sign: Pillow reads 32 bits as signed."""
    if pixels.dtype == np.int32 and bits == 32 and sign == 1:
        return pixels.view(np.uint32)
    return pixels


def _two_bytes(source: str | Path | bytes, name: str, number: int) -> np.ndarray:
    """16-bit RGB or RGBA, (H, W, C) uint16: decoded once in each byte order, which gives one byte of each number a time."""
    halves = {}
    for order in "BL":
        with open_image(source, name) as picture:
            picture.seek(number)
            mode = raw_mode(picture)
            color, stored = mode.split(";16")
            picture.tile = [_with_raw_mode(tile, f"{color};16{order}") for tile in picture.tile]
            halves[order] = np.asarray(upright(loaded(picture)))
    high = stored if stored in "BL" else "BL"[sys.byteorder == "little"]
    low = "BL"[high == "B"]
    pixels: np.ndarray = halves[high].astype(np.uint16) << 8 | halves[low]
    return pixels


def _with_raw_mode(tile: Any, mode: str) -> Any:
    """A tile of a file with another layout of its pixels."""
    arguments = mode if isinstance(tile[3], str) else (mode, *tile[3][1:])
    return (
        tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)
    )  # a tuple before Pillow 11


def _read_gray_alpha_png(source: str | Path | bytes, name: str) -> RawImage:
    """16-bit gray with transparency: the same bytes as 8-bit RGBA, which is how the header is rewritten here."""
    content = bytearray(source if isinstance(source, bytes) else Path(source).read_bytes())
    content[_PNG_DEPTH : _PNG_COLOR + 1] = bytes((8, 6))
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with open_image(bytes(content), name) as picture:
        halves = np.asarray(upright(loaded(picture))).astype(np.uint16)
    return RawImage(halves[:, :, 0::2] << 8 | halves[:, :, 1::2], True)
