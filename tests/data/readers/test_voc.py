"""Pascal VOC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vertebra.data.columns import BoxColumn
from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.errors import DataError

Make = Callable[..., Path]
LISTS = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
OBJECTS = {
    "a": [("dog", 1, 2, 11, 12), ("cat", 3, 4, 5, 6, True)],
    "b": [],
    "c": [("ant", 0, 0, 32, 24)],
    "d": [("dog", 2, 2, 9, 9)],
}


def boxes_of(index: Index) -> BoxColumn:
    column = index.columns["detect"]
    assert isinstance(column, BoxColumn)
    return column


def test_lists_classes_and_difficult_objects(voc: Make) -> None:
    root = voc(OBJECTS, LISTS)
    index = open_data(root, "detect", "train")
    assert index.labels["detect"].classes == ("ant", "cat", "dog")
    assert [index.path(row).name for row in range(2)] == ["a.png", "b.png"]
    found = boxes_of(index).get(0, (24, 32))
    assert found.boxes.tolist() == [[1, 2, 11, 12], [3, 4, 5, 6]]
    assert found.labels.tolist() == [2, 1] and found.crowd.tolist() == [False, True]
    assert boxes_of(index).labelled.all() and len(boxes_of(index).get(1, (24, 32)).labels) == 0
    assert [str(note) for note in index.notes] == ["1 class that no image has was kept: ant"]


def test_without_lists_everything_is_divided(voc: Make) -> None:
    root = voc({f"{number:02}": [("dog", 1, 1, 5, 5)] for number in range(20)})
    assert [len(open_data(root, "detect", split)) for split in ("train", "val", "test")] == [16, 2, 2]


def test_trainval_is_divided_where_there_is_no_train_list(voc: Make) -> None:
    names = [f"{number:02}" for number in range(20)]
    root = voc({name: [("dog", 1, 1, 5, 5)] for name in names}, {"trainval": names[:10], "test": names[10:]})
    assert [len(open_data(root, "detect", split)) for split in ("train", "val", "test")] == [9, 1, 10]


def test_bad_boxes_are_dropped_and_named(voc: Make) -> None:
    bad = [
        ("dog", 5, 5, 5, 9),
        ("dog", 9, 9, 5, 12),
        ("dog", 40, 2, 50, 9),
        ("dog", 20, 2, 50, 9),
        ("dog", "nan", 1, 2, 3),
    ]
    root = voc(
        {"a": bad, "b": [("dog", 3, 3, 3, 3)], "c": [("dog", 1, 1, 32.4, 9)]}, {"train": ["a", "b", "c"]} | {"val": []}
    )
    index = open_data(root, "detect", "train")
    assert [str(note) for note in index.notes] == [
        "1 box with a side that is no number was dropped: a.xml",
        "1 box with left and right or top and bottom in reverse was dropped: a.xml",
        "2 boxes of zero area were dropped: a.xml, b.xml",
        "1 box outside of the image was dropped: a.xml",
        "1 box reaching out of the image was clipped: a.xml",
    ]
    np.testing.assert_allclose(boxes_of(index).boxes, [[20, 2, 32, 9], [1, 1, 32, 9]])


def test_missing_and_damaged_files_are_left_out_and_named(voc: Make) -> None:
    root = voc(OBJECTS, {**LISTS, "train": ["a", "b", "lost", "d"]})
    (root / "JPEGImages" / "b.png").unlink()
    (root / "Annotations" / "d.xml").write_text("<annotation><object>")
    index = open_data(root, "detect", "train")
    assert len(index) == 1
    assert [str(note) for note in index.notes][:3] == [
        "1 image without an annotation file was left out: lost",
        "1 annotation file without an image was left out: b.xml",
        "1 annotation file that cannot be read as XML was left out with its image: d.xml",
    ]


def test_what_is_no_voc_is_named(voc: Make) -> None:
    root = voc(OBJECTS, LISTS)
    xml = root / "Annotations" / "a.xml"
    xml.write_text("<annotation><object><name>dog</name><bndbox><xmin>1</xmin></bndbox></object></annotation>")
    with pytest.raises(DataError, match=r"a\.xml: object 'dog' has no <bndbox> with four numbers"):
        open_data(root, "detect", "train")
    xml.write_text("<annotation><object><bndbox/></object></annotation>")
    with pytest.raises(DataError, match=r"a\.xml: an object has no <name>"):
        open_data(root, "detect", "train")


def test_listed_classes(voc: Make) -> None:
    index = open_data(voc(OBJECTS, LISTS), "detect", "train", classes=["dog", "owl"])
    assert boxes_of(index).labels.tolist() == [0]
    assert [str(note) for note in index.notes] == [
        "1 box of classes that are not listed was left out: cat",
        "1 class that no image has was kept: owl",
    ]


def test_xml_beside_images_in_split_folders(tmp_path: Path, draw_image: Make) -> None:
    xml = (
        "<annotation><object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>6</ymax></bndbox>"
    )
    for split in ("train", "valid"):
        draw_image(tmp_path / split / "same.png")
        (tmp_path / split / "same.xml").write_text(xml + "</object></annotation>")
    val = open_data(tmp_path, "detect", "val")
    assert val.path(0) == tmp_path / "valid" / "same.png"
    assert boxes_of(val).boxes.tolist() == [[1, 1, 5, 6]]


def test_classes_of_images_from_boxes(voc: Make) -> None:
    root = voc(OBJECTS, LISTS)
    several = open_data(root, "classify", "train", exclusive=False)
    assert several.columns["classify"].get(0, (24, 32)).label.tolist() == [0, 1, 1]
    assert several.columns["classify"].get(1, (24, 32)).label.tolist() == [0, 0, 0]
    with pytest.raises(DataError, match=r"objects of several classes, the first is a\.xml; set exclusive: false"):
        open_data(root, "classify", "train")
    assert open_data(root, "classify", "val").columns["classify"].get(0, (24, 32)).label == 0


def test_real_blood_cells(assets: Path) -> None:
    parts = {split: open_data(assets / "detection" / "bccd", "detect", split) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 205, "val": 87, "test": 72}
    assert parts["train"].labels["detect"].classes == ("Platelets", "RBC", "WBC")
    counts = sum(np.bincount(boxes_of(part).labels, minlength=3) for part in parts.values())
    assert counts.tolist() == [361, 4153, 372]
    notes = [str(note) for part in parts.values() for note in part.notes]
    assert notes == [
        "1 box of zero area was dropped: BloodImage_00343.xml",
        "1 box of zero area was dropped: BloodImage_00338.xml",
    ]
