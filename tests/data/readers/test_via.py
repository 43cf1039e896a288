"""VGG Image Annotator."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.readers.tool_formats import load, names, notes, outline, picture, splits, write_json
from vertebra.data.open import open_data
from vertebra.errors import DataError

RECT = {"name": "rect", "x": 2, "y": 3, "width": 5, "height": 6}
POLYGON = {"name": "polygon", "all_points_x": [2, 20, 9], "all_points_y": [3, 4, 18]}
ELLIPSE = {"name": "ellipse", "cx": 12, "cy": 10, "rx": 6, "ry": 3, "theta": 0.5}
Regions = Sequence[tuple[Any, Any]]


def entries(images: dict[str, Regions], *, version: int = 2, file_attributes: Any = None) -> dict[str, Any]:
    """Annotations as version 1 (regions by number) or 2 (a list) has them."""
    content = {}
    for name, regions in images.items():
        listed = [{"shape_attributes": shape, "region_attributes": values} for shape, values in regions]
        numbered = {str(number): region for number, region in enumerate(listed)}
        entry = {"filename": name, "size": 123, "regions": listed if version == 2 else numbered}
        content[f"{name}123"] = entry | {"file_attributes": file_attributes or {}}
    return content


def project(images: dict[str, Regions], options: Any = None) -> dict[str, Any]:
    attributes = {"region": {"class": {"type": "dropdown", "options": options or {}}}, "file": {}}
    settings = {"ui": {}, "core": {}, "project": {"name": "p"}}
    return {"_via_settings": settings, "_via_img_metadata": entries(images), "_via_attributes": attributes}


def draw(folder: Path, images: Any) -> None:
    for name in images:
        picture(folder / name)


def test_shapes_of_a_project(tmp_path: Path) -> None:
    circle = {"name": "circle", "cx": 10, "cy": 12, "r": 5.5}
    point, line = {"name": "point", "cx": 1, "cy": 2}, POLYGON | {"name": "polyline"}
    images = {"a.png": [(one, {"class": "dog"}) for one in (RECT, POLYGON, circle, ELLIPSE, point, line)], "b.png": []}
    draw(tmp_path, images)
    write_json(tmp_path / "via_project.json", project(images))
    read = load(tmp_path, "via")
    assert names(read) == ["dog"] * 4 and read.objects.boxes[0].tolist() == [2, 3, 7, 9]
    assert outline(read, 1) == [[2, 3, 20, 4, 9, 18]]
    np.testing.assert_allclose(np.hypot(*(np.array(outline(read, 2)[0]).reshape(-1, 2) - (10, 12)).T), 5.5)
    turned = outline(read, 3)[0]
    np.testing.assert_allclose(turned[:2], [12 + 6 * np.cos(0.5), 10 + 6 * np.sin(0.5)])
    assert notes(read) == [
        "1 image without a region was kept as images with nothing in them: b.png",
        "1 region drawn as point, without an area, was left out: a.png",
        "1 region drawn as polyline, without an area, was left out: a.png",
    ]


def test_regions_by_number_without_attributes(tmp_path: Path) -> None:
    images = {"a.png": [(POLYGON, {}), (RECT, {})]}
    for folder in ("train", "val"):
        draw(tmp_path / folder, images)
        write_json(tmp_path / folder / "via_region_data.json", entries(images, version=1))
    assert splits(tmp_path, "via") == ("train", "val")
    read = load(tmp_path, "via", "val")
    assert names(read) == ["object", "object"] and read.path(0) == tmp_path / "val" / "a.png"
    assert "4 regions without a class, as all are, were read as class 'object': a.png" in notes(read)


@pytest.mark.parametrize("hash_mark", ["", "#"])
def test_csv(tmp_path: Path, hash_mark: str) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    columns = ["filename", "file_size", "file_attributes", "region_count", "region_id"]
    columns += ["region_shape_attributes", "region_attributes"]
    with (tmp_path / "via.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([hash_mark + columns[0], *columns[1:]])
        writer.writerow(["a.png", 9, "{}", 2, 0, json.dumps(RECT), json.dumps({"label": "dog"})])
        writer.writerow(["a.png", 9, "{}", 2, 1, json.dumps(POLYGON), json.dumps({"label": "cat, big"})])
        writer.writerow(["b.png", 9, "{}", 0, 0, "{}", "{}"])
    read = load(tmp_path, "via")
    assert names(read) == ["dog", "cat, big"] and len(read) == 2 and read.objects.boxes[0].tolist() == [2, 3, 7, 9]


def test_the_attribute_that_is_the_class(tmp_path: Path) -> None:
    draw(tmp_path, ["a.png"])
    file = tmp_path / "via.json"
    write_json(file, entries({"a.png": [(RECT, {"Type": "dog", "age": "2"}), (RECT, {"Type": "cat", "age": ""})]}))
    read = load(tmp_path, "via")
    assert names(read) == ["dog", "cat"] and read.objects.attributes == ({"age": "2"}, {})
    assert notes(read)[0] == "1 attribute of regions beside 'Type', the class, was kept as attributes: age"
    write_json(file, entries({"a.png": [(RECT, {"species": "dog"})]}))
    assert names(load(tmp_path, "via")) == ["dog"]
    write_json(file, entries({"a.png": [(RECT, {"species": "dog", "age": "2"})]}))
    with pytest.raises(
        DataError, match=r"several attributes \(age, species\), and none is called class, .*; rename the one"
    ):
        load(tmp_path, "via")


def test_options(tmp_path: Path) -> None:
    draw(tmp_path, ["a.png"])
    regions = [
        (RECT, {"class": "1"}),
        (RECT, {"class": {"2": True, "1": False}}),
        (RECT, {"class": {"1": True, "2": True}}),
        (RECT, {"class": ""}),
    ]
    write_json(tmp_path / "via.json", project({"a.png": regions}, {"1": "Dog", "2": "Cat"}))
    read = load(tmp_path, "via")
    assert names(read) == ["Dog", "Cat"] and read.dropped == 2
    assert notes(read) == [
        "1 annotation of several classes was dropped: a.png",
        "1 annotation without a class was dropped: a.png",
    ]


def test_attributes_of_images_are_classes(tmp_path: Path) -> None:
    draw(tmp_path, ["a.png", "b.png"])
    values = {"Class": "indoor", "caption": "a room", "public_domain": "no"}
    write_json(tmp_path / "via.json", entries({"a.png": [], "b.png": []}, file_attributes=values))
    read = load(tmp_path, "via")
    assert read.category_names == ("indoor",) and read.labels.tolist() == [[0, 0], [1, 0]] and not notes(read)


def test_the_same_in_several_files_is_read_once(tmp_path: Path) -> None:
    images = {"a.png": [(RECT, {"class": "dog"})]}
    draw(tmp_path, images)
    write_json(tmp_path / "project.json", project(images))
    write_json(tmp_path / "annotations.json", entries(images))
    read = load(tmp_path, "via")
    assert len(read.objects) == 1
    assert notes(read) == ["1 file that a project or JSON file beside it repeats was left aside: annotations.json"]


def test_what_is_wrong_is_counted(tmp_path: Path) -> None:
    wrong = [
        (RECT | {"x": None}, {"class": "dog"}),
        (RECT | {"width": "wide"}, {"class": "dog"}),
        (POLYGON | {"all_points_x": [1, 2]}, {"class": "dog"}),
        (ELLIPSE | {"rx": 0}, {"class": "dog"}),
        (ELLIPSE | {"theta": "x"}, {"class": "dog"}),
        ({"name": "star"}, {"class": "dog"}),
        (None, {"class": "dog"}),
        (RECT, None),
    ]
    draw(tmp_path, ["a.png"])
    file = write_json(tmp_path / "via.json", entries({"a.png": [*wrong, (RECT | {"x": "2"}, {"class": "dog"})]}))
    read = load(tmp_path, "via")
    assert read.objects.boxes.tolist() == [[2, 3, 7, 9]] and read.dropped == 8
    assert notes(read) == [
        "7 annotations without finite coordinates of a known shape were dropped: a.png",
        "1 annotation without a class was dropped: a.png",
    ]
    file.write_text(file.read_text().replace('"filename": "a.png"', '"filename": null'))
    with pytest.raises(DataError, match=r"via\.json: damaged, an image has no 'filename'; export it again"):
        load(tmp_path, "via")


def test_masks_from_regions(tmp_path: Path) -> None:
    images = {f"{number}.png": [(POLYGON, {"class": "dog"})] for number in range(10)}
    draw(tmp_path, images)
    write_json(tmp_path / "via.json", entries(images))
    index = open_data(tmp_path, "segment", "train")
    assert index.labels["segment"].classes == ("background", "dog") and len(index) == 8


def project_3(regions: Sequence[tuple[str, list[float], dict[str, str]]], files: Sequence[str], **changes: Any) -> Any:
    """A project of version 3: the file of each entry of metadata, its numbers, and its values by the number of the attribute."""
    attributes = {
        "1": {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 3, "options": {"0": "dog", "1": "cat"}},
        "2": {"aname": "weather", "anchor_id": "FILE1_Z0_XY0", "type": 4, "options": {"0": "rain", "1": "sun"}},
    }
    of_files = {
        str(number): {"fid": number, "fname": name, "type": 2 if name.endswith("png") else 4, "loc": 1, "src": ""}
        for number, name in enumerate(files)
    }
    metadata = {
        f"{number}_x": {"vid": str(files.index(name) + 7), "flg": 0, "z": [], "xy": numbers, "av": values}
        for number, (name, numbers, values) in enumerate(regions)
    }
    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "data_format_version": "3.1.1", "vid_list": []},
        "config": {"file": {"loc_prefix": {}}, "ui": {}},
        "attribute": attributes,
        "file": of_files,
        "view": {str(number + 7): {"fid_list": [number]} for number in range(len(files))},
        "metadata": metadata,
        **changes,
    }


def test_a_project_of_version_3(tmp_path: Path) -> None:
    regions: list[tuple[str, list[float], dict[str, str]]] = [
        ("a.png", [2, 2, 3, 5, 6], {"1": "0"}),
        ("b.png", [7, 2, 3, 20, 4, 9, 18], {"1": "1"}),
        ("a.png", [8, 2, 5, 8, 3, 11, 6, 9, 10], {"1": "1"}),
        ("a.png", [3, 10, 12, 5.5], {"1": "0"}),
        ("a.png", [1, 4, 5], {"1": "0"}),
        ("a.png", [9, 4, 5, 6, 7, 8, 9], {"1": "0"}),
        ("a.png", [], {"2": "1"}),
        ("clip.mp4", [2, 2, 3, 5, 6], {"1": "0"}),
    ]
    draw(tmp_path, ["a.png", "b.png", "c.png"])
    write_json(tmp_path / "via3.json", project_3(regions, ["a.png", "b.png", "clip.mp4", "c.png"]))
    read = load(tmp_path, "via")
    assert [read.path(row).name for row in range(3)] == ["a.png", "b.png", "c.png"]
    assert names(read) == ["dog", "cat", "dog", "cat"] and read.objects.rows.tolist() == [0, 0, 0, 1]
    assert read.objects.boxes[:2].tolist() == [[2, 3, 7, 9], [2, 3, 11, 10]]
    assert outline(read, 3) == [[2, 3, 20, 4, 9, 18]]
    assert [(row, read.category_names[label]) for row, label in read.labels.tolist()] == [(0, "sun")]
    assert notes(read) == [
        "1 file of a project that is no image, as a video, was left out: clip.mp4",
        "1 annotation of a video, or of a view without an image, was left out: clip.mp4",
        "1 image without a region was kept as images with nothing in them: c.png",
        "1 region drawn as point, without an area, was left out: a.png",
        "1 annotation without finite coordinates of a known shape was dropped: a.png",
    ]
    assert len(open_data(tmp_path, "detect", "train")) == 2


def test_views_of_several_files_are_counted(tmp_path: Path) -> None:
    regions: list[tuple[str, list[float], dict[str, str]]] = [("a.png", [2, 2, 3, 5, 6], {"1": "0"})]
    regions += [("b.png", [2, 2, 3, 5, 6], {"1": "0"})] * 2
    views = {"7": {"fid_list": [0]}, "8": {"fid_list": [0, 1]}, "9": {"fid_list": [2]}}
    draw(tmp_path, ["a.png", "b.png", "c.png"])
    write_json(tmp_path / "via3.json", project_3(regions, ["a.png", "b.png", "c.png"], view=views))
    read = load(tmp_path, "via")
    assert [read.path(row).name for row in range(len(read))] == ["a.png", "c.png"] and names(read) == ["dog"]
    assert notes(read) == [
        "2 annotations of a view of several files were left out: a.png + b.png",
        "1 image that is annotated in views of several files only was left out: b.png",
        "1 image without a region was kept as images with nothing in them: c.png",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"view": []}, "no 'view' or no 'metadata'"),
        ({"file": {"0": {"type": 2}}}, "a file has no 'fname'"),
        ({"metadata": {"0": {"vid": "99", "xy": []}}}, "an entry of 'metadata' is of no view"),
        ({"metadata": {"0": 5}}, "an entry of 'metadata' is of no view"),
    ],
)
def test_a_damaged_project_of_version_3(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    draw(tmp_path, ["a.png"])
    write_json(tmp_path / "via3.json", project_3([("a.png", [2, 2, 3, 5, 6], {"1": "0"})], ["a.png"], **changes))
    with pytest.raises(DataError, match=message):
        load(tmp_path, "via")
