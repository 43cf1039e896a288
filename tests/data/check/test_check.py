"""What ``vertebra data check`` finds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.config import Config
from vertebra.data.check.run import check_data
from vertebra.data.open_datasets import open_split
from vertebra.errors import DataError

Make = Callable[..., Path]


def test_a_sound_set(tmp_path: Path, draw_scene: Make) -> None:
    for folder, count in {"train/cat": 12, "train/dog": 11, "val/cat": 10, "val/dog": 10}.items():
        for number in range(count):
            draw_scene(tmp_path / folder / f"{number}.png", seed=f"{folder}{number}")
    report = check_data(tmp_path, "classify")
    assert report.sound and report.format == "image_folder" and list(report.splits) == ["train", "val"]
    assert report.splits["train"].classes == {"classify": {"cat": 12, "dog": 11}}
    assert report.text().endswith("val: 20 images (cat 10, dog 10)\nno problems")
    json.dumps(dataclasses.asdict(report))


def test_unreadable_images_leaks_and_empty_classes(class_folders: Make) -> None:
    root = class_folders({"train/cat": 3, "train/dog": 0, "val/cat": 1})
    shutil.copy(root / "train/cat/train_cat_0.png", root / "val/cat/copy.png")
    (root / "train/cat/train_cat_1.png").write_bytes(b"no")
    report = check_data(root, "classify")
    assert not report.sound
    text = report.text()
    assert "error: 1 image cannot be read: train/cat/train_cat_1.png: not an image that can be read" in text
    assert "warning: 1 class that no image has was kept: dog" in text
    assert "warning: 1 image in two splits: train train_cat_0.png = val copy.png" in text


def test_boxes(voc: Make, draw_image: Make) -> None:
    objects = {"a": [("dog", 1, 1, 9, 9), ("dog", 3, 3, 3, 9)], "b": [("cat", 1, 1, 30, 20)]}
    root = voc(objects, size=(0, 0))  # not known
    draw_image(root / "JPEGImages" / "b.png", 10, 10)
    report = check_data(root, "detect", split="train")
    findings = {finding.kind: finding for finding in report.splits["train"].findings}
    assert findings["outside"].message == "1 box reaching out of the image as it is decoded: JPEGImages/b.png"
    assert findings["note"].message == "1 box of zero area was dropped: a.xml"
    assert findings["note"].severity == "warning" and findings["note"].files == ("a.xml",)
    draw_image(voc(objects) / "JPEGImages" / "b.png", 10, 10)
    report = check_data(root, "detect", split="train")
    (wrong,) = [finding for finding in report.splits["train"].findings if finding.kind == "labels"]
    assert wrong.severity == "error" and wrong.files == ("JPEGImages/b.png",)
    assert "annotated for 24x32, but the image is 10x10" in wrong.message


def test_masks(masks: Make, draw_image: Make) -> None:
    root = masks({f"{split}/{n}": np.full((24, 32), n, dtype=np.uint8) for split in ("train", "val") for n in (0, 1)})
    draw_image(root / "images" / "train" / "1.jpg", 10, 10)
    report = check_data(root, "segment", split="train")
    assert list(report.splits) == ["train"] and report.splits["train"].classes == {"segment": {"0": 1, "1": 0}}
    assert (
        "error: 1 annotation at odds with its image or the classes: 1.jpg: masks/train/1.png: this mask is 24x32"
        in (report.text())
    )


def test_what_cannot_be_opened_is_an_error(tmp_path: Path, class_folders: Make) -> None:
    with pytest.raises(DataError, match="no such folder"):
        check_data(tmp_path / "nowhere", "classify")
    with pytest.raises(DataError, match="no split 'test'"):
        check_data(class_folders({"train/cat": 1}), "classify", split="test")


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_a_set_too_small_for_a_validation_image_is_found_as_training_would(count: int, tmp_path: Path) -> None:
    """Both say the same line, and neither is content where the other is not."""
    for number in range(count):
        for folder, high in (("images", 255), ("masks", 1)):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, high, (8, 8), endpoint=True, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / folder / f"{number}.png")
    report = check_data(tmp_path / "set", "segment")
    raw = {"data": str(tmp_path / "set"), "model": {"backbone": "test_resnet", "decoder": "upsample"}}
    found = [*report.findings, *(finding for split in report.splits.values() for finding in split.findings)]
    errors = [finding.message for finding in found if finding.severity == "error"]
    if count > 2:
        assert not errors and len(open_split(Config.from_raw(raw), "val").sources[0].index) == 1
        return
    with pytest.raises(DataError) as refused:
        open_split(Config.from_raw(raw), "val")
    assert errors == [str(refused.value)]
    assert errors[0].endswith(f"no image in split 'val', for which one is drawn from 3 images or more; it has {count}")
