"""Class folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.errors import DataError
from vertebra.tasks.classify.column import ClassColumn

Make = Callable[..., Path]


def classes_of(index: Index) -> list[int]:
    column = index.columns["classify"]
    assert isinstance(column, ClassColumn)
    return column.values.tolist()


def test_split_folders(class_folders: Make) -> None:
    root = class_folders({"train/dog": 2, "train/cat": 3, "valid/cat": 1, "valid/dog": 1})
    train = open_data(root, "classify", "train")
    assert train.labels["classify"].classes == ("cat", "dog")
    assert classes_of(train) == [0, 0, 0, 1, 1]
    assert train.path(4) == root / "train" / "dog" / "train_dog_1.png" and train.path(4).is_file()
    assert len(open_data(root, "classify", "val")) == 2
    with pytest.raises(DataError, match="there is no split 'test'; there is: train, val"):
        open_data(root, "classify", "test")


def test_a_train_folder_alone_gives_a_tenth_for_val(class_folders: Make) -> None:
    root = class_folders({"train/cat": 20, "train/dog": 10})
    train, val = (open_data(root, "classify", split, seed=2) for split in ("train", "val"))
    assert Counter(classes_of(val)) == {0: 2, 1: 1}
    paths = [index.path(row) for index in (train, val) for row in range(len(index))]
    assert len(set(paths)) == 30
    other = open_data(root, "classify", "val", seed=3)
    assert not np.array_equal(val.images, other.images)


def test_without_splits_everything_is_divided(class_folders: Make) -> None:
    root = class_folders({"cat": 20, "dog": 10, "deep/er": 10})
    parts = [open_data(root, "classify", split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [32, 4, 4]
    assert parts[0].labels["classify"].classes == ("cat", "deep", "dog")
    assert all(Counter(classes_of(part)).keys() == {0, 1, 2} for part in parts)


def test_listed_classes_choose_and_order(class_folders: Make) -> None:
    root = class_folders({"cat": 10, "dog": 10, "owl": 10})
    index = open_data(root, "classify", "train", classes=["owl", "cat"])
    assert Counter(classes_of(index)) == {0: 8, 1: 8}
    assert [str(note) for note in index.notes] == [
        "10 images of classes that are not listed were left out: dog",
        "20 images without a given split were divided at random with seed 0: 16 for train",
    ]
    with pytest.raises(DataError, match=r"none of its classes \(cat, dog, owl\) is among .* Did you mean 'cat'"):
        open_data(root, "classify", "train", classes=["cats"])


def test_a_class_without_images_and_images_without_a_class(class_folders: Make, draw_image: Make) -> None:
    root = class_folders({"train/cat": 2, "train/dog": 0, "val/cat": 1, "val/dog": 1})
    draw_image(root / "train" / "loose.png")
    (root / "train" / "cat" / "notes.txt").write_text("x")
    index = open_data(root, "classify", "train")
    assert len(index) == 2
    assert [str(note) for note in index.notes] == [
        "1 image beside the class folders was left out: loose.png",
        "1 class that no image has was kept: dog",
    ]


def test_multi_label_form(class_folders: Make) -> None:
    index = open_data(class_folders({"cat": 10, "dog": 10}), "classify", "val", multilabel=True)
    assert np.asarray(classes_of(index)).tolist() == [[1, 0], [0, 1]]


def test_empty_folders_are_named(class_folders: Make) -> None:
    root = class_folders({"train/cat": 0, "train/dog": 0, "val/cat": 2})
    with pytest.raises(DataError, match=r"train: no image in its class folders cat, dog"):
        open_data(root, "classify", "train")


def test_real_cats_and_dogs(assets: Path) -> None:
    index = open_data(assets / "classification" / "cats_dogs_subset", "classify", "train")
    assert Counter(classes_of(index)) == {0: 100, 1: 100} and not index.notes
