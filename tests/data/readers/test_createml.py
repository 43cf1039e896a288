"""Create ML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.data.readers.tool_formats import load, names, notes, picture, splits, write_json
from vertebra.data.open import open_data
from vertebra.errors import DataError


def box(label: Any, x: Any, y: float, width: float, height: float) -> dict[str, Any]:
    return {"label": label, "coordinates": {"x": x, "y": y, "width": width, "height": height}}


def write(folder: Path, entries: list[Any], name: str = "_annotations.createml.json", key: str = "image") -> Path:
    """A list of entries, each with its image."""
    for entry in entries:
        if isinstance(entry, dict) and key in entry:
            picture(folder / entry[key])
    return write_json(folder / name, entries)


def test_centers_and_sides(tmp_path: Path) -> None:
    write(tmp_path, [
        {"image": "a.png", "annotations": [box("dog", 10, 8.5, 4, 5), box("cat", 20, 10, 2, 2)]},
        {"image": "b.png", "annotations": []},
    ])  # fmt: skip
    read = load(tmp_path, "createml")
    assert read.objects.boxes.tolist() == [[8, 6, 12, 11], [19, 9, 21, 11]] and names(read) == ["dog", "cat"]
    assert (
        len(read) == 2 and read.annotated.all() and not notes(read) and not read.sizes.any() and read.name(0) == "a.png"
    )


def test_roboflows_folders(tmp_path: Path) -> None:
    for folder, label in (("train", "dog"), ("valid", "cat"), ("test", "dog")):
        write(tmp_path / folder, [{"image": "same.png", "annotations": [box(label, 10, 8, 4, 4)]}])
    assert splits(tmp_path, "createml") == ("train", "val", "test")
    read = load(tmp_path, "createml", "val")
    assert read.path(0) == tmp_path / "valid" / "same.png" and read.category_names == ("cat", "dog")
    index = open_data(tmp_path, "detect", "test", format="createml")
    assert len(index) == 1 and index.labels["detect"].classes == ("cat", "dog")


def test_the_keys_of_the_documentation(tmp_path: Path) -> None:
    write(tmp_path, [{"imagefilename": "a.png", "annotation": [box("Waffle", 10, 8, 4, 4)]}], "x.json", "imagefilename")
    assert names(load(tmp_path, "createml")) == ["Waffle"]


def test_classes_of_images(tmp_path: Path) -> None:
    write(tmp_path, [{"image": "a.png", "annotations": ["dog", "cat"]}, {"image": "b.png", "annotations": []}])
    read = load(tmp_path, "createml")
    assert read.labels.tolist() == [[0, 1], [0, 0]] and read.category_names == ("cat", "dog") and not len(read.objects)


def test_shares_of_the_image(tmp_path: Path) -> None:
    write(
        tmp_path, [{"image": "a.png", "annotations": [box("dog", 0.5, 0.5, 0.25, 0.5), box("dog", 0.25, 0.5, 0.5, 1)]}]
    )
    read = load(tmp_path, "createml")
    assert read.objects.boxes.tolist() == [[12, 6, 20, 18], [0, 0, 16, 24]]
    assert notes(read) == ["2 boxes within 0..1 were taken as shares of the image's width and height: a.png"]


def test_what_is_wrong_is_counted(tmp_path: Path) -> None:
    wrong = [box("", 1, 2, 3, 4), box("dog", "x", 1, 1, 1), box("dog", None, 1, 1, 1), {"label": "dog"}, None]
    write(tmp_path, [
        {"image": "a.png", "annotations": [*wrong, box("dog", "10", 8, 4, 4)]},
        {"annotations": []},
        {"image": "b.png", "annotations": 7},
    ])  # fmt: skip
    (tmp_path / "b.png").unlink()
    read = load(tmp_path, "createml")
    assert read.objects.boxes.tolist() == [[8, 6, 12, 10]] and read.dropped == 7
    assert notes(read) == [
        "2 annotations without a label were dropped: a.png",
        "3 annotations without finite x, y, width and height were dropped: a.png",
        "2 entries without an image's name or a list of annotations were dropped: _annotations.createml.json",
    ]


def test_missing_images(tmp_path: Path) -> None:
    file = write(tmp_path, [{"image": "a.png", "annotations": []}, {"image": "b.png", "annotations": []}])
    (tmp_path / "a.png").unlink()
    assert notes(load(file, "createml")) == ["1 image that the file names was not found and left out: a.png"]
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"createml\.json: its images are not found \(the first is a\.png\)"):
        load(file, "createml")
