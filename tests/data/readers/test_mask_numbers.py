"""Masks whose values number objects, read for tasks of objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.options import ReadOptions
from vertebra.data.open import open_data
from vertebra.data.readers.base import index_of
from vertebra.data.readers.mask_folder import MaskFolderReader
from vertebra.errors import DataError
from vertebra.tasks.instances.annotation import InstanceAnnotation

SIZE = (24, 32)
Make = Callable[..., None]


def numbered(root: Path, draw_image: Make, dtype: type = np.uint8) -> Path:
    """Three images: with three objects, of which two touch and one lies at 9; with one; and with none."""
    for number, values in enumerate(
        ({1: (2, 2, 10, 12), 2: (2, 12, 10, 20), 9: (15, 4, 20, 9)}, {1: (0, 0, 5, 5)}, {})
    ):
        mask = np.zeros(SIZE, dtype)
        for value, (top, left, bottom, right) in values.items():
            mask[top:bottom, left:right] = value
        mask[23] = 255 if dtype is np.uint8 else 0
        draw_image(root / "images" / "train" / f"{number}.png")
        (root / "masks" / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(root / "masks" / "train" / f"{number}.png")
    return root


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_value_is_an_object(dtype: type, tmp_path: Path, draw_image: Make) -> None:
    numbered(tmp_path, draw_image, dtype)
    options = ReadOptions(classes=("cell",))
    read = MaskFolderReader().load_for(tmp_path, None, options, frozenset({"outlines"}))
    index = index_of(read, "instances", options)
    objects: list[InstanceAnnotation] = [index.columns["instances"].get(row, SIZE) for row in range(3)]
    assert sorted(len(each.labels) for each in objects) == [0, 1, 3]
    assert index.labels["instances"].classes == ("cell",)
    most = max(objects, key=lambda each: len(each.labels))
    assert most.boxes.tolist() == [[2, 2, 12, 10], [12, 2, 20, 10], [4, 15, 9, 20]]
    assert [region.area for region in most.rles] == [80, 64, 25]
    notes = [str(note) for note in index.notes]
    assert "4 values of a mask were read as an object of class 'cell' each" in notes
    assert ("3 masks with pixels of the ignored value were read without these: 0.png, 1.png, 2.png" in notes) is (
        dtype is np.uint8
    )
    boxes = open_data(tmp_path, "detect", "train")
    assert boxes.labels["detect"].classes == ("object",)


def test_a_value_of_8_bits_may_be_any_of_256(tmp_path: Path, draw_image: Make) -> None:
    numbered(tmp_path, draw_image)
    mask = np.zeros(SIZE, np.uint8)
    mask[:2], mask[4:6] = 254, 255
    Image.fromarray(mask).save(tmp_path / "masks" / "train" / "2.png")
    read = MaskFolderReader().load_for(tmp_path, None, ReadOptions(), frozenset({"outlines"}))
    assert len(read.objects) == 6


def test_masks_of_classes_are_not_numbers_of_objects(tmp_path: Path, draw_image: Make) -> None:
    reader = MaskFolderReader()
    assert reader.kinds_in(numbered(tmp_path, draw_image)) == {"masks", "outlines"}
    assert reader.load(tmp_path, None, ReadOptions()).kinds == {"masks"}
    mask = np.zeros(SIZE, np.uint8)
    mask[::2, ::3], mask[1::2, ::3] = 1, 2
    for number in (0, 1):
        Image.fromarray(mask).save(tmp_path / "masks" / "train" / f"{number}.png")
    assert reader.kinds_in(tmp_path) == {"masks"}
    with pytest.raises(DataError, match="format 'mask_folder' has no labels for task 'instances', only for segment"):
        open_data(tmp_path, "instances", "train")
    numbered(tmp_path, draw_image)
    (tmp_path / "classes.txt").write_text("background\nleaf\nstem\n")
    assert reader.kinds_in(tmp_path) == {"masks"}
    with pytest.raises(
        DataError, match="a file names 2 classes, but masks that number objects have objects of one class"
    ):
        open_data(tmp_path, "instances", "train", format="mask_folder")


def test_masks_without_an_object_or_damaged_are_refused(tmp_path: Path, draw_image: Make) -> None:
    numbered(tmp_path, draw_image)
    for number in range(3):
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "masks" / "train" / f"{number}.png")
    with pytest.raises(DataError, match="its masks number no object; each object needs a value from 1 on"):
        open_data(tmp_path, "instances", "train", format="mask_folder")
    for number in range(3):
        (tmp_path / "masks" / "train" / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="this mask is damaged"):
        open_data(tmp_path, "instances", "train", format="mask_folder")
