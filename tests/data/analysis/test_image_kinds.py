"""Odd images of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from vertebra.data.analysis.image_kinds import STATISTICS, image_statistics, odd_images
from vertebra.data.analysis.small_images import SmallImage, read_small


def small(pixels: np.ndarray, bits: int = 8, channels: int = 3) -> SmallImage:
    return SmallImage(pixels, pixels.shape[:2], "RGB", channels, bits)


def photograph(seed: int) -> np.ndarray:
    """Sharp colored noise."""
    return np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def blurred(pixels: np.ndarray, radius: float) -> np.ndarray:
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def kinds(images: list[SmallImage]) -> dict[str, tuple[int, ...]]:
    odd = odd_images(np.array([image_statistics(image) for image in images]))
    assert len({one.kind for one in odd}) == len(odd) and all(one.reason for one in odd)
    return {one.kind: one.rows for one in odd}


def test_numbers_of_an_image() -> None:
    pixels = np.zeros((40, 50, 3), dtype=np.uint8)
    pixels[:, 25:] = (200, 200, 100)
    statistics = image_statistics(SmallImage(pixels, (400, 500), "RGB", 3, 8))
    assert statistics.dtype == STATISTICS
    assert [int(statistics[name]) for name in ("height", "width", "channels", "bits")] == [400, 500, 3, 8]
    gray = (200 * (77 + 150) + 100 * 29) / 256
    assert statistics["mean"] == pytest.approx(gray / 2) and statistics["spread"] == pytest.approx(gray / 2)
    assert (statistics["low"], statistics["high"], statistics["color"]) == (0, int(gray), 100)


def test_sharpness_has_no_unit() -> None:
    pixels = photograph(0)
    sharp, faint = (float(image_statistics(small(image))["sharpness"]) for image in (pixels, 100 + pixels // 8))
    assert sharp == pytest.approx(20, rel=0.3), "white noise: 1 + 1 + 1 + 1 + 16"
    assert faint == pytest.approx(sharp, rel=0.1)
    assert float(image_statistics(small(blurred(pixels, 4)))["sharpness"]) < 0.08
    assert np.isnan(image_statistics(small(np.full((9, 9, 3), 5, dtype=np.uint8)))["sharpness"])
    assert np.isnan(image_statistics(small(np.eye(2, dtype=np.uint8)[:, :, None].repeat(3, 2) * 255))["sharpness"])


def test_a_sharp_object_before_a_blurred_background_is_sharp() -> None:
    pixels = blurred(photograph(0), 8)
    pixels[15:45, 20:60] = photograph(1)[15:45, 20:60]
    images = [small(photograph(number)) for number in range(20)] + [small(pixels)]
    assert kinds(images) == {}
    images.append(small(blurred(np.kron(photograph(2), np.ones((3, 3, 1), dtype=np.uint8)), 12)))
    assert kinds(images) == {"blurred": (21,)}


def test_black_white_and_flat() -> None:
    images = [small(photograph(number)) for number in range(12)]
    rng = np.random.default_rng(0)
    images.append(small(rng.integers(0, 6, (60, 80, 3), dtype=np.uint8)))
    images.append(small(rng.integers(250, 256, (60, 80, 3), dtype=np.uint8)))
    images.append(small(np.full((60, 80, 3), (90, 20, 160), dtype=np.uint8)))
    assert kinds(images) == {"black": (12,), "white": (13,), "flat": (14,)}


def test_what_most_of_a_set_is_is_not_odd() -> None:
    dark = [small(photograph(number) // 16) for number in range(20)]
    soft = [small(blurred(np.kron(photograph(number), np.ones((3, 3, 1), dtype=np.uint8)), 12)) for number in range(20)]
    gray = [small(photograph(number)[:, :, :1].repeat(3, axis=2)) for number in range(20)]
    assert kinds(dark) == kinds(soft) == kinds(gray) == {}
    assert odd_images(np.zeros(0, dtype=STATISTICS)) == []


def test_another_kind_than_the_rest() -> None:
    images = [small(photograph(number)) for number in range(40)]
    images[3] = small(photograph(3)[:, :, 1:2].repeat(3, axis=2), channels=1)
    images[7] = small(photograph(7), bits=16)
    images[9] = small(photograph(9), channels=4)
    images[11] = small(np.zeros((60, 80, 3), dtype=np.uint8))
    images[20] = SmallImage(photograph(20)[:2, :2], (2, 2), "RGB", 3, 8)
    images = [
        image if number == 20 else SmallImage(image.image, (480, 640), image.mode, image.channels, image.bits)
        for number, image in enumerate(images)
    ]
    assert kinds(images) == {"black": (11,), "tiny": (20,), "gray": (3,), "bits": (7,), "alpha": (9,)}
    gray = [small(photograph(number)[:, :, :1].repeat(3, axis=2)) for number in range(20)]
    assert kinds([*gray, small(photograph(0))]) == {"color": (20,)}
    assert kinds(gray[:8] + [small(photograph(0))]) == {}, "too few to say"


@pytest.mark.parametrize(
    ("folder", "pattern", "step"),
    [
        ("detection/coco_mini_yolo/images", "*/*.jpg", 1),
        ("classification/cats_dogs_subset", "*/*/*.jpg", 4),
        ("classification/cifar10_jpeg_subset", "train/*/*.jpg", 10),
        ("detection/bccd/JPEGImages", "*.jpg", 5),
        ("segmentation/camvid", "t*[nt]/*.png", 2),
        ("keypoints/openfield_mouse/labeled-data", "*/*.png", 4),
    ],
)
def test_no_false_alarm_on_photographs(assets: Path, folder: str, pattern: str, step: int, tmp_path: Path) -> None:
    files = [file for file in sorted((assets / folder).glob(pattern)) if "annot" not in file.parent.name][::step]
    if not files:
        pytest.skip(f"no {folder}")
    images = [read_small(file) for file in files]
    assert set(kinds(images)) <= {"gray"}
    for row in kinds(images).get("gray", ()):
        channels = images[row].image.astype(int)
        assert np.abs(channels - channels.mean(axis=2, keepdims=True)).mean() < 2, f"{files[row]} is gray indeed"
    with Image.open(files[0]) as picture:
        if max(picture.size) < 100:
            return
        soft = picture.convert("RGB").filter(ImageFilter.GaussianBlur(max(picture.size) / 60))
    soft.save(tmp_path / "soft.jpg", quality=92)
    assert kinds([*images, read_small(tmp_path / "soft.jpg")])["blurred"] == (len(images),)
