"""Label Studio."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.readers.tool_formats import (
    SIZE,
    brush,
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
from vertebra.data.readers.label_studio_rle import brush_mask
from vertebra.errors import DataError

NUMBERS = itertools.count()


def result(kind: str, label: str, **value: Any) -> dict[str, Any]:
    """One region as the export has it; ``id`` and ``parent`` belong to the region, the rest to its value."""
    region = {"id": value.pop("id", f"r{next(NUMBERS)}"), "type": kind, "from_name": "label", "to_name": "image"}
    parent = value.pop("parent", None)
    region |= {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0, "origin": "manual"}
    return region | {"value": {**value, kind: [label]}} | ({"parentID": parent} if parent else {})


def rectangle(label: str = "dog", **more: Any) -> dict[str, Any]:
    return result("rectanglelabels", label, **{"x": 25, "y": 50, "width": 12.5, "height": 25, "rotation": 0} | more)


def choices(*labels: str) -> dict[str, Any]:
    return {"id": "c", "type": "choices", "from_name": "kind", "to_name": "image", "value": {"choices": list(labels)}}


def annotation(
    *results: Any, number: int = 1, created: str = "2026-01-01T00:00:00Z", cancelled: bool = False
) -> dict[str, Any]:
    fields = {
        "id": number,
        "completed_by": 1,
        "result": list(results),
        "was_cancelled": cancelled,
        "ground_truth": False,
    }
    return fields | {"created_at": created, "updated_at": created, "lead_time": 2.5}


def task(name: str, *annotations: Any, number: int = 1, image: str | None = None) -> dict[str, Any]:
    wrong = {"result": [rectangle("never")], "model_version": "m"}
    data = {"image": f"/data/upload/3/0a1b2c3d-{name}" if image is None else image}
    return {"id": number, "annotations": list(annotations), "predictions": [wrong], "data": data, "project": 3}


def write(folder: Path, *tasks: Any, images: tuple[str, ...] = ("a.png",)) -> Path:
    for name in images:
        picture(folder / name)
    return write_json(folder / "project-3-at-2026-01-01-00-00-0a1b2c3d.json", list(tasks))


def test_regions(tmp_path: Path) -> None:
    drawn = np.zeros(SIZE, dtype=np.uint8)
    drawn[5:9, 3:7] = 1
    polygon = [[10, 10], [50, 10], [50, 75]]
    write(tmp_path, task("a.png", annotation(
        rectangle(),
        rectangle("cat", rotation=90),
        result("polygonlabels", "cat", points=polygon, closed=True),
        result("ellipselabels", "dog", x=50, y=50, radiusX=12.5, radiusY=25, rotation=0),
        result("brushlabels", "dog", format="rle", rle=brush(drawn)),
        choices("indoor"),
    )))  # fmt: skip
    read = load(tmp_path, "label_studio")
    assert names(read) == ["dog", "cat", "cat", "dog", "dog"] and read.path(0) == tmp_path / "a.png"
    assert read.objects.boxes[0].tolist() == [8, 12, 12, 18] and not read.objects.has_box[1:].any()
    np.testing.assert_allclose(outline(read, 1), [[8, 12, 8, 16, 2, 16, 2, 12]], atol=1e-9)
    np.testing.assert_allclose(outline(read, 2), [[3.2, 2.4, 16, 2.4, 16, 18]])
    ellipse = np.array(outline(read, 3)[0]).reshape(-1, 2)
    np.testing.assert_allclose([*ellipse.min(axis=0), *ellipse.max(axis=0)], [12, 6, 20, 18])
    assert np.array_equal(mask(read, 4), drawn.astype(bool))
    assert read.category_names == ("cat", "dog", "indoor") and read.labels.tolist() == [[0, 2]]
    assert read.image_ids == (1,) and read.sizes.tolist() == [[24, 32]]
    assert notes(read)[-1] == "1 turned box was read as an outline of four corners: /data/upload/3/0a1b2c3d-a.png"


@pytest.mark.parametrize("literal", [False, True])
def test_the_brush(literal: bool) -> None:
    rng = np.random.default_rng(3)
    for size in ((1, 1), (7, 5), (24, 32), (40, 60)):
        drawn = (rng.random(size) < 0.5).astype(np.uint8) if size[0] < 30 else np.eye(*size, dtype=np.uint8)
        packed = brush(drawn, literal=literal)
        read = brush_mask(packed, size)
        assert read is not None and np.array_equal(read, drawn.astype(bool))
        assert brush_mask(packed[: len(packed) // 2], size) is None
        assert brush_mask(packed, (size[0], size[1] + 1)) is None
    assert brush_mask([], (4, 4)) is None and brush_mask([256], (4, 4)) is None and brush_mask("x", (4, 4)) is None


def test_the_last_annotation_that_is_not_cancelled(tmp_path: Path) -> None:
    skipped = annotation(rectangle("no"), cancelled=True)
    write(
        tmp_path,
        task("a.png", annotation(rectangle("new"), created="2026-02-02"), annotation(rectangle("old")), skipped),
        task("b.png", annotation(cancelled=True), number=2),
        task("c.png", number=3),
        task("d.png", annotation(), number=4),
        images=("a.png", "b.png", "c.png", "d.png"),
    )  # fmt: skip
    read = load(tmp_path, "label_studio")
    assert names(read) == ["new"] and read.annotated.tolist() == [True, False, False, True]
    assert "1 annotation of a task with a later one was left out: /data/upload/3/0a1b2c3d-a.png" in notes(read)


@pytest.mark.parametrize(
    "image",
    [
        "/data/upload/3/0a1b2c3d-a_b.png",
        "/data/local-files/?d=sets/images/a_b.png",
        "http://localhost:8080/data/local-files/?d=sets%2Fimages%2Fa_b.png",
        "https://bucket.example.com/some/a_b.png?signature=x",
        "s3://bucket/some/a_b.png",
        "a_b.png",
    ],
)
def test_images_by_their_file_names(tmp_path: Path, image: str) -> None:
    write(tmp_path, task("", annotation(rectangle()), image=image), images=("images/a_b.png",))
    assert load(tmp_path, "label_studio").path(0) == tmp_path / "images" / "a_b.png"


def test_an_upload_with_its_prefix(tmp_path: Path) -> None:
    write(tmp_path, task("a.png", annotation(rectangle())), images=("images/0a1b2c3d-a.png", "a.png"))
    assert load(tmp_path, "label_studio").path(0) == tmp_path / "images" / "0a1b2c3d-a.png"


def test_points_belong_to_their_region(tmp_path: Path) -> None:
    write(tmp_path, task("a.png", annotation(
        rectangle("mouse", id="m"),
        result("keypointlabels", "nose", x=25, y=50, width=0.5, parent="m"),
        result("keypointlabels", "tail", x=50, y=75, width=0.5, parent="m"),
    )))  # fmt: skip
    read = load(tmp_path, "label_studio")
    assert names(read) == ["mouse"] and read.categories[0].points == ("nose", "tail")
    assert points(read, 0) == [[8, 12, 2], [16, 18, 2]]


def test_points_without_a_region(tmp_path: Path) -> None:
    spots = [result("keypointlabels", name, x=25, y=50, width=0.5) for name in ("nose", "tail", "nose")]
    write(
        tmp_path,
        task("a.png", annotation(*spots[:2])),
        task("b.png", annotation(*spots), number=2),
        images=("a.png", "b.png"),
    )
    read = load(tmp_path, "label_studio")
    assert names(read) == ["object"] and points(read, 0) == [[8, 12, 2]] * 2
    assert [note.split(":")[0] for note in notes(read)[-3:]] == [
        "1 image with points without an object was read as one object of class 'object'",
        "1 point of a label that its object already has was dropped",
        "2 points without an object, of an image with several of one label, were left out",
    ]


def test_labels_in_a_result_of_their_own(tmp_path: Path) -> None:
    geometry = {"x": 25, "y": 50, "width": 12.5, "height": 25, "rotation": 0}
    base = {"id": "r", "original_width": 32, "original_height": 24, "image_rotation": 0, "to_name": "image"}
    parts = [
        base | {"type": "rectangle", "from_name": "box", "value": geometry},
        base | {"type": "labels", "from_name": "label", "value": geometry | {"labels": ["dog"]}},
        base | {"type": "choices", "from_name": "age", "value": geometry | {"choices": ["old"]}},
    ]
    write(tmp_path, task("a.png", annotation(*parts)))
    read = load(tmp_path, "label_studio")
    assert names(read) == ["dog"] and read.objects.boxes.tolist() == [[8, 12, 12, 18]]
    assert read.objects.attributes == ({"age": ["old"]},) and not len(read.labels)


def minimal(name: str, number: int, **values: Any) -> dict[str, Any]:
    fields = {"image": f"/data/upload/3/0a1b2c3d-{name}", "id": number, "annotator": 1, "annotation_id": number}
    return fields | {"created_at": "2026-01-01", "updated_at": "2026-01-01", "lead_time": 2.5} | values


def test_json_min(tmp_path: Path) -> None:
    shape = {"x": 25, "y": 50, "width": 12.5, "height": 25, "rotation": 0, "original_width": 32, "original_height": 24}
    entries = [
        minimal("a.png", 1, label=[shape | {"rectanglelabels": ["old"]}]),
        minimal(
            "a.png",
            1,
            label=[shape | {"rectanglelabels": ["dog"]}, shape | {"rectanglelabels": ["cat"]}],
            choice="indoor",
        ),
        minimal("b.png", 2, kinds={"choices": ["outdoor", "wet"]}),
    ]
    write(tmp_path, *entries, images=("a.png", "b.png"))
    read = load(tmp_path, "label_studio")
    assert names(read) == ["dog", "cat"] and read.objects.boxes[1].tolist() == [8, 12, 12, 18]
    assert [[row, read.category_names[number]] for row, number in read.labels.tolist()] == [
        [0, "indoor"],
        [1, "outdoor"],
        [1, "wet"],
    ]
    assert any(note.startswith("1 annotation of a task with a later one was left out") for note in notes(read))


def test_choices_are_classes_of_images(tmp_path: Path) -> None:
    tasks = [
        task(f"{number}.png", annotation(choices("cat" if number % 2 else "dog")), number=number)
        for number in range(20)
    ]
    write(tmp_path, *tasks, images=tuple(f"{number}.png" for number in range(20)))
    index = open_data(tmp_path, "classify", "train", format="label_studio")
    assert index.labels["classify"].classes == ("cat", "dog") and len(index) == 16


def test_folders_of_splits(tmp_path: Path) -> None:
    for folder in ("train", "val"):
        write(tmp_path / folder, task("a.png", annotation(rectangle(folder))))
    assert splits(tmp_path, "label_studio") == ("train", "val")
    read = load(tmp_path, "label_studio", "val")
    assert names(read) == ["val"] and read.path(0) == tmp_path / "val" / "a.png"


def test_what_is_wrong_is_counted(tmp_path: Path) -> None:
    unlabeled = rectangle()
    unlabeled["value"]["rectanglelabels"] = []
    wrong = [
        unlabeled,
        rectangle(x="left"),
        rectangle(width=None),
        rectangle(rotation="x"),
        result("polygonlabels", "dog", points=[[1, 2], [3, 4]]),
        result("brushlabels", "dog", rle=[1, 2, 3]),
        result("ellipselabels", "dog", x=1, y=2, radiusX=0, radiusY=1),
        rectangle() | {"image_rotation": 90},
        "text",
        {"type": "textarea", "value": {"text": ["a"]}},
    ]
    write(tmp_path, task("a.png", annotation(*wrong, rectangle())), {"id": 2, "annotations": [], "data": {"text": "x"}})
    read = load(tmp_path, "label_studio")
    assert len(read.objects) == 1 and read.dropped == 10
    assert [note.split(":")[0] for note in notes(read)[-5:]] == [
        "1 annotation without a value was dropped",
        "1 annotation without a label was dropped",
        "6 annotations without finite numbers of a box, ellipse, polygon, point or brush were dropped",
        "1 annotation drawn on an image that was turned in Label Studio was dropped",
        "1 result of type textarea was left out",
    ]


def test_missing_images(tmp_path: Path) -> None:
    file = write(tmp_path, task("a.png", annotation(rectangle())), images=())
    with pytest.raises(DataError, match=r"its images are not found"):
        load(file, "label_studio")
    file.write_text(file.read_text()[:-9])
    with pytest.raises(DataError, match=r"damaged or cut off, not JSON"):
        load(file, "label_studio")
