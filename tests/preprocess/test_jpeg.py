"""JPEG files are decoded by libjpeg-turbo to the pixels of Pillow, and refused where Pillow refuses them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from vertebra.errors import DataError
from vertebra.preprocess import jpeg
from vertebra.preprocess.images import read_image

ASSETS = Path(os.environ.get("VERTEBRA_ASSETS", "no-assets"))


def photo(size: tuple[int, int] = (123, 91)) -> Image.Image:
    """Smooth colors with noise, at an odd size."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(coarse) * 0.9 + rng.integers(0, 25, (size[1], size[0], 3))).astype(np.uint8))


def encoded(picture: Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", **options)
    return content.getvalue()


def by_pillow(content: bytes, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert(mode))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 30}, {"restart_marker_rows": 1}],
)
def test_the_pixels_are_those_of_pillow(mode: str, options: dict[str, Any]) -> None:
    content = encoded(photo().convert(mode), **options)
    for channels, target in ((1, "L"), (3, "RGB")):
        expected = by_pillow(content, target).reshape(91, 123, channels)
        assert np.abs(read_image(content, channels).astype(int) - expected).max() <= 1
    assert (jpeg.read_header(content, "a") is None) == (mode == "CMYK")


@pytest.mark.skipif(not ASSETS.is_dir(), reason="VERTEBRA_ASSETS has real photographs")
def test_the_pixels_of_photographs_are_those_of_pillow() -> None:
    paths = sorted((ASSETS / "detection").rglob("*.jpg"))[:20]
    assert paths
    for path in paths:
        assert np.abs(read_image(path).astype(int) - by_pillow(path.read_bytes(), "RGB")).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo(), exif=exif)
    np.testing.assert_array_equal(read_image(content), by_pillow(content, "RGB"))
    header = jpeg.read_header(content, "a")
    assert header is not None and header.upright_size == by_pillow(content, "RGB").shape[:2]
    far = content[:2] + (b"\xff\xe2\xff\xff" + bytes(65533)) * 3 + content[2:]  # after three color profiles
    np.testing.assert_array_equal(read_image(far), by_pillow(far, "RGB"))


def test_other_pictures_of_a_file_are_left_out() -> None:
    content = io.BytesIO()
    photo().save(content, "MPO", save_all=True, append_images=[Image.new("RGB", (50, 40))])
    np.testing.assert_array_equal(read_image(content.getvalue()), by_pillow(content.getvalue(), "RGB"))


def test_damaged_files_are_refused_or_read_as_by_pillow() -> None:
    whole = encoded(photo(), quality=90)
    for keep in (20, 200, len(whole) // 2, len(whole) - 60):
        with pytest.raises(DataError, match=r"image of \d+ bytes: (damaged or cut off|not an image)"):
            read_image(whole[:keep])
    rng, refused = np.random.default_rng(0), 0
    for _ in range(60):
        spoiled = bytearray(whole)
        spoiled[int(rng.integers(2, len(whole)))] = int(rng.integers(256))
        try:
            pixels = read_image(bytes(spoiled))
        except DataError:
            refused += 1
            continue
        assert np.abs(pixels.astype(int) - by_pillow(bytes(spoiled), "RGB")).max() <= 1
    assert refused < 60
    with_tail = whole + b"further bytes"
    np.testing.assert_array_equal(read_image(with_tail), by_pillow(with_tail, "RGB"))


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_reduced_pixels_are_means_of_squares(factor: int, mode: str) -> None:
    content = encoded(photo().convert(mode), quality=95, subsampling=0)
    header = jpeg.read_header(content, "a")
    assert header is not None and header.size == (91, 123)
    pixels = jpeg.decode(content, header, factor)
    assert pixels is not None and pixels.shape == (-(-91 // factor), -(-123 // factor), len(mode))
    means = np.asarray(photo().convert(mode).reduce(factor)).reshape(pixels.shape)
    inner = (slice(91 // factor), slice(123 // factor))  # the last pixels reach over the edge
    assert np.abs(pixels[inner].astype(int) - means[inner]).mean() < 3


@pytest.mark.parametrize(
    ("size", "needed", "factor"),
    [((480, 640), (224, 224), 1), ((480, 640), (192, 256), 2), ((481, 640), (193, 256), 1), ((480, 640), (96, 96), 4)]
    + [((3000, 4000), (224, 224), 8), ((100, 4000), (50, 50), 1)],
)
def test_a_reduced_image_is_larger_than_needed(size: tuple[int, int], needed: tuple[int, int], factor: int) -> None:
    assert jpeg.reduction(size, needed) == factor
