"""Data sets of labeling tools, and Roboflow's exports, are recognized without naming the format, and by one reader only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.readers.tool_formats import SIZE, WRITERS, Boxes, load, names, picture
from vertebra.annotations.options import ReadOptions
from vertebra.data.open import detect_format, open_data, readings
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader

CLASS_FOLDERS = "image_folder"  # refuses less than it should where folders hold images
BOXES: Boxes = {
    "a.png": [("dog", (2, 3, 8.5, 9)), ("cat", (1, 1, 4, 4.25))],
    "b.png": [("dog", (10, 10, 20, 20))],
    "c.png": [("cat", (0, 0, 32, 24))],
}


@pytest.mark.parametrize("tool", WRITERS)
def test_each_tool_is_read_by_its_reader_alone(tmp_path: Path, tool: str) -> None:
    for name in BOXES:
        picture(tmp_path / name)
    WRITERS[tool](tmp_path, BOXES, SIZE)
    assert set(readings(tmp_path, "detect")) - {CLASS_FOLDERS, "voc"} == {tool}
    assert readings(tmp_path, "detect")[0] == tool
    read = load(tmp_path, tool)
    assert [read.path(row).name for row in range(3)] == list(BOXES)
    assert names(read) == [label for objects in BOXES.values() for label, _ in objects]
    expected = [box for objects in BOXES.values() for _, box in objects]
    np.testing.assert_allclose(read.objects.boxes, expected, atol=1e-12)


@pytest.mark.parametrize("tool", WRITERS)
def test_real_blood_cells_from_each_tool(assets: Path, tmp_path: Path, tool: str) -> None:
    reader = all_readers()["voc"]
    assert isinstance(reader, AnnotationReader)
    original = reader.load(assets / "detection" / "bccd", None, ReadOptions())
    original = original.take(np.arange(6))
    sizes = {tuple(size) for size in original.sizes.tolist()}
    assert sizes == {(480, 640)}
    boxes: Boxes = {original.path(row).name: [] for row in range(6)}
    for row, box, label in zip(original.objects.rows, original.objects.boxes.tolist(), names(original), strict=True):
        boxes[original.path(row).name].append((label, tuple(box)))
    for row in range(6):
        shutil.copy(original.path(row), tmp_path)
    WRITERS[tool](tmp_path, boxes, (480, 640))
    read = load(tmp_path, tool)
    by_name = {read.path(row).name: row for row in range(6)}
    again = read.take(np.array([by_name[name] for name in boxes]))
    assert names(again) == names(original)
    np.testing.assert_allclose(again.objects.boxes, original.objects.boxes, atol=1e-9)


def coco(folder: Path) -> None:
    picture(folder / "a.png")
    images = [{"id": 0, "file_name": "a.png", "height": 24, "width": 32}]
    entry = {
        "id": 0,
        "image_id": 0,
        "category_id": 1,
        "bbox": [2, 3, 6, 6],
        "area": 36,
        "segmentation": [],
        "iscrowd": 0,
    }
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "dog", "supercategory": "animals"},
    ]
    content = {"info": {}, "licenses": [], "categories": categories, "images": images, "annotations": [entry]}
    (folder / "_annotations.coco.json").write_text(json.dumps(content))


def voc(folder: Path) -> None:
    picture(folder / "a.png")
    box = "<bndbox><xmin>2</xmin><xmax>8</xmax><ymin>3</ymin><ymax>9</ymax></bndbox>"
    (folder / "a.xml").write_text(f"<annotation><object><name>dog</name>{box}</object></annotation>")


def createml(folder: Path) -> None:
    picture(folder / "a.png")
    WRITERS["createml"](folder, {"a.png": [("dog", (2, 3, 8, 9))]}, SIZE)


def yolo(folder: Path) -> None:
    picture(folder / "images" / "a.png")
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("0 0.15625 0.25 0.1875 0.25\n")
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\nnames: ['dog']\n"
    (folder.parent / "data.yaml").write_text(text)


def table(folder: Path) -> None:
    picture(folder / "a.png")
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    (folder / "_annotations.csv").write_text(f"{header}\na.png,32,24,dog,2,3,8,9\n")


ROBOFLOW = {"coco": coco, "voc": voc, "createml": createml, "yolo": yolo, "table": table}


@pytest.mark.parametrize("name", ROBOFLOW)
def test_roboflows_exports(tmp_path: Path, name: str) -> None:
    if name not in all_readers():
        pytest.skip(f"there is no reader '{name}'")
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        ROBOFLOW[name](tmp_path / split)
    (tmp_path / "README.roboflow.txt").write_text("exported")
    (tmp_path / "README.dataset.txt").write_text("exported")
    assert detect_format(tmp_path) == name
    assert set(readings(tmp_path, "detect")) - {CLASS_FOLDERS} == {name}
    for split in ("train", "val", "test"):
        index = open_data(tmp_path, "detect", split)
        assert len(index) == 1 and index.columns["detect"].get(0, SIZE).boxes.tolist() == [[2, 3, 8, 9]]
        assert "dog" in index.labels["detect"].classes


def test_roboflows_classes_of_images(tmp_path: Path) -> None:
    if "table" not in all_readers():
        pytest.skip("there is no reader 'table'")
    for split in ("train", "valid"):
        picture(tmp_path / split / "a.png")
        (tmp_path / split / "_classes.csv").write_text("filename, cat, dog\na.png, 0, 1\n")
    assert detect_format(tmp_path) == "table"
    index = open_data(tmp_path, "classify", "val", multilabel=True)
    assert index.columns["classify"].get(0, SIZE).label.tolist() == [0, 1]


NUMBERED: Boxes = {f"{letter}.png": [(str(number), (2, 3, 8, 9)) for number in (0, 1, 2, 10, 11)] for letter in "abc"}


@pytest.mark.parametrize("tool", [*(tool for tool in WRITERS if tool != "supervisely"), "voc", "image_folder"])
def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path, tool: str) -> None:
    """Supervisely's own list of classes has an order."""
    for name in NUMBERED:
        picture(tmp_path / name)
    if tool == "voc":
        for name, boxes in NUMBERED.items():
            objects = "".join(
                f"<object><name>{label}</name><bndbox><xmin>2</xmin><xmax>8</xmax><ymin>3</ymin><ymax>9</ymax></bndbox></object>"
                for label, _ in reversed(boxes)
            )
            (tmp_path / name).with_suffix(".xml").write_text(f"<annotation>{objects}</annotation>")
    elif tool == "image_folder":
        for label, _ in NUMBERED["a.png"]:
            picture(tmp_path / label / "a.png")
    else:
        WRITERS[tool](tmp_path, NUMBERED, SIZE)
    assert load(tmp_path, tool).category_names == ("0", "1", "2", "10", "11")
