"""Corrected copies: what they change, and that a check of them is content."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.data.check.fix import fix_data
from vertebra.data.check.run import check_data
from vertebra.data.open import open_data
from vertebra.errors import ConfigError

Make = Callable[..., Path]


def test_class_folders_without_broken_leaked_and_misspelled(tmp_path: Path, draw_scene: Make) -> None:
    root = tmp_path / "set"
    for folder, count in {"train/cat": 6, "train/Dog": 6, "val/cat": 3, "val/dog": 4}.items():
        for number in range(count):
            draw_scene(root / folder / f"{number}.png", seed=f"{folder}{number}")
    (root / "train/cat/0.png").write_bytes(b"broken")
    shutil.copy(root / "val/cat/1.png", root / "train/cat/leak.png")
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    notes = [str(note) for note in fix_data(root, tmp_path / "out", check_data(root), merge_classes=True)]
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before
    assert "1 image that cannot be read was left out: train/cat/0.png" in notes
    assert "1 image that val or test has too was taken out of train: train/cat/leak.png" in notes
    assert any(note.startswith("1 group of classes was merged: dog to Dog") for note in notes)
    report = check_data(tmp_path / "out")
    assert report.format == "image_folder" and report.sound
    assert report.splits["train"].classes["classify"] == {"Dog": 6, "cat": 5}
    assert report.splits["val"].classes["classify"] == {"Dog": 4, "cat": 3}


def test_boxes_are_clipped_dropped_and_brought_over(tmp_path: Path, draw_scene: Make) -> None:
    root = tmp_path / "set"
    images = [{"id": n, "file_name": f"{n}.png", "height": 96, "width": 128} for n in range(4)]
    for entry in images:
        draw_scene(root / str(entry["file_name"]), *((48, 64) if entry["id"] == 3 else (96, 128)))
    boxes = [
        (0, [100, 10, 60, 20]),
        (1, [10, 10, 0, 5]),
        (1, [10, 10, 20, 20]),
        (2, [200, 10, 5, 5]),
        (2, [5, 5, 9, 9]),
        (3, [20, 40, 60, 20]),
    ]
    annotations = [
        {"id": n, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0,
         "segmentation": [[box[0], box[1], box[0] + box[2], box[1], box[0], box[1] + box[3]]] if image == 3 else []}
        for n, (image, box) in enumerate(boxes)
    ]  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "dog"}]}
    (root / "train.json").write_text(json.dumps(content))
    draw_scene(root / "val.png")
    val = {
        **content,
        "images": [{**images[0], "file_name": "val.png"}],
        "annotations": [{**annotations[2], "image_id": 0}],
    }
    (root / "val.json").write_text(json.dumps(val))
    fix_data(root, tmp_path / "out", check_data(root, "detect"))
    index = open_data(tmp_path / "out", "detect", "train")
    column = index.columns["detect"]
    sizes = [(96, 128)] * 3 + [(48, 64)]
    assert [column.get(row, size).boxes.tolist() for row, size in enumerate(sizes)] == [
        [[100, 10, 128, 30]],
        [[10, 10, 30, 30]],
        [[5, 5, 14, 14]],
        [[10, 20, 40, 30]],
    ]
    assert not [one for one in check_data(tmp_path / "out", "detect").every if one.kind in ("size", "outside", "note")]
    masks = open_data(tmp_path / "out", "segment", "train").columns["segment"]
    assert masks.get(3, (48, 64)).mask[20:30, 10:40].any() and not masks.get(3, (48, 64)).mask[:, 41:].any()


def test_masks_are_written_as_masks(tmp_path: Path, draw_scene: Make) -> None:
    root = tmp_path / "set"
    for split in ("train", "val"):
        for number in range(3):
            draw_scene(root / "images" / split / f"{number}.png", seed=f"{split}{number}")
            mask = np.zeros((96, 128), dtype=np.uint8)
            mask[10:50, 10 + number : 60] = 1
            (root / "masks" / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / "masks" / split / f"{number}.png")
    (root / "classes.txt").write_text("background\nthing\n")
    (root / "images" / "train" / "0.png").write_bytes(b"broken")
    fix_data(root, tmp_path / "out", check_data(root))
    report = check_data(tmp_path / "out")
    assert report.tasks == ("segment",) and report.sound and report.splits["train"].images == 2
    assert report.splits["val"].classes["segment"] == {"background": 3, "thing": 3}


def test_nothing_is_overwritten(tmp_path: Path, draw_scene: Make) -> None:
    root = tmp_path / "set"
    draw_scene(root / "cat" / "1.png")
    draw_scene(root / "dog" / "2.png")
    report = check_data(root)
    with pytest.raises(ConfigError, match="not empty"):
        fix_data(root, root / "cat", report)
    with pytest.raises(ConfigError, match="inside of the data set"):
        fix_data(root, root / "new", report)
