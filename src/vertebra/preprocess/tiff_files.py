"""TIFF files: several bands, pages, and any type of numbers.

- Pages of equal size are bands of one image; reduced copies and masks among them are left out.
- Pillow decodes what it has modes for, see `vertebra.preprocess.raw_images`. It drops bands after the third or fourth; other
  files (more bands, floats of several bands, 64 bit) are read by ``tifffile``, which needs the package ``imagecodecs`` for some
  compressions.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from vertebra.errors import DataError, install_command
from vertebra.preprocess.image_files import check_size, open_image
from vertebra.preprocess.raw_images import (
    ALPHA,
    BITS,
    ORIENTATION,
    PHOTOMETRIC,
    PLANES,
    SAMPLES,
    RawImage,
    has_alpha,
    loaded,
    raw_mode,
    raw_page,
    tags,
    turned,
    upright,
    zero_is_black,
)

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 256

_SUBFILE, _WIDTH, _HEIGHT = 254, 256, 257
_REDUCED_OR_MASK = 1 | 4


def read_tiff(source: str | Path | bytes, name: str) -> RawImage | None:
    """The pages of a TIFF file as one image; None for one page that Pillow gives as it is."""
    if not _pillow_opens(source, name):
        return _read_tifffile(source, name)
    file_bytes = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
    with open_image(source, name) as picture:
        count = getattr(picture, "n_frames", 1)
        _check_pages(count, name)
        numbers = []
        for number in range(count):
            picture.seek(number)
            if not tags(picture, _SUBFILE, default=0)[0] & _REDUCED_OR_MASK:
                check_size(picture.size, "TIFF", picture.mode, file_bytes, name, 4 * count)
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


def tiff_size(source: str | Path | bytes, name: str) -> tuple[int, int]:
    """(height, width) of the upright first page of a TIFF file, from its header."""
    if _pillow_opens(source, name):
        with open_image(source, name) as picture:
            width, height, orientation = tags(picture, _WIDTH, _HEIGHT, ORIENTATION)
            return (width, height) if orientation in (5, 6, 7, 8) else (height, width)
    with _open_tifffile(source) as file:
        page = file.pages[0]
        size = (page.imagelength, page.imagewidth)
        return size[::-1] if _orientation(page) in (5, 6, 7, 8) else size


def _pillow_opens(source: str | Path | bytes, name: str) -> bool:
    """Whether Pillow has a mode for the first page of a TIFF file."""
    try:
        open_image(source, name).close()
    except UnidentifiedImageError:
        return False
    return True


def _is_plain(picture: Any) -> bool:
    """Whether a page of a TIFF file has 8-bit channels that Pillow reads as they are meant."""
    samples, bits, photometric = tags(picture, SAMPLES, BITS, PHOTOMETRIC)
    if photometric > 2:  # palette, CMYK, YCbCr, Lab
        return True
    return bits <= 8 and (samples in (1, 3) or (samples in (2, 4) and has_alpha(picture)))


def _pillow_reads(picture: Any) -> bool:
    """Whether Pillow gives all bands of a page: gray of any depth, and 8 or 16 bits of RGB and RGBA."""
    samples, planes = tags(picture, SAMPLES, PLANES)
    if samples == 1 or _is_plain(picture):
        return True
    color = raw_mode(picture).partition(";")[0]
    return planes == 1 and color in ("RGB", "RGBA") and samples == len(picture.getbands())


def _eight_bit_page(picture: Any) -> RawImage:
    """A page of 8-bit channels among others."""
    alpha = has_alpha(picture)
    pixels = np.asarray(upright(loaded(picture)))
    return RawImage(pixels[:, :, None] if pixels.ndim == 2 else pixels, alpha)


def _joined(pages: list[RawImage], name: str) -> RawImage:
    """Pages as the bands of one image."""
    sizes = {page.values.shape[:2] for page in pages}
    if len(sizes) > 1:
        raise DataError(f"{name}: its {len(pages)} pages have different sizes; save each one as an image of its own")
    if len(pages) == 1:
        return pages[0]
    kinds = {page.values.dtype for page in pages}
    if len(kinds) > 1:
        raise DataError(
            f"{name}: its {len(pages)} pages are of {' and '.join(sorted(map(str, kinds)))}; save them as one type"
        )
    return RawImage(np.concatenate([page.values for page in pages], axis=2), pages=len(pages))


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
    alpha = len(page.extrasamples) == 1 and page.extrasamples[0] in ALPHA
    pixels = pixels[:, :, None] if page.axes == "YX" else np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    pixels = zero_is_black(pixels, page.photometric)
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
