"""Reads images of any kind as upright 8-bit arrays, and resizes them onto the canvas with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from vertebra.errors import DataError, first_line
from vertebra.preprocess.image_files import check_opened, name_of, open_image, unreadable
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.number_range import array_to_bytes, stretched

ImageSource = str | Path | bytes | Image.Image | np.ndarray | Any

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
BACKDROP = (255, 255, 255)
ORIENTATION = 0x0112
STRIP = 2**22  # pixels converted at a time


def read_image(source: ImageSource, channels: int = 3, name: str = "") -> np.ndarray:
    """Any image as an upright 8-bit array.

    Rotation by the EXIF tag is applied. Transparent pixels are blended onto white. Gray images get equal channels, and color
    becomes gray for one channel.

    For files with more than 8 bits (16-bit PNG and TIFF, floats), and for 16-bit arrays, values are stretched from the image's
    minimum to its maximum, since files use any part of their range; floats within 0..1 keep that range. Arrays and tensors of
    other dtypes must be 0..1 or 0..255, see `vertebra.preprocess.number_range`.

    Args:
        source: a file, the bytes of one, a Pillow image, an array (H, W) or (H, W, C), or a tensor (H, W) or (C, H, W).
        channels: number of channels of the model's input.
        name: its name in messages; empty for the path, or a description.

    Returns:
        (H, W, channels) uint8, contiguous.

    Raises:
        DataError: the file is missing, unreadable, cut off, of an unsupported format or too large, it has other channels, or
            values are NaN, infinite or of an unknown range; the message names it.
    """
    name = name or source_name(source)
    if isinstance(source, (str, Path, bytes)):
        try:
            with open_image(source, name) as picture:
                picture.load()
                upright = _upright(picture)
        except Exception as error:  # Pillow raises a dozen types on damaged files
            raise unreadable(name, error) from error
        return _picture_to_array(upright, channels, name)
    if isinstance(source, Image.Image):
        return _picture_to_array(_loaded(source, name), channels, name)
    if isinstance(source, np.ndarray):
        return _to_channels(_eight_bit(source, name), channels, name)
    array = _tensor_to_array(source, name)
    return _to_channels(_eight_bit(np.moveaxis(array, 0, -1) if array.ndim == 3 else array, name), channels, name)


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of an upright image from its header, without decoding it.

    A rotation tag after the pixels of a PNG file, which is legal but unusual, is not read.

    Raises:
        DataError: the file is missing or is not an image.
    """
    try:
        with open_image(path) as picture:
            turned = _orientation(picture) in (5, 6, 7, 8)
            return (picture.width, picture.height) if turned else (picture.height, picture.width)
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise unreadable(str(path), error) from error


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


def _loaded(picture: Image.Image, name: str) -> Image.Image:
    check_opened(picture, name)
    try:
        picture.load()
        return _upright(picture)
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise unreadable(name, error) from error


def _upright(picture: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(picture) if picture.getexif().get(ORIENTATION, 1) != 1 else picture


def _picture_to_array(picture: Image.Image, channels: int, name: str) -> np.ndarray:
    """An upright Pillow image of any mode as (H, W, channels) uint8."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _to_channels(stretched(np.asarray(picture), name)[:, :, None], channels, name)
    if channels not in (1, 3, 4):
        raise DataError(
            f"{name}: the model takes {channels} channels; image files have 1, 3 or 4. Give an array instead"
        )
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    clear = channels != 4 and (picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info)
    pixels = np.empty((picture.height, picture.width, channels), dtype=np.uint8)
    rows = max(1, STRIP // picture.width)
    for top in range(0, picture.height, rows):
        part = picture
        if rows < picture.height:  # in strips, to avoid further copies of a large image
            part = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        part = _on_white(part) if clear else part
        converted = part if part.mode == mode else part.convert(mode)
        pixels[top : top + rows] = np.asarray(converted).reshape(-1, picture.width, channels)
    return pixels


def _on_white(picture: Image.Image) -> Image.Image:
    """The image blended onto white, without transparency."""
    layer = picture.convert("RGBA")
    page = Image.new("RGBA", layer.size, (*BACKDROP, 255))
    page.alpha_composite(layer)
    return page.convert("RGB")


def _eight_bit(array: np.ndarray, name: str) -> np.ndarray:
    """An array (H, W) or (H, W, C) of any number type as (H, W, C) uint8."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"{name}: an image array must be (H, W) or (H, W, C) and not empty, got shape {array.shape}")
    return array_to_bytes(array[:, :, None] if array.ndim == 2 else array, name)


def _to_channels(array: np.ndarray, channels: int, name: str) -> np.ndarray:
    """(H, W, C) uint8 with the number of channels of the model's input, if it can be converted."""
    count = array.shape[2]
    if count == channels:
        return np.ascontiguousarray(array)
    if count == 1 and channels == 3:
        return np.repeat(array, channels, axis=2)
    if channels in (1, 3) and count in (2, 3, 4):
        mode = {2: "LA", 3: "RGB", 4: "RGBA"}[count]
        height, width = array.shape[:2]
        picture = Image.frombytes(mode, (width, height), np.ascontiguousarray(array).tobytes())
        return _picture_to_array(picture, channels, name)
    raise DataError(
        f"{name}: it has {count} channels, and the model takes {channels}; arrays are (H, W, C), and tensors (C, H, W)"
    )


def _tensor_to_array(tensor: Any, name: str) -> np.ndarray:
    """A tensor of any library as an array."""
    if hasattr(tensor, "read"):
        raise DataError(f"{name} is an open file; give its content: file.read()")
    if "bfloat16" in str(getattr(tensor, "dtype", "")):
        raise DataError(f"{name}: bfloat16 is not supported; convert it to float32")
    try:
        array = np.asarray(tensor.detach().cpu() if hasattr(tensor, "shape") and hasattr(tensor, "detach") else tensor)
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:  # ragged lists, meta and sparse tensors
        raise DataError(
            f"{name} cannot be converted to an array ({first_line(error)}); give an array or tensor"
        ) from error
    if array.dtype == object:
        raise DataError(
            f"{name} is not an image; give a file, bytes, a Pillow image, an array (H, W, C) or a tensor (C, H, W)"
        )
    if not hasattr(tensor, "shape") and array.ndim == 0:
        raise DataError(f"{name} is a number, not an image; give the numbers of an image as an array: np.array(...)")
    return array
