"""Reads the numbers of image files that are more than 8-bit gray, RGB or RGBA: 16 bit, floats, several bands or pages.

Pillow has no mode for most of these. It reads gray images of any depth; of 16-bit color it keeps the high bytes, and it drops
bands after the third or fourth. Here:

- 16-bit color of PNG and TIFF is decoded twice by Pillow, once for the high and once for the low bytes: Pillow's decoders take
  the byte order as an argument. That reads all its compressions without another decoder.
- Pages of a TIFF of equal size are bands of one image; reduced copies and masks among them are left out.
- Other TIFF files (more than four bands, floats of several bands, 64 bit) are read by ``tifffile``, which needs the package
  ``imagecodecs`` for some compressions.
- .npy files hold arrays (H, W) or (H, W, C).
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from vertebra.errors import DataError, install_command
from vertebra.preprocess.image_files import check_size, open_image, unreadable

NPY = b"\x93NUMPY"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 256
ORIENTATION = 0x0112

_SUBFILE, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA, _FORMAT = 254, 258, 262, 277, 284, 338, 339
_REDUCED_OR_MASK = 1 | 4
_ALPHA = (1, 2, 999)  # of the tag ExtraSamples; 999 is CorelDRAW's
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
        pixels: (H, W, C) of any number type.
        transparent: whether the last channel is transparency.
    """

    pixels: np.ndarray
    transparent: bool = False


def upright(picture: Image.Image) -> Image.Image:
    """A loaded Pillow image, turned by its orientation tag."""
    return ImageOps.exif_transpose(picture) if picture.getexif().get(ORIENTATION, 1) != 1 else picture


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, C) as stored, turned upright by the number of the tag Orientation."""
    transposed, mirrored, flipped = _TURNS.get(orientation, (False, False, False))
    pixels = pixels.swapaxes(0, 1) if transposed else pixels
    return pixels[:: -1 if flipped else 1, :: -1 if mirrored else 1]


def raw_file(source: str | Path | bytes, head: bytes, name: str) -> RawImage | None:
    """The numbers of a .npy file, or of a TIFF file with several bands or pages or more than 8 bits; None for other files.

    Args:
        source: a file, or the bytes of one.
        head: its first bytes.
        name: for messages.

    Raises:
        DataError: it exceeds the limits of a size, or its compression needs a package.
        Exception: raised by Pillow, numpy and tifffile for damaged files.
    """
    if head.startswith(NPY):
        return _read_npy(source, name)
    return _read_tiff(source, name) if head.startswith(TIFF) else None


def raw_page(picture: ImageFile.ImageFile, source: str | Path | bytes, name: str, number: int = 0) -> RawImage | None:
    """The numbers of an image file that Pillow opened; None if it has 8 bits a channel.

    Args:
        picture: not yet decoded.
        source: its file, or the bytes of it.
        name: for messages.
        number: of its page.
    """
    mode, transparency = _raw_mode(picture), picture.info.get("transparency")
    if mode == "LA;16B" and picture.format == "PNG":
        return _read_gray_alpha_png(source, name)
    if mode.partition(";")[0] in ("RGB", "RGBA") and ";16" in mode:
        pixels = _two_bytes(source, name, number)
    elif picture.mode.startswith("I") or picture.mode == "F":
        bits, sign, zero = _tags(picture, _BITS, _FORMAT, _PHOTOMETRIC)
        raw = raw_picture(upright(_loaded(picture)))
        assert raw is not None
        pixels = _zero_is_black(_unsigned(raw.pixels, bits, sign), zero)
    else:
        return None
    if picture.format == "PNG" and transparency is not None and pixels.dtype == np.uint16:
        opaque = (pixels != np.array(transparency, dtype=np.uint16)).any(axis=2, keepdims=True)
        return RawImage(np.concatenate([pixels, opaque.astype(np.uint16) * 0xFFFF], axis=2), True)
    return RawImage(pixels, pixels.shape[2] == 4 and (picture.format != "TIFF" or _has_alpha(picture)))


def raw_picture(picture: Image.Image) -> RawImage | None:
    """The numbers of a loaded Pillow image; None if it has 8 bits a channel."""
    if not (picture.mode.startswith("I") or picture.mode == "F"):
        return None
    pixels = np.asarray(picture)
    if picture.mode == "I" and picture.format in ("PNG", "PPM", "JPEG2000"):  # they have 16 bits at most
        pixels = pixels.astype(np.uint16)
    return RawImage(pixels.astype(pixels.dtype.newbyteorder("="), copy=False)[:, :, None])


def is_deep(path: str | Path) -> bool:
    """Whether an image file may have more than 8 bits, from its header.

    Raises:
        DataError: the file is missing or is not an image.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(16)
        if head.startswith((NPY, *TIFF)):
            return True
        with open_image(path) as picture:
            return picture.mode.startswith("I") or picture.mode == "F" or ";16" in _raw_mode(picture)
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise unreadable(str(path), error) from error


