"""LabelMe."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.readers.tool_formats import (
    SIZE,
    labelme_mask,
    load,
    mask,
    names,
    notes,
    outline,
    picture,
    points,
    splits,
    write_json,
)
from vertebra.data.open import open_data
from vertebra.errors import DataError

TRIANGLE = [[2.5, 3.25], [20, 4], [9, 18]]


def shape(label: Any, spots: Any, kind: str | None = "polygon", **more: Any) -> dict[str, Any]:
    fields = {
        "label": label,
        "points": spots,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }
    return fields | more


def write(folder: Path, name: str, shapes: list[Any], image: str | None = None, **changes: Any) -> Path:
    """A file as LabelMe saves it, and its image."""
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{name}.png" if image is None else image,
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
    }
    picture(folder / f"{name}.png")
    return write_json(folder / f"{name}.json", content | changes)


def test_shapes(tmp_path: Path) -> None:
    drawn = np.array([[1, 0, 1], [1, 1, 0]], dtype=bool)
    shapes = [
        shape("dog", [[9, 8], [2.5, 1.25]], "rectangle"),
        shape("cat", TRIANGLE),
        shape("cat", TRIANGLE, None),
        shape("ball", [[10, 12], [13, 16]], "circle"),
        shape("cat", [[4, 5], [6, 6]], "mask", mask=labelme_mask(drawn)),
        shape("dog", [[1, 1], [5, 2], [4, 6], [0, 5]], "oriented_rectangle"),
        shape("road", [[1, 1], [5, 5]], "line"),
        shape("road", [[1, 1], [5, 5], [7, 2]], "linestrip"),
        shape("road", [[1, 1]], "point"),
    ]
    write(tmp_path, "a", shapes)
    read = load(tmp_path, "labelme")
    assert read.category_names == ("ball", "cat", "dog") and names(read) == ["dog", "cat", "cat", "ball", "cat", "dog"]
    assert read.objects.boxes[0].tolist() == [2.5, 1.25, 9, 8] and not read.objects.has_box[1:].any()
    assert outline(read, 1) == outline(read, 2) == [[2.5, 3.25, 20, 4, 9, 18]]
    circle = np.array(outline(read, 3)[0]).reshape(-1, 2)
    np.testing.assert_allclose(np.hypot(*(circle - (10, 12)).T), 5)
    expected = np.zeros(SIZE, dtype=bool)
    expected[5:7, 4:7] = drawn
    assert np.array_equal(mask(read, 4), expected)
    assert outline(read, 5) == [[1, 1, 5, 2, 4, 6, 0, 5]]
    assert read.sizes.tolist() == [[24, 32]] and read.annotated.all() and read.dropped == 0
    assert notes(read) == [
        "1 turned box was read as an outline of four corners: a.json",
        "1 shape drawn as line, without an area, was left out: a.json",
        "1 shape drawn as linestrip, without an area, was left out: a.json",
        "1 point without a group_id was left out: a.json",
    ]


def test_a_group_is_one_object(tmp_path: Path) -> None:
    square = [[20, 20], [24, 20], [24, 23]]
    drawn = labelme_mask(np.ones((2, 2), dtype=bool))
    shapes = [
        shape("cat", TRIANGLE, group_id=1),
        shape("dog", square, group_id=1),
        shape("cat", square, group_id=1, description="its tail", flags={"wet": True, "old": False}),
        shape("cat", square),
        shape("dog", [[0, 0], [1, 1]], "mask", group_id=4, mask=drawn),
        shape("dog", [[30, 22], [31, 23]], "mask", group_id=4, mask=drawn),
    ]
    write(tmp_path, "a", shapes)
    read = load(tmp_path, "labelme")
    assert names(read) == ["cat", "dog", "cat", "dog"]
    assert outline(read, 0) == [[2.5, 3.25, 20, 4, 9, 18], [20, 20, 24, 20, 24, 23]]
    assert read.objects.attributes is not None
    assert read.objects.attributes[0] == {"description": "its tail", "wet": True, "group_id": 1}
    assert np.argwhere(mask(read, 3)).tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
        [22, 30],
        [22, 31],
        [23, 30],
        [23, 31],
    ]


def test_points_of_a_group_belong_to_its_object(tmp_path: Path) -> None:
    write(tmp_path, "a", [
        shape("nose", [[3, 4]], "point", group_id=7),
        shape("mouse", [[1, 1], [9, 9]], "rectangle", group_id=7),
        shape("tail", [[8, 8]], "point", group_id=7),
        shape("mouse", [[11, 11], [19, 19]], "rectangle", group_id=8),
        shape("tail", [[18, 18]], "point", group_id=8),
    ])  # fmt: skip
    read = load(tmp_path, "labelme")
    assert read.categories[0].points == ("nose", "tail") and len(read.objects) == 2
    assert points(read, 0) == [[3, 4, 2], [8, 8, 2]] and points(read, 1) == [[0, 0, 0], [18, 18, 2]]
    assert read.objects.boxes.tolist() == [[1, 1, 9, 9], [11, 11, 19, 19]] and not notes(read)


def test_grouped_points_without_a_shape_are_objects(tmp_path: Path) -> None:
    spots = [shape("nose", [[3, 4]], "point", group_id=1), shape("tail", [[5, 6]], "point", group_id=1)]
    unclear = [shape("nose", [[3, 4]], "point", group_id=2), shape("nose", [[5, 6]], "point", group_id=2)]
    write(tmp_path, "a", spots + unclear)
    read = load(tmp_path, "labelme")
    assert names(read) == ["object"] and points(read, 0) == [[3, 4, 2], [5, 6, 2]] and read.dropped == 2
    assert notes(read) == [
        "1 object with only points was read as class 'object': a.json",
        "2 points of a group with several points of one label were dropped: a.json",
    ]


def test_flags_of_images_are_classes(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path, str(number), [], flags={"cat": number % 2 == 0, "dog": number % 2 == 1})
    index = open_data(tmp_path, "classify", "train", format="labelme")
    assert index.labels["classify"].classes == ("cat", "dog") and len(index) == 16


@pytest.mark.parametrize(
    "path", ["..\\images\\a.png", "C:\\Users\\me\\images\\a.png", "/home/me/images/a.png", "../images/A.PNG"]
)
def test_image_paths_of_other_computers(tmp_path: Path, path: str) -> None:
    file = write(tmp_path / "images", "a", [shape("cat", TRIANGLE)], path)
    (tmp_path / "labels").mkdir()
    file.rename(tmp_path / "labels" / "a.json")
    picture(tmp_path / "images" / "b.png")
    read = load(tmp_path, "labelme")
    assert [read.path(0)] == [tmp_path / "images" / "a.png"] and len(notes(read)) == 1


def test_a_renamed_image_is_taken_by_the_name_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, "a", [shape("cat", TRIANGLE)], "IMG_0001.png")
    picture(tmp_path / "new.png")
    read = load(tmp_path, "labelme")
    assert read.path(0) == tmp_path / "a.png"
    assert notes(read) == [
        "1 image without a JSON file was left out: new.png",
        "1 image with another name than in its JSON file was taken by the file's name: a.json",
    ]


def test_folders_of_splits(tmp_path: Path) -> None:
    for folder, name in (("train", "a"), ("train", "b"), ("valid/more", "c"), ("test", "d"), (".", "e")):
        write(tmp_path / folder, name, [shape("cat" if name < "c" else "dog", TRIANGLE)])
    assert splits(tmp_path, "labelme") == ("train", "val", "test")
    read = load(tmp_path, "labelme", "val")
    assert [read.path(row).name for row in range(len(read))] == ["c.png"] and read.category_names == ("cat", "dog")
    whole = load(tmp_path, "labelme")
    assert whole.splits is not None and whole.splits.tolist() == [2, 0, 0, 1]
    assert "1 image of no split, where others are of one, was left out: e.png" in notes(whole)


def test_names_in_unicode_and_a_byte_order_mark(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "straße_é") for form in ("NFC", "NFD"))
    content = json.loads(write(tmp_path, composed, [shape("Känguru", TRIANGLE)]).read_text())
    write_json(tmp_path / f"{composed}.json", content | {"imagePath": f"{decomposed}.png"}, "utf-8-sig")
    read = load(tmp_path, "labelme")
    assert read.path(0).name == f"{composed}.png" and read.category_names == ("Känguru",)


def test_what_is_wrong_is_counted(tmp_path: Path) -> None:
    wrong = [
        shape("", TRIANGLE),
        shape(None, TRIANGLE),
        "text",
        shape("cat", [[1, 2]]),
        shape("cat", [[1, 2], [3, float("nan")], [5, 6]]),
        shape("cat", [[1, 2], [3]]),
        shape("cat", [["x", 2], [3, 4], [5, 6]]),
        shape("cat", [[1, 1], [4, 4]], "mask", mask="!!"),
        shape("cat", TRIANGLE, "blob"),
        shape("__ignore__", TRIANGLE),
    ]
    write(tmp_path, "a", [*wrong, *[shape("cat", TRIANGLE)] * 3])
    write(tmp_path, "b", [shape("cat", TRIANGLE)]).write_text('{"shapes": [], "imagePath": ')
    write_json(tmp_path / "other.json", {"a": 1})
    read = load(tmp_path, "labelme")
    assert len(read) == 1 and len(read.objects) == 3 and read.dropped == 9
    assert notes(read) == [
        "1 annotation file that cannot be read was left out with its image: b.json",
        "1 file of another format was left aside: other.json",
        "1 image without a JSON file was left out: b.png",
        "3 annotations without a label were dropped: a.json",
        "4 annotations without finite coordinates of a polygon were dropped: a.json",
        "1 annotation without finite coordinates of a mask was dropped: a.json",
        "1 annotation without finite coordinates of a blob was dropped: a.json",
        "1 shape labeled '__ignore__' was left out: a.json",
    ]


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    file = write(tmp_path, "a", [shape("cat", TRIANGLE)], "lost.jpg")
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"its images are not found \(the first is lost\.jpg\); searched in"):
        load(tmp_path, "labelme")
    file.write_text('{"shapes": [], "imagePath": "a.png", "x": ' + "[" * 100_000)
    with pytest.raises(DataError, match=r"a\.json: damaged, lists within lists without end"):
        load(tmp_path, "labelme")


def test_one_file(tmp_path: Path) -> None:
    file = write(tmp_path, "a", [shape("cat", TRIANGLE)])
    picture(tmp_path / "b.png")
    assert len(load(file, "labelme")) == 1


def test_a_mask_without_the_size_of_the_image(tmp_path: Path) -> None:
    drawn = labelme_mask(np.ones((2, 2), dtype=bool))
    write(tmp_path, "a", [shape("cat", [[4, 5], [5, 6]], "mask", mask=drawn)], imageHeight=None, imageWidth=None)
    assert mask(load(tmp_path, "labelme"), 0).sum() == 4
