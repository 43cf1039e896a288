"""Perceptual hashes: what changes them, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from vertebra.data.analysis.hamming_search import bit_count
from vertebra.data.analysis.perceptual_hash import (
    MIN_CORRELATION,
    NEAR_DISTANCE,
    correlations,
    perceptual_hashes,
    thumbnail,
)
from vertebra.data.analysis.small_images import read_small


def halved(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)


CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], str, dict[str, int]]] = {
    "quality 50": (lambda picture: picture, "jpg", {"quality": 50}),
    "half the size": (halved, "bmp", {}),
    "brighter": (lambda picture: ImageEnhance.Brightness(picture).enhance(1.1), "bmp", {}),
    "darker": (lambda picture: ImageEnhance.Brightness(picture).enhance(0.9), "bmp", {}),
}


def changed_thumbnails(files: list[Path], folder: Path) -> np.ndarray:
    """(1 + changes, n, 32, 32) of files, and of each of the changes of them."""
    rows = [[thumbnail(read_small(file)) for file in files]]
    for change, suffix, options in CHANGES.values():
        rows.append([])
        for file in files:
            with Image.open(file) as picture:
                change(picture.convert("RGB")).save(folder / f"changed.{suffix}", **options)
            rows[-1].append(thumbnail(read_small(folder / f"changed.{suffix}")))
    return np.array(rows)


def check_robust(files: list[Path], folder: Path) -> None:
    thumbnails = changed_thumbnails(files, folder)
    hashes, valid = (part.reshape(len(thumbnails), -1) for part in perceptual_hashes(thumbnails.reshape(-1, 32, 32)))
    assert valid.all()
    near = bit_count(hashes[1:] ^ hashes[0]) <= NEAR_DISTANCE
    assert near.mean() >= 0.99, dict(zip(CHANGES, near.mean(axis=1), strict=True))
    rows = np.arange(len(files))
    stacked = thumbnails.reshape(-1, 32, 32)
    alike = np.stack([correlations(stacked, rows, rows + len(files) * step) for step in range(1, len(thumbnails))])
    assert (alike >= MIN_CORRELATION).mean() >= 0.98
    one, other = np.triu_indices(len(files), 1)
    distances = bit_count(hashes[0][one] ^ hashes[0][other])
    assert distances.min() > 2 * NEAR_DISTANCE and 30 < distances.mean() < 34
    assert correlations(thumbnails[0], one, other).max() < MIN_CORRELATION


@pytest.mark.parametrize(
    ("folder", "pattern", "step"),
    [
        ("detection/coco_mini_yolo/images", "*/*.jpg", 2),
        ("classification/cats_dogs_subset", "*/*/*.jpg", 10),
        ("classification/cifar10_jpeg_subset", "test/*/*.jpg", 8),
        ("detection/bccd/JPEGImages", "*.jpg", 12),
    ],
)
def test_photographs(assets: Path, folder: str, pattern: str, step: int, tmp_path: Path) -> None:
    files = sorted((assets / folder).glob(pattern))[::step]
    if not files:
        pytest.skip(f"no {folder}")
    check_robust(files, tmp_path)


def test_drawn_images(scenes: Path, tmp_path: Path) -> None:
    check_robust(sorted((scenes / "animals" / "train").rglob("*.*"))[:12], tmp_path)


def test_flat_images_are_not_valid() -> None:
    rng = np.random.default_rng(0)
    flat = np.stack([np.full((32, 32), 7), np.full((32, 32), 200), 128 + rng.integers(-2, 3, (32, 32))])
    one_object = np.full((1, 32, 32), 255)
    one_object[0, 10:14, 20:24] = 0
    valid = perceptual_hashes(np.concatenate([flat, one_object]).astype(np.uint8))[1]
    assert valid.tolist() == [False, False, False, True]


def test_bits_are_signs_of_cosines() -> None:
    x = (np.arange(32) + 0.5) / 32
    across = np.cos(np.pi * x)[None, :].repeat(32, axis=0) * 100 + 128
    hashes, _ = perceptual_hashes(np.stack([across, 256 - across, across.T]).astype(np.float32))
    lowest = hashes & np.uint64(3)
    assert lowest[0] & 1 == 1 and lowest[1] & 1 == 0 and lowest[2] & 2 == 2


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnails = np.random.default_rng(0).integers(0, 256, (10, 32, 32), dtype=np.uint8)
    expected = perceptual_hashes(thumbnails)
    monkeypatch.setattr("vertebra.data.analysis.perceptual_hash.BATCH", 3)
    assert all(np.array_equal(*pair) for pair in zip(expected, perceptual_hashes(thumbnails), strict=True))
    assert [len(part) for part in perceptual_hashes(thumbnails[:0])] == [0, 0]


def test_correlation_of_one_color_is_0() -> None:
    thumbnails = np.stack([np.zeros((32, 32)), np.eye(32), 100 - 50 * np.eye(32)])
    rows = np.array([0, 1, 1])
    assert correlations(thumbnails, rows, np.array([1, 1, 2])).round(5).tolist() == [0, 1, -1]