def raw_size(source: str | Path | bytes, head: bytes, name: str) -> tuple[int, int] | None:
    """(height, width) of files that Pillow does not open, from their header; None for all other files."""
    if head.startswith(NPY):
        height, width = _open_npy(source).shape[:2]
        return int(height), int(width)
    if head.startswith(TIFF) and not _pillow_opens(source, name):
        with _open_tifffile(source) as file:
            page = file.pages[0]
            turned = _TURNS.get(_orientation(page), (False, False, False))[0]
            return (page.imagewidth, page.imagelength) if turned else (page.imagelength, page.imagewidth)
    return None


def _read_tiff(source: str | Path | bytes, name: str) -> RawImage | None:
    """The pages of a TIFF file as one image; None for one page that Pillow gives as it is."""
    if not _pillow_opens(source, name):
        return _read_tifffile(source, name)
    with open_image(source, name) as picture:
        count = getattr(picture, "n_frames", 1)
        _check_pages(count, name)
        numbers = []
        for number in range(count):
            picture.seek(number)
            if not picture.tag_v2.get(_SUBFILE, 0) & _REDUCED_OR_MASK:
                numbers.append(number)
        picture.seek(numbers[0] if numbers else 0)
        if len(numbers) < 2 and _is_plain(picture):
            return None
    pages = []
    for number in numbers or [0]:
        with open_image(source, name) as picture:
            picture.seek(number)
            if not _pillow_reads(picture):
                return _read_tifffile(source, name)
            pages.append(raw_page(picture, source, name, number) or _eight_bit_page(picture))
    return _joined(pages, name)


def _pillow_opens(source: str | Path | bytes, name: str) -> bool:
    """Whether Pillow has a mode for the first page of a TIFF file."""
    try:
        open_image(source, name).close()
    except UnidentifiedImageError:
        return False
    return True


def _is_plain(picture: Any) -> bool:
    """Whether a page of a TIFF file has 8-bit channels that Pillow reads as they are meant."""
    samples, bits, photometric = _tags(picture, _SAMPLES, _BITS, _PHOTOMETRIC)
    if photometric > 2:  # palette, CMYK, YCbCr, Lab
        return True
    return bits <= 8 and (samples in (1, 3) or (samples in (2, 4) and _has_alpha(picture)))


def _pillow_reads(picture: Any) -> bool:
    """Whether Pillow gives all bands of a page: gray of any depth, and 8 or 16 bits of RGB and RGBA."""
    samples, planes = _tags(picture, _SAMPLES, _PLANES)
    if samples == 1 or _is_plain(picture):
        return True
    color = _raw_mode(picture).partition(";")[0]
    return planes == 1 and color in ("RGB", "RGBA") and samples == len(picture.getbands())


def _unsigned(pixels: np.ndarray, bits: int, sign: int) -> np.ndarray:
    """Numbers of a TIFF file with their sign: Pillow reads 32 bits as signed."""
    if pixels.dtype == np.int32 and bits == 32 and sign == 1:
        return pixels.view(np.uint32)
    return pixels


def _zero_is_black(pixels: np.ndarray, photometric: int) -> np.ndarray:
    if photometric != 0 or pixels.dtype.kind != "u":
        return pixels
    inverted: np.ndarray = np.iinfo(pixels.dtype).max - pixels
    return inverted


def _eight_bit_page(picture: Any) -> RawImage:
    """A page of 8-bit channels among others."""
    alpha = _has_alpha(picture)
    pixels = np.asarray(upright(_loaded(picture)))
    return RawImage(pixels[:, :, None] if pixels.ndim == 2 else pixels, alpha)


def _two_bytes(source: str | Path | bytes, name: str, number: int) -> np.ndarray:
    """16-bit RGB or RGBA, (H, W, C) uint16: decoded once in each byte order, which gives one byte of each number a time."""
    halves = {}
    for order in "BL":
        with open_image(source, name) as picture:
            picture.seek(number)
            mode = _raw_mode(picture)
            color, stored = mode.split(";16")
            arguments = [tile.args for tile in picture.tile]
            swapped = f"{color};16{order}"
            picture.tile = [
                tile._replace(args=swapped if isinstance(given, str) else (swapped, *given[1:]))
                for tile, given in zip(picture.tile, arguments, strict=True)
            ]
            halves[order] = np.asarray(upright(_loaded(picture)))
    high = stored if stored in "BL" else "BL"[sys.byteorder == "little"]
    low = "BL"[high == "B"]
    pixels: np.ndarray = halves[high].astype(np.uint16) << 8 | halves[low]
    return pixels


def _read_gray_alpha_png(source: str | Path | bytes, name: str) -> RawImage:
    """16-bit gray with transparency: the same bytes as 8-bit RGBA, which is how the header is rewritten here."""
    content = bytearray(source if isinstance(source, bytes) else Path(source).read_bytes())
    content[_PNG_DEPTH : _PNG_COLOR + 1] = bytes((8, 6))
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with open_image(bytes(content), name) as picture:
        halves = np.asarray(upright(_loaded(picture))).astype(np.uint16)
    return RawImage(halves[:, :, 0::2] << 8 | halves[:, :, 1::2], True)


