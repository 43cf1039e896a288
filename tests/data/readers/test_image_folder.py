"""Class folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vertebra.annotations.options import ReadOptions
from vertebra.data.index import Index
from vertebra.data.open import find_data, open_data
from vertebra.data.readers.image_folder import ImageFolderReader
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
        "1 file of a class folder that is no image was left out: notes.txt",
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


def texts(index: Index) -> list[str]:
    return [str(note) for note in index.notes]


def test_doubled_folders_of_a_zip_file(class_folders: Make) -> None:
    root = class_folders({f"seg_{s}/seg_{s}/{c}": 4 for s in ("train", "test") for c in ("forest", "sea")})
    (root / "seg_pred" / "seg_pred").mkdir(parents=True)
    (root / "seg_pred" / "seg_pred" / "a.png").write_bytes(
        (root / "seg_test/seg_test/sea").iterdir().__next__().read_bytes()
    )
    train, test = (open_data(root, "classify", split) for split in ("train", "test"))
    assert train.labels["classify"].classes == ("forest", "sea") and len(test) == 8
    assert (
        "2 folders of a split, alone in one of the same split, were taken for the split: seg_test/seg_test, seg_train/seg_train"
        in texts(train)
    )
    assert "1 folder beside those of the splits was left out: seg_pred" in texts(train)


def test_lone_folders_are_entered(class_folders: Make) -> None:
    root = class_folders({"my set/data/cat": 4, "my set/data/dog": 4})
    (root / "README.md").write_text("about")
    index = open_data(root, "classify", "train")
    assert index.labels["classify"].classes == ("cat", "dog")
    assert texts(index)[0] == "1 folder that is alone in the data set's was entered: my set/data"


def test_classes_of_deeper_images(class_folders: Make) -> None:
    root = class_folders({"cat/tabby/young": 8, "cat/black": 8, "dog/poodle": 16})
    index = open_data(root, "classify", "train")
    assert index.labels["classify"].classes == ("cat", "dog") and len(index) == 26


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"images": 4, "labels": 4}, "its folders images, labels are no classes"),
        (
            {"Images/cat": 4, "Images/dog": 4, "masks": 4},
            r"are no classes; if its folders are the classes, name .*Images",
        ),
        (
            {"train": 4, "trainannot": 4, "val": 1, "valannot": 1},
            "its folders .* are splits, and their images lie in no folders",
        ),
        ({"train": 4, "test": 4}, "its folders test, train are splits, and their images lie in no folders of classes"),
        (
            {"train/images": 4, "train/labels": 4, "val/images": 2, "val/labels": 2},
            "its folders images, labels are no classes",
        ),
        (
            {"amazon/images/cat": 2, "amazon/images/dog": 2, "dslr/images/cat": 2},
            r"lie deeper than in .*; .* name .*amazon/images",
        ),
        ({"images": 4, "annotations": 1}, "its folders annotations, images are no classes"),
        (
            {"covid/images": 2, "covid/masks": 2, "sound/images": 2, "sound/masks": 2},
            "its folders covid, sound hold images beside masks or labels; for classes, put those of each into one",
        ),
    ],
)
def test_folders_that_are_no_classes(class_folders: Make, counts: dict[str, int], message: str) -> None:
    root = class_folders(counts)
    for options in ({}, {"format": "image_folder"}):
        with pytest.raises(DataError, match=message):
            open_data(root, "classify", "train", **options)


def test_a_table_beside_the_images_is_named(class_folders: Make) -> None:
    root = class_folders({"images": 6})
    (root / "labels.csv").write_text("file,label\n0.jpg,a\n")
    with pytest.raises(DataError, match=r"its folders images are no classes; the classes may be in labels\.csv"):
        open_data(root, "classify", "train", format="image_folder")


def test_files_beside_class_folders_that_are_of_nothing_known(class_folders: Make) -> None:
    root = class_folders({"cat/images_1": 4, "cat/images_2": 4, "dog/images_1": 4, "dog/images_2": 4})
    (root / "train-images-idx3-ubyte").write_bytes(b"")
    (root / "run.json").write_text('{"task_id": 4}')
    (root / "train.txt").write_text("trained on a Monday\n")
    (root / "test.txt").write_text("")
    for side in ("", "_L"):
        (root / "dog" / "images_1" / f"0{side}.png").write_bytes((next(root.glob("cat/images_1/*"))).read_bytes())
    data_set = find_data(root, "classify")
    assert data_set.format == "image_folder"
    read = ImageFolderReader().load(root, None, ReadOptions())
    assert len(read) == 18 and not ImageFolderReader().splits(root)
    aside = "2 text files with the name of a list, but no names of images, were left aside: train.txt, test.txt"
    assert aside in [str(note) for note in read.notes]


def test_classes_called_as_other_folders(class_folders: Make) -> None:
    assert open_data(class_folders({"mask": 8, "no mask": 8}), "classify", "train").labels["classify"].classes == (
        "mask",
        "no mask",
    )


def test_a_folder_that_keeps_its_time_is_listed_anew(class_folders: Make) -> None:
    root = class_folders({"train/dog": 1, "train/cat": 1})
    os.utime(root / "train", ns=(10**18, 10**18))  # as copies that keep times have it
    assert open_data(root, "classify", "train").labels["classify"].classes == ("cat", "dog")
    (root / "train" / "dog").rename(root / "train" / "cow")
    os.utime(root / "train", ns=(10**18, 10**18))
    assert open_data(root, "classify", "train").labels["classify"].classes == ("cat", "cow")
