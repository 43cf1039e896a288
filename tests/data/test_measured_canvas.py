"""The canvas is chosen from all images and their objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.data.canvas import measured_canvas
from vertebra.data.open import open_data
from vertebra.errors import DataError


def write(folder: Path, sizes: list[tuple[int, int]], side: int) -> Path:
    """Images of these (height, width) in YOLO's format, each with one square box of a side in pixels."""
    for name in ("images", "labels"):
        (folder / name / "train").mkdir(parents=True)
    (folder / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [a]\n")
    for number, (height, width) in enumerate(sizes):
        Image.fromarray(np.full((height, width, 3), 90, dtype=np.uint8)).save(folder / f"images/train/{number:03}.png")
        box = f"0 0.5 0.5 {side / width} {side / height}\n"
        (folder / f"labels/train/{number:03}.txt").write_text(box)
    return folder


def test_all_images_count(tmp_path: Path) -> None:
    folder = write(tmp_path, [(416, 608)] * 8 + [(352, 448)] * 10, side=20)
    index = open_data(folder, "detect", "train")
    size, reason = measured_canvas([index], {"detect"})
    assert size == (512, 672), "one and a half times the median image, since the objects are small"
    assert reason.startswith("the median of 18 images is 352x448; of 18 objects 10% are smaller than ")
    assert measured_canvas([index], {"segment"})[1] == "the median of 18 images is 352x448"
    assert max(measured_canvas([index], {"detect"}, longest=128)[0]) == 128


def test_large_objects_need_a_smaller_canvas_than_masks(tmp_path: Path) -> None:
    large = open_data(write(tmp_path / "large", [(480, 640)] * 3, side=200), "detect", "train")
    small = open_data(write(tmp_path / "small", [(480, 640)] * 3, side=12), "detect", "train")
    assert measured_canvas([large], {"detect"})[0] == (192, 256)
    assert measured_canvas([small], {"detect"})[0] == measured_canvas([large, small], {"detect"})[0] == (704, 960)
    assert measured_canvas([large], {"detect", "segment"})[0] == (480, 640)
    assert measured_canvas([large], {"detect", "classify"})[0] == (192, 256)


def test_whole_images_have_a_square_canvas(tmp_path: Path) -> None:
    index = open_data(write(tmp_path, [(480, 640)], side=9), "detect", "train")
    assert [measured_canvas([index], {"classify"}, recipe)[0] for recipe in ("fast", "default", "best")] == [
        (160, 160), (224, 224), (288, 288),
    ]  # fmt: skip


def test_unreadable_images_are_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path, [(96, 128)] * 3, side=9)
    index = open_data(folder, "detect", "train")
    (folder / "images/train/000.png").write_bytes(b"no")
    assert measured_canvas([index], {"detect"})[1].startswith("the median of 2 images is 96x128; of 2 objects")
    for path in (folder / "images/train").iterdir():
        path.write_bytes(b"no")
    with pytest.raises(DataError, match="none of its images can be read"):
        measured_canvas([index], {"detect"})
