"""Shared functions for pictures of predictions: opening the image, fonts for its size, fitting text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vertebra.errors import DataError
from vertebra.preprocess.images import read_picture
from vertebra.tasks.palette import Color, text_color

ImageLike = np.ndarray | Image.Image | str | Path
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

STRIP: Color = (24, 26, 32)
BRIGHT: Color = (240, 242, 246)
DIM: Color = (158, 164, 176)
TRACK: Color = (52, 56, 66)

_SHORTEST, _LONGEST = 320, 1600
# Fonts with Hangul, Kanji and other scripts on common systems; the first installed one is used.
_WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "NanumGothic.ttf", "AppleSDGothicNeo.ttc", "malgun.ttf", "DejaVuSans.ttf")


def open_picture(image: ImageLike | None) -> Image.Image:
    """The image as upright 8-bit RGB.

    Args:
        image: a path, a Pillow image, or an array (H, W) or (H, W, C). Of more than three channels the first three are shown,
            of two the first; the range of floating point values is 0 to 1, extended to their minimum and maximum, and that of
            16-bit numbers is their minimum to their maximum.

    Raises:
        DataError: there is no image, or it cannot be read.
    """
    if image is None:
        raise DataError("this prediction has no image. Pass one: prediction.draw(image)")
    if isinstance(image, np.ndarray):
        image = _three_channels(image)
    return Image.fromarray(read_picture(image))


def _three_channels(array: np.ndarray) -> np.ndarray:
    """The channels of an array that a picture can show, (H, W, 3)."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"an image array must have shape (H, W) or (H, W, C), got {array.shape}")
    channels = array[:, :, None] if array.ndim == 2 else array
    channels = channels[:, :, :3] if channels.shape[2] >= 3 else np.repeat(channels[:, :, :1], 3, axis=2)
    if array.dtype.kind in "bf":
        values = np.nan_to_num(channels.astype(np.float32))
        lowest, highest = min(float(values.min()), 0.0), max(float(values.max()), 1.0)
        return np.asarray(((values - lowest) * (255.0 / (highest - lowest))).round(), dtype=np.uint8)
    return channels


def enlarge(picture: Image.Image) -> Image.Image:
    """The picture, enlarged to a short side of about 320 pixels if it is smaller, unless it is very long."""
    factor = min(_SHORTEST / min(picture.size), _LONGEST / max(picture.size))
    if factor <= 1:
        return picture
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def line_width(picture: Image.Image) -> int:
    """Width in pixels of a clearly visible line on a picture of this size."""
    return max(2, round(sum(picture.size) / 400))


def text_size(picture: Image.Image) -> int:
    """Height in pixels of readable text on a picture of this size."""
    return min(max(12, round(sum(picture.size) / 75)), 64)


def font_for(text: str, size: int) -> Font:
    """A font with the letters of a text."""
    return _font(size, any(ord(letter) > 0x24F for letter in text))


@lru_cache(maxsize=64)
def _font(size: int, wide: bool) -> Font:
    for name in _WIDE_FONTS if wide else ():
        try:
            return ImageFont.truetype(name, size)
        except OSError:  # not installed: the next one
            continue
    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def text_width(text: str, size: int) -> int:
    """Width in pixels of one line of text."""
    return round(font_for(text, size).getbbox(text)[2])


def fit_text(text: str, size: int, width: int) -> str:
    """The text on one line, shortened with an ellipsis if it is wider than ``width`` pixels."""
    line = " ".join(text.split())
    if text_width(line, size) <= width:
        return line
    for length in range(len(line) - 1, 0, -1):
        cut = line[:length].rstrip() + "..."
        if text_width(cut, size) <= width:
            return cut
    return ""


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, fill: Color) -> None:
    """Write one line of text with its left edge and its vertical middle at a point."""
    font = font_for(text, size)
    if isinstance(font, ImageFont.FreeTypeFont):
        draw.text(at, text, fill=fill, font=font, anchor="lm")
    else:
        draw.text((at[0], at[1] - size / 2), text, fill=fill, font=font)


def tag_size(text: str, size: int) -> tuple[int, int]:
    """Width and height in pixels of a tag with this text."""
    return text_width(text, size) + 2 * _padding(size), size + 2 * _padding(size)


def draw_tag(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, background: Color) -> None:
    """Draw a filled tag with its top left corner at a point, its text in black or white."""
    width, height = tag_size(text, size)
    left, top = at
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=background)
    write(draw, (left + _padding(size), top + height / 2), text, size, text_color(background))


def _padding(size: int) -> int:
    return max(2, size // 5)


def with_strip(picture: Image.Image, height: int) -> Image.Image:
    """The picture with a dark strip below it."""
    whole = Image.new("RGB", (picture.width, picture.height + height), STRIP)
    whole.paste(picture, (0, 0))
    return whole


def with_legend(picture: Image.Image, entries: Sequence[tuple[str, Color]], max_entries: int = 12) -> Image.Image:
    """The picture with a legend below it: a patch of each entry's color and its text.

    Args:
        entries: text and color of each; without entries the picture is unchanged.
        max_entries: further entries are only counted.
    """
    if not entries:
        return picture
    size = text_size(picture)
    margin, row = max(4, size // 2), round(size * 1.6)
    layout: list[tuple[int, int, str, Color | None]] = []
    left, line = margin, 0
    for text, color in entries[:max_entries]:
        text = fit_text(text, size, max(1, picture.width - 2 * margin - row))
        width = row + text_width(text, size) + margin
        if left > margin and left + width > picture.width:
            left, line = margin, line + 1
        layout.append((left, line, text, color))
        left += width
    hidden = len(entries) - len(layout)
    if hidden:
        layout.append((margin, line + 1, f"and {hidden} more", None))
    whole = with_strip(picture, (layout[-1][1] + 1) * row + margin)
    draw = ImageDraw.Draw(whole)
    for left, line, text, fill in layout:
        middle = picture.height + margin / 2 + row * (line + 0.5)
        if fill is not None:
            draw.rectangle((left, middle - size * 0.4, left + size * 0.8, middle + size * 0.4), fill=fill)
        write(draw, (left + (size * 1.2 if fill is not None else 0), middle), text, size, BRIGHT)
    return whole
