"""Small data sets get each class into each split where they can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vertebra.data.check.run import check_data
from vertebra.data.open import open_data

Make = Callable[..., Path]
PARTS = ("train", "val", "test")


@pytest.mark.parametrize("seed", range(5))
def test_ten_images_of_two_classes(class_folders: Make, seed: int) -> None:
    root = class_folders({"cat": 5, "dog": 5})
    parts = {name: open_data(root, "classify", name, seed=seed) for name in PARTS}
    classes = {name: Counter(part.columns["classify"].values.tolist()) for name, part in parts.items()}
    assert classes == {"train": {0: 3, 1: 3}, "val": {0: 1, 1: 1}, "test": {0: 1, 1: 1}}
    paths = [part.path(row) for part in parts.values() for row in range(len(part))]
    assert len(set(paths)) == 10
    note = "10 images of a small data set without splits were divided so that each split has each class where it can"
    assert str(parts["val"].notes[-1]) == f"{note} (train 6, val 2, test 2)"


def test_a_train_folder_of_ten_images(class_folders: Make) -> None:
    root = class_folders({"train/cat": 5, "train/dog": 5})
    val = open_data(root, "classify", "val")
    assert Counter(val.columns["classify"].values.tolist()) == {0: 1, 1: 1}
    assert len(open_data(root, "classify", "train")) == 8
    assert check_data(root, "classify").sound


def test_enough_images_are_divided_by_shares_without_a_note(class_folders: Make) -> None:
    root = class_folders({"cat": 20, "dog": 20})
    parts = [open_data(root, "classify", name) for name in PARTS]
    assert [len(part) for part in parts] == [32, 4, 4] and not any(part.notes for part in parts)


def test_rare_objects(voc: Make) -> None:
    objects = {f"{number:02}": [("dog", 1, 1, 9, 9)] for number in range(20)}
    objects |= {f"{number:02}": [("dog", 1, 1, 9, 9), ("owl", 3, 3, 9, 9)] for number in (0, 1, 2)}
    root = voc(objects)
    for name in PARTS:
        index = open_data(root, "detect", name)
        assert 1 in {
            label for row in range(len(index)) for label in index.columns["detect"].get(row, (24, 32)).labels.tolist()
        }
