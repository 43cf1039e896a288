"""Reads images of any kind as upright 8-bit arrays, and resizes them onto the canvas with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vertebra.preprocess import jpeg
from vertebra.preprocess.arrays import tensor_to_array, with_channel_axis
from vertebra.preprocess.channels import picture_to_channels, to_channels
from vertebra.preprocess.image_files import check_opened, name_of, open_image, unreadable
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.number_range import RangeUse, Scale, scaled_range, stretched, to_bytes
from vertebra.preprocess.raw_files import raw_file, raw_size
from vertebra.preprocess.raw_images import ORIENTATION, RawImage, raw_page, raw_picture, turned, upright
from vertebra.shards.members import file_source

ImageSource = str | Path | bytes | Image.Image | np.ndarray | Any

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})


def read_image(
    source: ImageSource, channels: int = 3, name: str = "", scale: Scale = "auto", use: RangeUse | None = None
) -> np.ndarray:
    """Any image as an upright 8-bit array.

    Rotation by the EXIF tag is applied. Transparent pixels are blended onto white, except for four channels. Gray images get
    equal channels, and color becomes gray for one channel. The bands of a TIFF or .npy file, or the pages of a TIFF file, are
    the channels of an input with that many.

    Numbers of more than 8 bits (16-bit PNG and TIFF, floats, counts) are scaled to 8 bit by the range ``scale``, see
    `vertebra.preprocess.number_range`.

    Args:
        source: a file, the bytes of one, a Pillow image, an array (H, W) or (H, W, C), or a tensor (H, W) or (C, H, W).
        channels: number of channels of the model's input.
        name: its name in messages; empty for the path, or a description.
        scale: the range of numbers of more than 8 bits, as in the model's `ResizeSpec`.
        use: counts the image and the part of the range that it uses.

    Returns:
        (H, W, channels) uint8, contiguous.

    Raises:
        DataError: the file is missing, unreadable, cut off, of an unsupported format or too large, it has other channels, or
            values are NaN, infinite or of an unknown range; the message names it.
    """
    name = name or source_name(source)
    if use is not None:
        use.add_image()
    if isinstance(source, (str, Path, bytes)):
        found = _file_content(source, name, turbo=channels in (1, 3))
    elif isinstance(source, Image.Image):
        picture = _loaded(source, name)
        found = raw_picture(picture) or picture
    else:
        return _array_to_channels(source, channels, name, scale, use)
    if isinstance(found, Image.Image):
        return picture_to_channels(found, channels, name)
    return _raw_to_channels(found, channels, name, scale, use)


def read_picture(source: ImageSource) -> np.ndarray:
    """Any image as 8-bit RGB for display, not for a model: numbers of more than 8 bits reach from the image's minimum to its
    maximum, and the first three of several bands are red, green and blue.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: see `read_image`.
    """
    name = source_name(source)
    if isinstance(source, np.ndarray):
        raw: RawImage | Image.Image = RawImage(with_channel_axis(source, name))
    elif isinstance(source, (str, Path, bytes)):
        raw = _file_content(source, name)
    else:
        return read_image(source)
    if isinstance(raw, Image.Image):
        return picture_to_channels(raw, 3, name)
    array = stretched(raw.values, name)
    if raw.transparent and raw.values.dtype == np.uint8:
        return to_channels(array, 3, name)
    return np.ascontiguousarray(array[:, :, :3] if array.shape[2] >= 3 else array[:, :, :1].repeat(3, axis=2))


def count_range(path: str | Path, use: RangeUse) -> None:
    """Counts an image file of any number of channels, and the part of the range that its numbers use.

    Raises:
        DataError: see `read_image`.
    """
    use.add_image()
    content = _file_content(path, str(path))
    if isinstance(content, RawImage):
        colors = content.values[:, :, :-1] if content.transparent else content.values
        scaled_range(colors, str(path), use.scale, use=use)


def decoded_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of an upright image of any number of channels, which is decoded, so that damage is found.

    Raises:
        DataError: see `read_image`.
    """
    content = _file_content(path, str(path))
    if isinstance(content, Image.Image):
        return content.height, content.width
    if content.values.dtype.kind == "f":
        to_bytes(content.values, str(path), (0.0, 1.0))  # refuses NaN and infinity
    return content.values.shape[0], content.values.shape[1]


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of an upright image from its header, without decoding it.

    A rotation tag after the pixels of a PNG file, which is legal but unusual, is not read.

    Raises:
        DataError: the file is missing or is not an image.
    """
    try:
        source = file_source(path)
        size = raw_size(source, jpeg.file_head(source)[0], str(path))
        if size is not None:
            return size
        with open_image(source, str(path)) as picture:
            turned = _orientation(picture) in (5, 6, 7, 8)
            return (picture.width, picture.height) if turned else (picture.height, picture.width)
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise unreadable(str(path), error) from error


def image_header(path: str | Path, channels: int) -> tuple[tuple[int, int], bool]:
    """(height, width) of an upright image from its header, and whether it can be decoded at a reduced scale.

    Args:
        channels: of the model's input.

    Raises:
        DataError: the file is missing or is not an image.
    """
    if channels in (1, 3):
        try:
            content = jpeg.file_head(file_source(path))[1]
            header = None if content is None else jpeg.read_header(content, str(path))
        except Exception as error:  # Pillow raises a dozen types on damaged files
            raise unreadable(str(path), error) from error
        if header is not None:
            return header.upright_size, header.reducible
    return image_size(path), False


def exif_orientation(path: str | Path) -> int:
    """The EXIF orientation of an image from its header, 1 if it has none.

    Raises:
        DataError: the file is missing or is not an image.
    """
    try:
        with open_image(path) as picture:
            return int(_orientation(picture))
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise unreadable(str(path), error) from error


def _orientation(picture: Image.Image) -> Any:
    exif = Image.Image.getexif(picture)  # PngImageFile.getexif would decode the image to read tags after it
    return exif.get(ORIENTATION, 1)


def apply(resize_spec: ResizeSpec, image: np.ndarray) -> np.ndarray:
    """An image on its canvas.

    Args:
        image: (H, W, C) uint8.

    Returns:
        (height, width, C) uint8 of the canvas' size.
    """
    transform = resize_spec.transform(image.shape[0], image.shape[1])
    resized = resize(image, transform.resized)
    rows, columns = transform.canvas
    if resize_spec.mode == "center_crop":
        return np.ascontiguousarray(
            resized[-transform.top : rows - transform.top, -transform.left : columns - transform.left]
        )
    if transform.size == transform.canvas:
        return resized
    canvas = np.empty((rows, columns, image.shape[2]), dtype=np.uint8)
    canvas[:] = resize_spec.fill_for(image.shape[2])
    canvas[: transform.size[0], : transform.size[1]] = resized
    return canvas


def stack(canvases: Sequence[np.ndarray], resize_spec: ResizeSpec) -> np.ndarray:
    """Canvases as one batch; smaller ones get fill at their right and bottom.

    Args:
        canvases: (height, width, C) uint8 each, at least one.

    Returns:
        (N, height, width, C) uint8 of the largest height and width.
    """
    height, width = (max(canvas.shape[axis] for canvas in canvases) for axis in (0, 1))
    if all(canvas.shape[:2] == (height, width) for canvas in canvases):
        return np.stack(canvases)
    batch = np.empty((len(canvases), height, width, canvases[0].shape[2]), dtype=np.uint8)
    batch[:] = resize_spec.fill_for(batch.shape[3])
    for target, canvas in zip(batch, canvases, strict=True):
        target[: canvas.shape[0], : canvas.shape[1]] = canvas
    return batch


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image: bilinear, antialiased when shrinking, rounded to 8 bit.

    Args:
        image: (H, W, C) uint8.
        size: (height, width) in pixels.
    """
    if image.shape[:2] == size:
        return image
    if image.shape[2] == 3:
        return np.array(Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], Image.Resampling.BILINEAR))
    layers = [Image.fromarray(np.ascontiguousarray(image[:, :, c])) for c in range(image.shape[2])]
    return np.stack([np.array(layer.resize(size[::-1], Image.Resampling.BILINEAR)) for layer in layers], axis=-1)