def _joined(pages: list[RawImage], name: str) -> RawImage:
    """Pages as the bands of one image."""
    sizes = {page.pixels.shape[:2] for page in pages}
    if len(sizes) > 1:
        raise DataError(f"{name}: its {len(pages)} pages have different sizes; save each one as an image of its own")
    if len(pages) == 1:
        return pages[0]
    kinds = {page.pixels.dtype for page in pages}
    if len(kinds) > 1:
        raise DataError(
            f"{name}: its {len(pages)} pages are of {' and '.join(sorted(map(str, kinds)))}; save them as one type"
        )
    return RawImage(np.concatenate([page.pixels for page in pages], axis=2))


def _read_tifffile(source: str | Path | bytes, name: str) -> RawImage:
    """A TIFF file whose bands Pillow does not give."""
    file_bytes = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
    with _open_tifffile(source) as file:
        _check_pages(len(file.pages), name)
        pages = [page for page in file.pages if not page.subfiletype & _REDUCED_OR_MASK] or [file.pages[0]]
        for page in pages:
            if page.dtype is None or page.axes not in ("YX", "YXS", "SYX") or page.photometric > 2:
                what = f"axes {page.axes}, {getattr(page.photometric, 'name', page.photometric)}"
                raise DataError(f"{name}: a TIFF of this kind is not supported ({what}); save it as plain bands")
            band_bytes = page.dtype.itemsize * page.samplesperpixel * len(pages)
            check_size((page.imagewidth, page.imagelength), "TIFF", "", file_bytes, name, band_bytes)
        try:
            return _joined([_tifffile_page(page) for page in pages], name)
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            kind = getattr(pages[0].compression, "name", pages[0].compression)
            raise DataError(
                f"{name}: its compression {kind} needs the package 'imagecodecs'; install it: {install_command('tiff')}, "
                "or save the file without compression"
            ) from error


def _tifffile_page(page: Any) -> RawImage:
    pixels = np.asarray(page.asarray(maxworkers=1))
    alpha = len(page.extrasamples) == 1 and page.extrasamples[0] in _ALPHA
    pixels = pixels[:, :, None] if page.axes == "YX" else np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    pixels = _zero_is_black(pixels, page.photometric)
    pixels = turned(pixels, _orientation(page))
    return RawImage(_unmultiplied(pixels) if alpha and page.extrasamples[0] == 1 else pixels, alpha)


def _unmultiplied(pixels: np.ndarray) -> np.ndarray:
    """Colors that were multiplied by their alpha, the last channel, divided by it."""
    white = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1
    alpha = pixels[:, :, -1:] / white
    colors = np.minimum(pixels[:, :, :-1] / np.where(alpha > 0, alpha, 1), white)
    if pixels.dtype.kind in "ui":
        colors = colors.round()
    return np.concatenate([colors.astype(pixels.dtype), pixels[:, :, -1:]], axis=2)


def _open_tifffile(source: str | Path | bytes) -> Any:
    import tifffile

    return tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else Path(source))


def _orientation(page: Any) -> int:
    tag = page.tags.get(ORIENTATION)
    return 1 if tag is None else int(tag.value)


def _check_pages(count: int, name: str) -> None:
    if count > MAX_PAGES:
        raise DataError(
            f"{name}: it has {count} pages, and an image may have {MAX_PAGES}; save each one as an image of its own"
        )


def _read_npy(source: str | Path | bytes, name: str) -> RawImage:
    array = np.array(_open_npy(source))
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"{name}: an image array must be (H, W) or (H, W, C) and not empty, got shape {array.shape}")
    return RawImage(array[:, :, None] if array.ndim == 2 else array)


def _open_npy(source: str | Path | bytes) -> np.ndarray:
    """The array of a .npy file, mapped where it is a file; one with Python objects is refused by numpy."""
    if isinstance(source, bytes):
        loaded: np.ndarray = np.load(io.BytesIO(source), allow_pickle=False)
        return loaded
    mapped: np.ndarray = np.load(source, mmap_mode="r", allow_pickle=False)
    return mapped


def _raw_mode(picture: Any) -> str:
    """The layout of a file's pixels in Pillow's words, such as "RGB;16B"; empty if they are loaded."""
    tiles = getattr(picture, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0].args
    mode = (
        arguments if isinstance(arguments, str) else arguments[0] if isinstance(arguments, tuple) and arguments else ""
    )
    return mode if isinstance(mode, str) else ""


def _tags(picture: Any, *numbers: int) -> tuple[int, ...]:
    """The first value of each of these tags of a page of a TIFF file; 1, their default, for tags that it lacks."""
    values = [getattr(picture, "tag_v2", {}).get(number, 1) for number in numbers]
    first = [value[0] if isinstance(value, tuple) and value else value for value in values]
    return tuple(int(value) if isinstance(value, int | float) else 1 for value in first)


def _has_alpha(picture: Any) -> bool:
    """Whether the last band of a page of a TIFF file is declared as transparency."""
    extra = getattr(picture, "tag_v2", {}).get(_EXTRA, ())
    return bool(extra) and (extra[-1] if isinstance(extra, tuple) else extra) in _ALPHA


def _loaded(picture: Any) -> Any:
    picture.load()
    return picture
