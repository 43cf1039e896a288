"""Supervisely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.readers.tool_formats import (
    SIZE,
    bitmap,
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

NODES = {
    "n1": {"label": "nose", "loc": [1, 1], "color": "#fff"},
    "n2": {"label": "tail", "loc": [2, 2], "color": "#fff"},
}
META = {
    "classes": [
        {"title": "dog", "shape": "any", "color": "#ff0000", "geometry_config": {}},
        {
            "title": "mouse",
            "shape": "graph",
            "geometry_config": {"nodes": NODES, "edges": [{"src": "n2", "dst": "n1"}]},
        },
        {"title": "cat", "shape": "polygon", "color": "#00ff00"},
    ],
    "tags": [{"name": "indoor", "value_type": "none"}, {"name": "weather", "value_type": "oneof_string"}],
    "projectType": "images",
}


def figure(kind: str, title: str = "dog", tags: Any = (), **more: Any) -> dict[str, Any]:
    fields = {"id": 7, "classId": 1, "description": "", "geometryType": kind, "labelerLogin": "me", "classTitle": title}
    return fields | {"tags": list(tags)} | more


def drawn(kind: str, exterior: Any, title: str = "dog", interior: Any = (), **more: Any) -> dict[str, Any]:
    return figure(kind, title, points={"exterior": exterior, "interior": list(interior)}, **more)


def tag(name: str, value: Any = None) -> dict[str, Any]:
    return {"id": 1, "tagId": 2, "name": name, "value": value, "labelerLogin": "me"}


RECTANGLE = drawn("rectangle", [[9, 8], [2, 3]])


def write(root: Path, dataset: str, name: str, objects: list[Any], tags: Any = (), meta: Any = META) -> Path:
    """An image of a data set, with its annotation file; its path."""
    write_json(root / "meta.json", meta)
    content = {"description": "", "tags": list(tags), "size": {"height": SIZE[0], "width": SIZE[1]}, "objects": objects}
    write_json(root / dataset / "ann" / f"{name}.json", content)
    return picture(root / dataset / "img" / name)


def test_figures(tmp_path: Path) -> None:
    shape = np.array([[1, 0, 1], [1, 1, 0]], dtype=bool)
    square = [[1, 1], [9, 1], [9, 9], [1, 9]]
    nodes = {"n2": {"loc": [5.5, 6], "disabled": True}}
    write(tmp_path, "ds1", "a.png", [
        drawn("rectangle", [[9, 8], [2, 3]], tags=[tag("wet"), tag("age", 3)], description="seen twice"),
        drawn("polygon", square, "cat"),
        drawn("polygon", square, "cat", [[[3, 3], [6, 3], [6, 6], [3, 6]]]),
        figure("bitmap", bitmap={"data": bitmap(shape), "origin": [4, 5]}),
        figure("graph", "mouse", nodes=nodes),
        drawn("line", [[1, 1], [2, 2]]),
        drawn("point", [[1, 1]]),
    ])  # fmt: skip
    read = load(tmp_path, "supervisely")
    assert read.category_names == ("dog", "mouse", "cat") and names(read) == ["dog", "cat", "cat", "dog", "mouse"]
    assert read.objects.boxes[0].tolist() == [2, 3, 9, 8] and read.objects.ids == (7,) * 5
    assert read.objects.attributes is not None
    assert read.objects.attributes[0] == {"wet": True, "age": 3, "description": "seen twice"}
    assert outline(read, 1) == [[1, 1, 9, 1, 9, 9, 1, 9]]
    hole = mask(read, 2)
    assert mask(read, 1).sum() - hole.sum() == 9 and not hole[4, 4] and hole[2, 2]
    expected = np.zeros(SIZE, dtype=bool)
    expected[5:7, 4:7] = shape
    assert np.array_equal(mask(read, 3), expected)
    assert read.categories[1].points == ("nose", "tail") and read.categories[1].skeleton == ((1, 0),)
    assert points(read, 4) == [[0, 0, 0], [5.5, 6, 1]]
    assert notes(read) == [
        "1 polygon with holes was read as pixels: ds1/img/a.png",
        "1 object drawn as line, without a box or an area, was left out: ds1/img/a.png",
        "1 object drawn as point, without a box or an area, was left out: ds1/img/a.png",
    ]
    assert read.sizes.tolist() == [[24, 32]] and read.name(0) == "a.png.json"


def test_tags_of_images(tmp_path: Path) -> None:
    write(tmp_path, "ds", "a.png", [], [tag("indoor"), tag("weather", "rain"), tag("count", 3)])
    write(tmp_path, "ds", "b.png", [], ["indoor"])
    read = load(tmp_path, "supervisely")
    labels = [[row, read.category_names[number]] for row, number in read.labels.tolist()]
    assert labels == [[0, "indoor"], [0, "rain"], [1, "indoor"]]
    assert notes(read) == ["1 tag of an image, with a number, was left out: ds/img/a.png"]


def test_data_sets_are_splits(tmp_path: Path) -> None:
    for dataset, name in (("train", "a.png"), ("validation/datasets/more", "b.png"), ("test", "a.png")):
        write(tmp_path, dataset, name, [RECTANGLE], [tag("train")])
    assert splits(tmp_path, "supervisely") == ("train", "val", "test")
    read = load(tmp_path, "supervisely", "val")
    assert [read.path(row).name for row in range(len(read))] == ["b.png"] and not len(read.labels)
    assert len(open_data(tmp_path, "detect", "test", format="supervisely")) == 1


def test_tags_are_splits(tmp_path: Path) -> None:
    for name in ("train", "val"):
        write(tmp_path, "ds", f"{name}.png", [RECTANGLE], [tag(name)])
    write(tmp_path, "ds", "none.png", [RECTANGLE])
    assert splits(tmp_path, "supervisely") == ("train", "val")
    read = load(tmp_path, "supervisely", "val")
    assert [read.path(row).name for row in range(len(read))] == ["val.png"]
    assert notes(read) == ["1 image of no split, where others are of one, was left out: ds/img/none.png"]


def test_one_data_set_and_early_projects(tmp_path: Path) -> None:
    early = {key: value for key, value in RECTANGLE.items() if key != "geometryType"}
    write(tmp_path, "ds", "a.png", [early])
    (tmp_path / "ds" / "ann" / "a.png.json").rename(tmp_path / "ds" / "ann" / "a.json")
    read = load(tmp_path / "ds", "supervisely")
    assert read.objects.boxes.tolist() == [[2, 3, 9, 8]] and read.path(0) == tmp_path / "ds" / "img" / "a.png"


def test_images_and_files_that_have_no_partner(tmp_path: Path) -> None:
    write(tmp_path, "ds", "a.png", [RECTANGLE])
    write(tmp_path, "ds", "lost.png", [RECTANGLE]).unlink()
    picture(tmp_path / "ds" / "img" / "bare.png")
    (tmp_path / "ds" / "ann" / "bad.png.json").write_text("{")
    write_json(tmp_path / "ds" / "ann" / "other.json", [])
    assert notes(load(tmp_path, "supervisely")) == [
        "1 annotation file that cannot be read was left out with its image: bad.png.json",
        "1 file of another format was left aside: other.json",
        "1 annotation file without an image was left out: lost.png.json",
        "1 image without an annotation file was left out: bare.png",
    ]


def test_what_is_wrong_is_counted(tmp_path: Path) -> None:
    bad = {"data": bitmap(np.ones((2, 2), dtype=bool))}
    wrong = [
        drawn("rectangle", [[9, 8]]),
        drawn("polygon", [[9, 8], [1, 2]]),
        drawn("polygon", [[1, 1], [9, 1], [9, 9]], interior=[[[1]]]),
        figure("bitmap", bitmap=bad),
        figure("bitmap", bitmap={"data": "e" * 9, "origin": [1, 1]}),
        figure("bitmap"),
        figure("graph", "mouse", nodes={"n1": {"loc": ["x", 2]}}),
        figure("star"),
        drawn("rectangle", [[1, 1], [2, 2]], ""),
        None,
    ]
    write(tmp_path, "ds", "a.png", [*wrong, RECTANGLE])
    read = load(tmp_path, "supervisely")
    assert len(read.objects) == 1 and read.dropped == 10
    assert notes(read)[-1] == "2 annotations without a class were dropped: ds/img/a.png"


def test_damaged_classes(tmp_path: Path) -> None:
    write(tmp_path, "ds", "a.png", [RECTANGLE], meta={"classes": [{"name": "dog"}]})
    with pytest.raises(DataError, match=r"meta\.json: damaged, it needs a list 'classes' with a 'title' each"):
        load(tmp_path, "supervisely")