def resize_labels(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a mask: each pixel takes the value under its center (nearest neighbor).

    Args:
        mask: (..., H, W) of any type.
        size: (height, width) in pixels.
    """
    height, width = mask.shape[-2:]
    if (height, width) == size:
        return mask
    rows = ((np.arange(size[0]) + 0.5) * (height / size[0])).astype(np.int64).clip(max=height - 1)
    columns = ((np.arange(size[1]) + 0.5) * (width / size[1])).astype(np.int64).clip(max=width - 1)
    resized: np.ndarray = np.take(np.take(mask, rows, axis=-2), columns, axis=-1)
    return resized


def apply_labels(resize_spec: ResizeSpec, mask: np.ndarray, fill: int) -> np.ndarray:
    """A mask on its canvas, at the position that `apply` gives the image.

    Args:
        mask: (..., H, W) of any type.
        fill: value outside the image.

    Returns:
        (..., height, width) of the canvas' size.
    """
    transform = resize_spec.transform(mask.shape[-2], mask.shape[-1])
    resized = resize_labels(mask, transform.resized)
    rows, columns = transform.canvas
    if resize_spec.mode == "center_crop":
        return np.ascontiguousarray(
            resized[..., -transform.top : rows - transform.top, -transform.left : columns - transform.left]
        )
    canvas = np.full((*mask.shape[:-2], rows, columns), fill, dtype=mask.dtype)
    canvas[..., : transform.size[0], : transform.size[1]] = resized
    return canvas


def source_name(source: ImageSource) -> str:
    """The name of an image in messages: its path, or a description."""
    if isinstance(source, (str, Path, bytes)):
        return name_of(source)
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "Pillow image")
    shape = f" of shape {tuple(source.shape)}" if hasattr(source, "shape") else ""
    return f"{type(source).__name__}{shape}"


def layout_of(source: ImageSource) -> str:
    """The kind of an image in memory, such as ``an array (H, W, C)``; empty for other objects."""
    if isinstance(source, bytes):
        return "the content of an image file"
    if isinstance(source, Image.Image):
        return "a Pillow image"
    shape: tuple[int, ...] | None = getattr(source, "shape", None)
    if shape is None:
        return ""
    if isinstance(source, np.ndarray):
        return "an array (H, W)" if len(shape) == 2 else "an array (H, W, C)"
    return "a tensor (H, W)" if len(shape) == 2 else "a tensor (C, H, W)"


def _file_content(source: str | Path | bytes, name: str, *, turbo: bool = True) -> RawImage | Image.Image:
    """The content of a file: numbers, or a Pillow image of 8 bits a channel, as which JPEG files come if not ``turbo``."""
    try:
        source = file_source(source)
        head, content = jpeg.file_head(source)
        pixels = _decode_jpeg(content, name) if turbo and content is not None else None
        if pixels is not None:
            return RawImage(pixels)
        raw = raw_file(source, head, name)
        if raw is not None:
            return raw
        with open_image(source, name) as picture:
            raw = raw_page(picture, source, name)
            if raw is not None:
                return raw
            picture.load()
            return upright(picture)
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise unreadable(name, error) from error


def _decode_jpeg(content: bytes, name: str) -> np.ndarray | None:
    """The upright pixels of a JPEG file (H, W, 1 or 3) uint8; None where Pillow has to decode it."""
    header = jpeg.read_header(content, name)
    pixels = None if header is None else jpeg.decode(content, header)
    return None if header is None or pixels is None else turned(pixels, header.orientation)


def _loaded(picture: Image.Image, name: str) -> Image.Image:
    check_opened(picture, name)
    try:
        picture.load()
        return upright(picture)
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise unreadable(name, error) from error


def _raw_to_channels(raw: RawImage, channels: int, name: str, scale: Scale, use: RangeUse | None) -> np.ndarray:
    """The numbers of an image as (H, W, channels) uint8; transparency keeps the whole range of its type."""
    if not raw.transparent:
        pixels = to_bytes(raw.values, name, scale, use=use)
        return to_channels(pixels, channels, name, transparent=False, pages=raw.pages)
    colors, alpha = raw.values[:, :, :-1], raw.values[:, :, -1:]
    full: Scale = (0.0, float(np.iinfo(alpha.dtype).max)) if alpha.dtype.kind in "ui" else (0.0, 1.0)
    layers = [to_bytes(colors, name, scale, use=use), to_bytes(alpha, name, full)]
    return to_channels(np.concatenate(layers, axis=2), channels, name)


def _array_to_channels(source: Any, channels: int, name: str, scale: Scale, use: RangeUse | None) -> np.ndarray:
    """An array or tensor as (H, W, channels) uint8."""
    array = source if isinstance(source, np.ndarray) else tensor_to_array(source, name)
    if not isinstance(source, np.ndarray) and array.ndim == 3:
        array = np.moveaxis(array, 0, -1)
    array = with_channel_axis(array, name)
    return to_channels(to_bytes(array, name, scale, in_memory=True, use=use), channels, name)
