"""The quick check that a training runs first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vertebra.data.check.before_training as quick
from vertebra.data.check.before_training import SAMPLE, check_before_training
from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.data.sources import Source
from vertebra.errors import DataError
from vertebra.tasks.detect.column import BoxColumn
from vertebra.tasks.detect.labels import DetectLabels

Make = Callable[..., Path]


def source(root: Path, task: str, split: str) -> Source:
    return Source(open_data(root, task, split), {task: task})


def folders(root: Path, draw: Make, counts: dict[str, int]) -> Path:
    for folder, count in counts.items():
        for number in range(count):
            draw(root / folder / f"{number}.png", seed=f"{folder}{number}")
    return root


def test_a_sound_set_gives_no_line(tmp_path: Path, draw_scene: Make) -> None:
    root = folders(tmp_path, draw_scene, {"train/cat": 12, "train/dog": 12, "val/cat": 3, "val/dog": 3})
    assert check_before_training([source(root, "classify", "train")], [source(root, "classify", "val")]) == []


def test_few_samples_imbalance_and_validation_on_train(tmp_path: Path, draw_scene: Make) -> None:
    root = folders(tmp_path, draw_scene, {"train/cat": 40, "train/dog": 2, "val/cat": 3, "val/dog": 3})
    train = source(root, "classify", "train")
    lines = check_before_training([train], [train])
    assert len(lines) == 3 and all(line.startswith("data check: ") for line in lines)
    assert any("1 class with fewer than 10 samples: dog 2; a class is hardly learned" in line for line in lines)
    assert any("a model that always answers 'cat' is right for 95% of them" in line for line in lines)
    assert any("42 images in train and in val" in line for line in lines)


def test_few_samples_are_counted_over_all_data_sets_and_told_in_one_line(tmp_path: Path, draw_scene: Make) -> None:
    root = folders(tmp_path, draw_scene, {"train/cat": 6, "train/dog": 2, "val/cat": 3, "val/dog": 3})
    train, val = source(root, "classify", "train"), source(root, "classify", "val")
    rows = np.arange(8)
    boxes = BoxColumn.of(rows, np.ones((8, 4)), rows * 0, rows < 0, rows >= 0)
    objects = Index(train.index.root, train.index.images, {"detect": boxes}, {"detect": DetectLabels(("wheel",))})
    lines = check_before_training([train, train, Source(objects, {"detect": "detect"})], [val])
    (line,) = [line for line in lines if "fewer than 10 samples" in line]
    assert line.startswith(
        "data check: train: classify: 1 class with fewer than 10 samples: dog 4; "
        "detect: 1 class with fewer than 10 samples: wheel 8; a class is hardly learned"
    )


def test_only_a_sample_is_decoded(tmp_path: Path, draw_scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folders(tmp_path, draw_scene, {"train/cat": 60, "train/dog": 60, "val/cat": 3, "val/dog": 3})
    rows: list[int] = []
    real = quick.scan
    monkeypatch.setattr(quick, "scan", lambda opened, chosen: rows.append(len(chosen)) or real(opened, chosen))
    check_before_training([source(root, "classify", "train")], [source(root, "classify", "val")])
    assert rows == [SAMPLE, 6]


def test_images_that_cannot_be_used_stop_a_training_only_if_there_are_many(tmp_path: Path, draw_scene: Make) -> None:
    root = folders(tmp_path, draw_scene, {"train/cat": 15, "train/dog": 15, "val/cat": 3, "val/dog": 3})
    (root / "train/cat/0.png").write_bytes(b"broken")
    train, val = source(root, "classify", "train"), source(root, "classify", "val")
    assert check_before_training([train], [val]) == []
    for number in range(5):
        (root / f"train/dog/{number}.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"6 images cannot be read: .*data.check=false"):
        check_before_training([train], [val])


def test_masks_of_soft_borders_stop_a_training(
    tmp_path: Path, draw_scene: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [*(str(number) for number in range(12))]
    for split in ("train", "val"):
        for number in range(4):
            draw_scene(tmp_path / "images" / split / f"{number}.png", seed=f"{split}{number}")
            mask = np.zeros((96, 128), dtype=np.uint8)
            mask[20:60, 20:80] = 11
            mask[20, 20:30] = np.arange(1, 11)
            (tmp_path / "masks" / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(tmp_path / "masks" / split / f"{number}.png")
    (tmp_path / "classes.txt").write_text("\n".join(names))
    with pytest.raises(DataError, match="classes that nobody named, most of them with hardly a pixel"):
        check_before_training([source(tmp_path, "segment", "train")], [source(tmp_path, "segment", "val")])
