"""Pascal VOC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.errors import DataError
from vertebra.tasks.detect.column import BoxColumn

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
    assert boxes_of(index).labeled.all() and len(boxes_of(index).get(1, (24, 32)).labels) == 0
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
        "1 object of classes that are not listed was left out: cat",
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
    several = open_data(root, "classify", "train", multilabel=True)
    assert several.columns["classify"].get(0, (24, 32)).label.tolist() == [0, 1, 1]
    assert several.columns["classify"].get(1, (24, 32)).label.tolist() == [0, 0, 0]
    with pytest.raises(DataError, match=r"objects of several classes, the first is a\.xml; set multilabel: true"):
        open_data(root, "classify", "train")
    assert open_data(root, "classify", "val").columns["classify"].get(0, (24, 32)).label == 0


@pytest.mark.parametrize(
    ("word", "crowd"), [("1", True), ("true", True), ("Yes", True), ("0", False), ("false", False), ("", False)]
)
def test_difficult_is_read_as_what_it_says(voc: Make, word: str, crowd: bool) -> None:
    root = voc({"a": [("dog", 1, 2, 11, 12), ("dog", 3, 4, 8, 9)], "b": []}, {"train": ["a", "b"], "val": ["b"]})
    file = root / "Annotations" / "a.xml"
    file.write_text(file.read_text().replace("<difficult>0</difficult>", f"<difficult>{word}</difficult>", 1))
    index = open_data(root, "detect", "train")
    assert boxes_of(index).crowd.tolist() == [crowd, False] and not index.notes


def test_doubled_lines_are_counted(voc: Make) -> None:
    root = voc(OBJECTS, {**LISTS, "train": ["a", "b", "a", "a"]})
    index = open_data(root, "detect", "train")
    assert len(index) == 2
    assert str(index.notes[0]) == "2 lines of the list of split 'train', a copy of another, were left out: a.xml"


def test_reading_ends_where_everything_is_dropped_or_difficult(voc: Make) -> None:
    with pytest.raises(DataError, match="2 of its 2 annotations cannot be used.*2 mark a crowd or something to ignore"):
        open_data(voc({"a": [("dog", 1, 2, 11, 12, True), ("dog", 3, 4, 8, 9, True)]}), "detect", "train")
    with pytest.raises(
        DataError, match="2 of its 2 annotations cannot be used.*2 boxes of zero area were dropped: a.xml"
    ):
        open_data(voc({"a": [("dog", 1, 2, 1, 12), ("dog", 3, 4, 8, 4)]}), "detect", "train")


@pytest.mark.parametrize("size", ["9" * 5000, "\u00b2", "-3", "1e400", "nan", "wide"])
def test_sizes_that_are_none_are_unknown(voc: Make, size: str) -> None:
    root = voc({"a": [("dog", 1, 2, 50, 12)], "b": []}, {"train": ["a", "b"], "val": ["b"]})
    file = root / "Annotations" / "a.xml"
    file.write_text(file.read_text().replace("<width>32</width>", f"<width>{size}</width>"))
    assert boxes_of(open_data(root, "detect", "train")).boxes.tolist() == [[1, 2, 50, 12]]


def test_boxes_that_are_no_place_are_dropped(voc: Make) -> None:
    root = voc({"a": [("dog", 1, 2, value, 12) for value in ("1e999", "nan", "-1e300")] + [("dog", 1, 2, 9, 9)]})
    (root / "Annotations" / "b.xml").write_text("<annotation/>")
    (root / "JPEGImages" / "b.png").write_bytes((root / "JPEGImages" / "a.png").read_bytes())
    index = open_data(root, "detect", "train")
    assert [note.done for note in index.notes][:2] == ["dropped", "dropped"]


def test_text_of_another_encoding_is_told(voc: Make) -> None:
    root = voc(OBJECTS, LISTS)
    (root / "Annotations" / "a.xml").write_text('<?xml version="1.0" encoding="utf-9"?><annotation/>')
    (root / "Annotations" / "b.xml").write_text("<annotation>" * 50_000)
    with pytest.raises(DataError, match="2 of 2 annotation files cannot be read.* unknown encoding 'utf-9'"):
        open_data(root, "detect", "train")
    (root / "ImageSets" / "Main" / "val.txt").write_bytes("\u00e9".encode("latin-1"))
    with pytest.raises(DataError, match=r"val\.txt: not text in UTF-8 .*save it as UTF-8"):
        open_data(root, "detect", "val")


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


def test_further_tags_are_attributes(voc: Make) -> None:
    root = voc(OBJECTS, LISTS)
    (file,) = root.rglob("a.xml")
    text = file.read_text().replace(
        "<name>dog</name>", "<name>dog</name><material> wood </material><part><name>tail</name></part>"
    )
    pair = "<attributes><attribute><name>color</name><value>red</value></attribute></attributes>"
    file.write_text(text.replace("<name>cat</name>", f"<name>cat</name>{pair}"))
    index = open_data(root, "box_attributes:color", "train", classes=["red", "blue"])
    assert index.columns["box_attributes:color"].get(0, (24, 32)).values.tolist() == [-1, 0]
    material = open_data(root, "box_attributes:material", "train", classes=["wood", "iron"])
    assert material.columns["box_attributes:material"].get(0, (24, 32)).values.tolist() == [0, -1]
    with pytest.raises(
        DataError, match=r"no object has a value of the attribute 'colour'; its objects have: .*color \(1 values\)"
    ):
        open_data(root, "box_attributes:colour", "train")
