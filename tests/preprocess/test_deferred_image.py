"""Images of training are decoded at a reduced scale where that is enough, and their crops stay where they are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.preprocess.image_samples import numbers, png16
from vertebra.errors import DataError
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.deferred_image import DeferredImage, as_pixels
from vertebra.preprocess.images import read_image
from vertebra.preprocess.resample_torch import crop_resize


def square(size: tuple[int, int], box: tuple[int, int, int, int], **options: Any) -> bytes:
    """A JPEG file (height, width) of a white box (left, top, right, bottom) on black."""
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 255
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95, **options)
    return content.getvalue()


def shown(image: DeferredImage, window: CropWindow) -> tuple[CropWindow, np.ndarray]:
    window, factor = image.window(window)
    return window, crop_resize(image.reduced(factor), window.box(factor), window.out).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("size", [(480, 640), (481, 643)])
@pytest.mark.parametrize("out", [(30, 40), (60, 80), (150, 200), (400, 500)])
def test_a_box_is_where_its_window_says(size: tuple[int, int], out: tuple[int, int], orientation: int) -> None:
    box = (200, 120, 360, 300)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = DeferredImage(square(size, box, exif=exif))
    upright = np.argwhere(read_image(square(size, box, exif=exif))[:, :, 0] > 127)
    (top, left), (bottom, right) = upright.min(axis=0), upright.max(axis=0) + 1
    window = CropWindow(7, 13, image.size[0] - 20, image.size[1] - 31, out)
    window, canvas = shown(image, window)
    assert canvas.shape == (*out, 3)
    expected = window.boxes(np.array([[left, top, right, bottom]], dtype=np.float32))[0]
    white = canvas[:, :, 0] / 255.0
    across, down = white.max(axis=0).sum(), white.max(axis=1).sum()
    assert abs(across - (expected[2] - expected[0])) < 0.6 and abs(down - (expected[3] - expected[1])) < 0.6
    rows, columns = np.mgrid[: out[0], : out[1]] + 0.5
    center = ((columns * white).sum() / white.sum(), (rows * white).sum() / white.sum())
    np.testing.assert_allclose(center, (expected[:2] + expected[2:]) / 2, atol=0.15)


def test_windows_lose_less_than_a_pixel_of_the_canvas() -> None:
    image = DeferredImage(square((481, 643), (0, 0, 9, 9)))
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = int(rng.integers(20, 481)), int(rng.integers(20, 643))
        top, left = int(rng.integers(0, 482 - height)), int(rng.integers(0, 644 - width))
        before = CropWindow(top, left, height, width, (int(rng.integers(5, 200)), int(rng.integers(5, 200))))
        after, factor = image.window(before)
        assert 0 <= after.top - before.top < factor and 0 <= after.left - before.left < factor
        assert 0 <= before.top + before.height - after.top - after.height < factor
        assert (after.height >= factor * after.out[0] and after.width >= factor * after.out[1]) or factor == 1
        assert not any(edge % factor for edge in (after.top, after.left, after.height, after.width))
        assert after.out == before.out


def test_an_image_that_is_not_reduced_is_that_of_prediction(tmp_path: Path) -> None:
    content = square((90, 120), (30, 30, 60, 60))
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    window = CropWindow(3, 5, 80, 100, (70, 90))
    for source in (path, str(path), content, read_image(content), png16(numbers((90, 120, 3)))):
        image = DeferredImage(source)
        assert image.shape == (90, 120, 3) and image.size == (90, 120)
        assert image.window(window) == (window, 1)
        np.testing.assert_array_equal(image.reduced(1), read_image(source))
        np.testing.assert_array_equal(as_pixels(image), read_image(source))
    assert DeferredImage(content, channels=1).reduced(4).shape == (23, 30, 1)
    assert DeferredImage(png16(numbers((90, 120, 3)))).window(CropWindow(0, 0, 90, 120, (9, 12)))[1] == 1


def test_damaged_files_are_refused_when_they_are_decoded() -> None:
    content = square((480, 640), (0, 0, 320, 200))
    image = DeferredImage(content[: len(content) // 2])
    for read in (image.decoded, lambda: image.reduced(4)):
        with pytest.raises(DataError, match="damaged or cut off"):
            read()
    with pytest.raises(DataError, match="no such image file"):
        DeferredImage("none.jpg")
    with_tail = DeferredImage(content[:-2] + b"\0" * 50 + content[-2:])  # libjpeg-turbo objects, and Pillow does not
    assert with_tail.reduced(4).shape == (120, 160, 3)
    assert abs(int(with_tail.reduced(4)[10, 10, 0]) - 255) < 3


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_do_not_share_memory_with_the_next_image(channels: int) -> None:
    for size in ((60, 80), (30, 40)):
        window = CropWindow(0, 0, 60, 80, size)
        first = DeferredImage(square((60, 80), (0, 0, 80, 60)), channels)
        crop = crop_resize(first.reduced(1), window.box(), window.out)
        DeferredImage(square((60, 80), (0, 0, 1, 1)), channels).reduced(1)
        assert crop.min() > 250


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_crops_are_those_of_pillow(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (67, 91, channels), dtype=np.uint8)
    found = crop_resize(image, (10, 5, 80, 60), (31, 47)).permute(1, 2, 0).numpy()
    crop = image[5:60, 10:80]
    for channel in range(channels):
        expected = Image.fromarray(crop[:, :, channel]).resize((47, 31), Image.Resampling.BILINEAR)
        assert np.abs(found[:, :, channel].astype(int) - np.asarray(expected)).max() <= 1
