"""Formats are found by looking, and wrong folders are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vertebra.data.open import detect_format, open_data
from vertebra.errors import DataError, UnknownName

Make = Callable[..., Path]


def test_formats_are_found(
    tmp_path: Path, voc: Make, coco: Make, masks: Make, class_folders: Make, draw_image: Make
) -> None:
    assert detect_format(class_folders({"train/cat": 1})) == "image_folder"
    masks({"a": np.zeros((4, 4), dtype=np.uint8)})
    assert detect_format(tmp_path) == "mask_folder"
    assert detect_format(coco([])) == "coco" and detect_format(tmp_path) == "coco"
    voc({"a": []})
    assert detect_format(tmp_path) == "voc"


def test_wrong_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder or file"):
        open_data(tmp_path / "nowhere", "detect", "train")
    with pytest.raises(DataError, match="this folder is empty"):
        detect_format(tmp_path)
    (tmp_path / "note.md").write_text("hello")
    with pytest.raises(DataError, match=r"of no known format\. 'vertebra data formats' describes all formats$"):
        detect_format(tmp_path)


def test_the_formats_of_the_files_are_named(tmp_path: Path, draw_image: Make) -> None:
    draw_image(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"of no known format; formats of \.png files: mask_folder, image_folder\. "):
        detect_format(tmp_path)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.xml").write_text("<other/>")
    with pytest.raises(DataError, match=r"of no known format; formats of \.xml files: cvat, voc\. '"):
        open_data(tmp_path, "detect", "train")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(DataError, match=r"formats of \.json and \.xml files: .*coco") as error:
        open_data(tmp_path, "detect", "train")
    assert len(str(error.value)) < 400


def test_a_table_that_is_not_understood_is_named_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,width\na.png,5\n")
    for path in (tmp_path, tmp_path / "labels.csv"):
        with pytest.raises(
            DataError, match=r"labels.csv: no column with names of images .*; it has: image, width\. Name them"
        ):
            detect_format(path)


def test_wrong_wishes_are_answered(class_folders: Make) -> None:
    root = class_folders({"cat": 3})
    with pytest.raises(
        DataError, match=r"format 'image_folder' has no labels for task 'detect', only for classify; for detect"
    ):
        open_data(root, "detect", "train")
    with pytest.raises(DataError, match="no data format has labels for task 'sing'"):
        open_data(root, "sing", "train")
    with pytest.raises(DataError, match="split 'valid' does not exist; choose train, val or test"):
        open_data(root, "classify", "valid")
    with pytest.raises(UnknownName, match="Did you mean 'coco'"):
        open_data(root, "classify", "train", format="cocoo")
